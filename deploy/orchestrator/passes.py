"""One pass over the fleet: look, plan, carry out. Both paths are made of these.

A pass goes forward to the release or back to what was before. It returns what
came of it and raises only what no path could go on after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import partial

import anyio

from deploy.api.client import MachinesClient
from deploy.api.machine import Fleet, Machine
from deploy.api.patience import Patience
from deploy.api.verdict import verdict
from deploy.errors import CallFailed, DeployError, Overtaken
from deploy.events import Emit, HiccupMet, Noticed, PassFinished, PassStarted, Planned
from deploy.orchestrator.actions import SETTLE_S, Actions
from deploy.orchestrator.execute import Executor, Failure, IsDecisive, Outcome, windows
from deploy.orchestrator.halt import Cut, Halt
from deploy.orchestrator.lease import Leases
from deploy.orchestrator.ledger import Ledger
from deploy.orchestrator.release_command import ReleaseCommandRun
from deploy.plan.back import plan_back
from deploy.plan.base import Base
from deploy.plan.forward import Action, Destroy, Wait, where
from deploy.plan.intent import BACK, FORWARD, Intent, carriers, carrying, read_intent
from deploy.plan.release import (
    CANARY,
    INTENT,
    REPLACES,
    Release,
    fly_release,
    is_made_by,
    next_number,
    role_of,
)
from deploy.plan.selection import Selection
from deploy.plan.strategy import (
    Gate,
    Schedule,
    refuse_unsuited,
    schedule,
    schedule_back,
    without_gates,
)

_EMPTY_LOOKS = 3  # an empty list is believed only when it is repeated
_ODD_PAUSE_S = 1.0

Planner = Callable[[Release, Fleet, Base, Ledger], tuple[Action, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenUp:
    """A deploy that another run began: the app as it was before, and what that run may have done.

    `goal` is forward or back. `made` are the machines that it created, `own`
    those of them that did not take another's place; `may_hide`: there may be more,
    made just now, than a list shows already.
    """

    base: Base
    goal: str
    written: frozenset[str]
    own: frozenset[str]
    made: frozenset[str]
    carried: frozenset[str]
    may_hide: bool = False


TakeUp = Callable[[MachinesClient, Patience, Fleet], Awaitable[TakenUp]]


@dataclass(slots=True, kw_only=True)
class Work:
    """A run under way: its release, its tools, and what it knows.

    `planner` says what is left to do. `base` is set at the first look under
    leases, `carried` holds the machines that carry the intent.
    """

    release: Release
    planner: Planner
    client: MachinesClient
    leases: Leases
    actions: Actions
    ledger: Ledger
    halt: Halt
    patience: Patience
    emit: Emit
    max_concurrent: int = 64
    app_exists: bool = True
    organization: str = ""
    selection: Selection = field(default_factory=Selection)
    release_command: ReleaseCommandRun | None = None
    waits_for_health: bool = True
    base: Base | None = None
    carried: set[str] = field(default_factory=set)
    goal: str = FORWARD
    take_up_again: TakeUp | None = None
    _announced: Intent | None = None
    _has_looked: bool = False
    _has_told_plan: bool = False

    def take_up(self, taken_up: TakenUp) -> None:
        """Go on with a deploy that another run began."""
        self.base = taken_up.base
        self.goal = taken_up.goal
        self.carried |= taken_up.carried
        self.ledger.written |= taken_up.written
        self.ledger.doubtful |= taken_up.written
        self.ledger.own |= taken_up.own
        self.ledger.inherited |= taken_up.made
        if taken_up.may_hide:
            self.ledger.unanswered_at = anyio.current_time()

    # -- looking -------------------------------------------------------------------

    async def look(self) -> Fleet:
        """The app's machines. What does not fit what we know is read again, by id."""
        if not self.app_exists:
            self._has_looked = True
            return Fleet()
        fleet = Fleet.of(await self.patience.ask(self.client.machines))
        for _ in range(_EMPTY_LOOKS - 1):
            if fleet.managed or (self._has_looked and not self.ledger.known):
                break
            await anyio.sleep(_ODD_PAUSE_S)
            fleet = Fleet.of(await self.patience.ask(self.client.machines))
        listed = dict(fleet.by_id)
        for machine_id, again in (await self._read_the_odd(listed)).items():
            listed.pop(machine_id, None)
            if again is not None:
                listed[machine_id] = again
                self.ledger.saw(again)
            else:
                self.ledger.gone(machine_id)
        fleet = Fleet.of(listed.values())
        self._recognise_own(fleet)
        self.ledger.look(fleet.managed)
        self._has_looked = True
        return fleet

    async def _read_the_odd(self, listed: Mapping[str, Machine]) -> dict[str, Machine | None]:
        """Machines that do not fit what we know, each by itself; None is gone.

        Where the list has a machine that a read does not find, neither is
        believed before the read is repeated.
        """

        async def read(machine_id: str) -> Machine | None:
            return await self.patience.ask(partial(self.client.find_machine, machine_id))

        found = {each: await read(each) for each in self.ledger.contradicted_by(listed)}
        unclear = [each for each, machine in found.items() if machine is None and each in listed]
        if unclear:
            await anyio.sleep(_ODD_PAUSE_S)
        return found | {each: await read(each) for each in unclear}

    async def _look_unless_halted(self) -> Fleet:
        """Looking is reading, and may be cut short."""
        with self.halt.cuts():
            return await self.look()
        raise Cut  # for the type checker: a block that is cut raises by itself

    def _recognise_own(self, fleet: Fleet) -> None:
        """A machine that we made and were never told of, because the answer was lost."""
        before = self.base.machines.by_id if self.base else {}
        for machine in fleet.managed:
            known = machine.id in self.ledger.own or machine.id in before
            if not known and is_made_by(machine, self.release.deploy_id):
                self.ledger.created(machine)

    # -- passes --------------------------------------------------------------------

    async def forward(self, number: int, of: int, is_decisive: IsDecisive) -> Outcome:
        """One pass towards the release."""
        self.emit(PassStarted(number=number, of=of))

        async def attempt() -> Outcome:
            fleet = await self._prepare()
            order = schedule(self.release, fleet, self.known_base, self.left(fleet))
            if not self.waits_for_health:
                order = without_gates(order)
            self._tell_plan(order, fleet)
            return await self._carry_out(order, fleet, is_decisive)

        return await self._finish(attempt, number, FORWARD)

    async def back(self, number: int, of: int, is_decisive: IsDecisive) -> Outcome:
        """One pass back to the way things were."""
        self.emit(PassStarted(number=number, of=of, direction=BACK))

        async def attempt() -> Outcome:
            with self.halt.cuts():
                await self.await_unanswered()
            fleet = await self._look_unless_halted()
            await self._hold(fleet)
            await self._see_what_landed()
            self._note_carriers(fleet)
            await self._announce(Intent.of(self.release).turned_back(), self.carried)
            fleet = await self._look_under_leases()
            self.ledger.forgive(fleet)
            order = schedule_back(fleet, self.left_back(fleet))
            return await self._carry_out(order, fleet, is_decisive)

        return await self._finish(attempt, number, BACK)

    async def await_unanswered(self) -> None:
        """What nobody answered in time may still land: it has to be seen to be undone, or told.

        So may what a run that ended just now has made.
        """
        unanswered_at = max([self.ledger.unanswered_at, *self.ledger.lost_creates.values()])
        await anyio.sleep_until(unanswered_at + SETTLE_S)

    def _tell_plan(self, order: Schedule, fleet: Fleet) -> None:
        """Once: by the first pass that gets as far as a plan."""
        if self._has_told_plan:
            return
        self._has_told_plan = True
        actions = [
            a for stage in order for track in stage for step in track.steps for a in step.actions
        ]
        touched = {action.machine_id for action in actions}
        self.emit(
            Planned(
                actions=tuple((a.name or a.machine_id, a.group, a.verb) for a in actions),
                unchanged=sum(1 for machine in fleet.managed if machine.id not in touched),
            )
        )

    def left(self, fleet: Fleet) -> tuple[Action, ...]:
        """What is still to be done to reach the release."""
        actions = self.planner(self.release, fleet, self.known_base, self.ledger)
        if self.waits_for_health:
            return actions
        return tuple(action for action in actions if not isinstance(action, Wait))

    def left_back(self, fleet: Fleet) -> tuple[Action, ...]:
        """What is still to be undone."""
        return plan_back(
            fleet.managed,
            self.known_base,
            deploy_id=self.release.deploy_id,
            written=frozenset(self.ledger.written),
            doubtful=frozenset(self.ledger.doubtful),
        )

    async def conclude(self, fleet: Fleet) -> None:
        """The deploy is over, either way: take its marks off the platform."""
        self._note_carriers(fleet)
        marked = self.carried | self.ledger.marked
        for machine_id in sorted(marked & self.ledger.known.keys()):
            await self._clean_up(
                self.patience.ask(partial(self.client.delete_metadata, machine_id, INTENT)),
                f"the mark of this deploy stays on {machine_id}",
                "it does no harm: the next deploy writes over it",
            )
        self.carried.clear()
        if self.release_command is not None and self.release_command.machine_id:
            machine_id = self.release_command.machine_id
            await self._clean_up(
                self.client.destroy(machine_id, nonce=""),
                f"the machine of the release command, {machine_id}, is left",
                f"remove it with: fly machine destroy --force {machine_id}",
            )

    async def _clean_up(self, write: Awaitable[None], what: str, hint: str) -> None:
        """What fails here is told, and changes nothing about how the deploy went."""
        try:
            await write
        except DeployError as failure:
            self.emit(Noticed(message=f"{what}: {failure}", hint=hint))

    async def tidy(self) -> None:
        """The run was cut short: remove what we made that serves nobody yet."""
        try:
            for machine in (await self.look()).managed:
                kind, _, maker = role_of(machine)
                waits = kind == CANARY or (kind == REPLACES and machine.cordoned)
                if waits and maker == self.release.deploy_id:
                    await self.actions.perform(Destroy(**where(machine)), Gate.NONE)
        except DeployError as failure:
            self.emit(Noticed(message=f"not everything could be tidied up: {failure}"))

    @property
    def known_base(self) -> Base:
        """The app as it was at first; only a run that got so far may ask."""
        if self.base is None:
            raise RuntimeError("asked for the base before the first look under leases")
        return self.base

    # -- the parts of a pass ---------------------------------------------------------

    async def _prepare(self) -> Fleet:
        """Leases, then the look that fixes the base, then the intent.

        An app that is already there gets no write, leases included.
        """
        fleet = await self._look_unless_halted()
        self.selection.refuse_nothing(fleet)
        if self.base is None and not self.planner(self.release, fleet, Base.of(fleet), self.ledger):
            self._tell_takeover(fleet)
            self.base = Base.of(fleet)
            return fleet
        refuse_unsuited(self.release, self.selection.of(fleet))
        if not self.app_exists:
            await self._create_app()
        await self._hold(fleet)
        await self._see_what_landed()
        fleet = await self._look_under_leases()
        if self.base is None:
            self._tell_takeover(fleet)
            self.base = Base.of(fleet)
            self.release = replace(self.release, number=next_number(fleet))
        self._refuse_overtaken(fleet)
        intent = Intent.of(self.release)
        await self._announce(intent, self.carried or carriers(fleet))
        if self.release_command is not None:
            await self.release_command.run(fleet)
        return carrying(fleet, intent.dump(), self.carried)

    async def _see_what_landed(self) -> None:
        """Under our leases nothing more of a dead run's can land: what it left is known now."""
        if self.take_up_again is not None:
            fleet = await self._look_unless_halted()
            self.take_up(await self.take_up_again(self.client, self.patience, fleet))
            self.take_up_again = None

    async def _create_app(self) -> None:
        """An app is created on its first deploy; one that is there by now is as good."""
        try:
            await self.client.create_app(self.organization)
        except CallFailed as failure:
            if verdict(failure).is_hiccup:
                raise
            try:
                await self.patience.ask(self.client.organization)
            except CallFailed:
                raise failure from None
        self.app_exists = True

    def _refuse_overtaken(self, fleet: Fleet) -> None:
        """Whoever came by while our leases were lost is the later deploy: it is not undone."""
        before = self.known_base.machines.by_id
        for machine in fleet.managed:
            release_id, number = fly_release(machine)
            if release_id in ("", self.release.deploy_id):
                continue
            old = before.get(machine.id)
            is_other = release_id != fly_release(old)[0] if old else number >= self.release.number
            if is_other:
                self.carried.clear()  # what marks there are now are that deploy's
                self.ledger.own &= self.ledger.known.keys()  # the rest it has destroyed
                raise Overtaken(
                    f"another deploy, {release_id} of {machine.image}, has changed machine "
                    f"{machine.name or machine.id} since this one began",
                    hint="`deploy status` shows what runs; deploy again if this release is wanted",
                )

    def _note_carriers(self, fleet: Fleet) -> None:
        """Machines that this deploy made may have been born with its intent."""
        for machine in fleet.managed:
            intent = read_intent(machine)
            if intent is not None and intent.deploy == self.release.deploy_id:
                self.carried.add(machine.id)

    def _tell_takeover(self, fleet: Fleet) -> None:
        for machine in fleet.managed:
            left = read_intent(machine)
            if left is not None and left.deploy != self.release.deploy_id:
                self.carried.add(machine.id)
                self.emit(
                    Noticed(
                        message=f"taking over deploy {left.deploy} of {left.image}, "
                        "which was not finished"
                    )
                )

    async def _look_under_leases(self) -> Fleet:
        """What only this look shows is leased as well, each once, and looked at again.

        That is what we made, and what a deploy that we have waited for did.
        """
        asked: set[str] = set()
        while True:
            fleet = await self._look_unless_halted()
            if not await self._hold(fleet, but=asked):
                return fleet
            asked |= fleet.by_id.keys()

    async def _hold(self, fleet: Fleet, *, but: Set[str] = frozenset()) -> bool:
        """Lease what stood there at first and what we made; nobody else's. True if any is new.

        A machine whose host does not answer cannot be leased, nor written to.
        """
        before = self.base.machines if self.base else Fleet.of(fleet.managed)
        mine = (self.ledger.own | before.by_id.keys()) - but
        return await self.leases.acquire(
            machine.id
            for machine in self.selection.of(fleet)
            if machine.id in mine and machine.host_status != "unreachable"
        )

    async def _announce(self, intent: Intent, machine_ids: Iterable[str]) -> None:
        """Write the intent, once; after a hiccup the next pass writes all of it again."""
        if self._announced == intent:
            return
        for machine_id in sorted(machine_ids):
            if machine_id in self.ledger.known:
                self.carried.add(machine_id)
                await self.client.write_metadata(machine_id, INTENT, intent.dump())
        self._announced = intent

    async def _carry_out(self, order: Schedule, fleet: Fleet, is_decisive: IsDecisive) -> Outcome:
        executor = Executor(
            self.actions,
            self.ledger,
            self.halt,
            windows=windows(self.release, fleet, self.known_base, self.ledger),
            max_concurrent=self.max_concurrent,
            is_decisive=is_decisive,
            emit=self.emit,
        )
        return await executor.run(order)

    async def _finish(
        self, attempt: Callable[[], Awaitable[Outcome]], number: int, direction: str
    ) -> Outcome:
        try:
            outcome = await attempt()
        except Cut:
            outcome = Outcome(left=1)
        except DeployError as error:
            outcome = self._never_began(error)
        self.emit(
            PassFinished(
                number=number,
                done=outcome.done,
                left=outcome.left,
                reason=str(outcome.cause or ""),
                direction=direction,
            )
        )
        return outcome

    def _never_began(self, error: DeployError) -> Outcome:
        """A pass that could not look, or not get its leases."""
        failure = Failure(Action(), error)
        if failure.verdict.is_hiccup:
            self.ledger.hiccups += 1
            self.emit(
                HiccupMet(
                    operation=getattr(error, "operation", "look"),
                    machine_id=getattr(error, "machine_id", ""),
                    message=str(error),
                    outcome_known=failure.verdict.outcome_known,
                    number=self.ledger.hiccups,
                )
            )
        return Outcome(left=1, failures=(failure,))
