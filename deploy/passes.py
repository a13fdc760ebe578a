"""One pass over the fleet: look, plan, carry out. Both paths are made of these.

A pass goes forward to the release or back to what was before. It returns what
came of it and raises only what no path could go on after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace

import anyio

from deploy.actions import Actions
from deploy.backoff import Patience
from deploy.client import MachinesClient
from deploy.errors import CallFailed, DeployError
from deploy.events import Emit, HiccupMet, Noticed, PassFinished, PassStarted
from deploy.execute import Executor, Failure, IsDecisive, Outcome, windows
from deploy.halt import Cut, Halt
from deploy.intent import BACK, FORWARD, Intent, carriers, carrying
from deploy.lease import Leases
from deploy.ledger import Ledger
from deploy.machine import Fleet, Machine
from deploy.plan import Action, Base, Destroy, plan_back
from deploy.release import CANARY, INTENT, ROLE, Release, next_number
from deploy.strategy import Gate, Schedule, refuse_unsuited, schedule, schedule_back
from deploy.verdict import Verdict, verdict

_EMPTY_LOOKS = 3  # an empty list is believed only when it is repeated
_EMPTY_PAUSE_S = 1.0

Planner = Callable[[Fleet, Base, Ledger], tuple[Action, ...]]


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
    base: Base | None = None
    carried: set[str] = field(default_factory=set)
    _announced: Intent | None = None

    # -- looking -------------------------------------------------------------------

    async def look(self) -> Fleet:
        """The app's machines. What does not fit what we know is read again, by id."""
        if not self.app_exists:
            return Fleet()
        fleet = Fleet.of(await self.patience.ask(self.client.machines))
        for _ in range(_EMPTY_LOOKS - 1):
            if fleet.managed or not self.ledger.known:
                break
            await anyio.sleep(_EMPTY_PAUSE_S)
            fleet = Fleet.of(await self.patience.ask(self.client.machines))
        listed = fleet.by_id
        for machine_id, version in list(self.ledger.known.items()):
            seen = listed.get(machine_id)
            if seen is None or seen.version != version:
                again = await self._read(machine_id)
                listed.pop(machine_id, None)
                if again is not None:
                    listed[machine_id] = again
                    self.ledger.known[machine_id] = again.version
                else:
                    self.ledger.gone(machine_id)
        fleet = Fleet.of(listed.values())
        self.ledger.look(fleet.managed)
        return fleet

    async def _read(self, machine_id: str) -> Machine | None:
        try:
            return await self.patience.ask(lambda: self.client.machine(machine_id))
        except CallFailed as failure:
            if verdict(failure) is Verdict.MISSING:
                return None
            raise

    # -- passes --------------------------------------------------------------------

    async def forward(self, number: int, of: int, is_decisive: IsDecisive) -> Outcome:
        """One pass towards the release."""
        self.emit(PassStarted(number=number, of=of))

        async def attempt() -> Outcome:
            with self.halt.cuts():
                fleet = await self._prepare()
            order = schedule(self.release, fleet, self.known_base, self.left(fleet))
            return await self._carry_out(order, fleet, is_decisive)

        return await self._finish(attempt, number, FORWARD)

    async def back(self, number: int, of: int, is_decisive: IsDecisive) -> Outcome:
        """One pass back to the way things were."""
        self.emit(PassStarted(number=number, of=of, direction=BACK))

        async def attempt() -> Outcome:
            with self.halt.cuts():
                await self._hold(await self.look())
                await self._announce(Intent.of(self.release).turned_back(), self.carried)
                fleet = await self.look()
            order = schedule_back(fleet, self.left_back(fleet))
            return await self._carry_out(order, fleet, is_decisive)

        return await self._finish(attempt, number, BACK)

    def left(self, fleet: Fleet) -> tuple[Action, ...]:
        """What is still to be done to reach the release."""
        return self.planner(fleet, self.known_base, self.ledger)

    def left_back(self, fleet: Fleet) -> tuple[Action, ...]:
        """What is still to be undone."""
        return plan_back(
            fleet.managed,
            self.known_base,
            deploy_id=self.release.deploy_id,
            written=frozenset(self.ledger.written),
            doubtful=frozenset(self.ledger.doubtful),
        )

    async def conclude(self) -> None:
        """The deploy is over, either way: take the intent off the machines that carry it."""
        for machine_id in sorted(self.carried & self.ledger.known.keys()):
            try:
                await self.client.delete_metadata(machine_id, INTENT)
            except DeployError as failure:
                self.emit(
                    Noticed(
                        message=f"the mark of this deploy stays on {machine_id}: {failure}",
                        hint="it does no harm: the next deploy writes over it",
                    )
                )
        self.carried.clear()

    async def tidy(self) -> None:
        """After an interruption: remove what we made that serves nobody yet."""
        try:
            for machine in (await self.look()).managed:
                role = machine.metadata.get(ROLE, "")
                waits = role == CANARY or (role and machine.cordoned)
                if waits and machine.id in self.ledger.own:
                    await self.actions.perform(
                        Destroy(machine_id=machine.id, name=machine.name, group=machine.group),
                        Gate.NONE,
                    )
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
        fleet = await self.look()
        if self.base is None and not self.planner(fleet, Base.of(fleet), self.ledger):
            self.base = Base.of(fleet)
            return fleet
        refuse_unsuited(self.release, fleet)
        if not self.app_exists:
            await self.client.create_app(self.organization)
            self.app_exists = True
        await self._hold(fleet.managed)
        fleet = await self.look()
        if self.base is None:
            self.base = Base.of(fleet)
            self.release = replace(self.release, number=next_number(fleet))
        intent = Intent.of(self.release)
        await self._announce(intent, self.carried or carriers(fleet))
        return carrying(fleet, intent.dump(), self.carried)

    async def _hold(self, fleet: Fleet) -> None:
        """Lease what stood there at first and what we made; nobody else's."""
        mine = self.ledger.own | (self.base.machines if self.base else fleet).by_id.keys()
        await self.leases.acquire(machine.id for machine in fleet if machine.id in mine)

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
