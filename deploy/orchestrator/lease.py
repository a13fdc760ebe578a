"""Leases over the fleet: an arbiter first, then all others at once.

Every run of an app takes the same arbiter first, whatever its selection: of two
rivals exactly one gets past it, and finds the rest free. A nonce is kept before
anything else can fail.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from deploy.api.machine import Fleet, Lease, Machine
from deploy.errors import CallFailed, DeployError, LeaseHeld, LeaseLost, Meaning
from deploy.events import LeasesTaken
from deploy.orchestrator.bounded import for_each
from deploy.orchestrator.halt import Cut, Halt
from deploy.orchestrator.held import HeldLeases, holder_of, is_refused
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.tools import Tools
from deploy.plan.stamps import lease_description

_LOOK_AGAIN_S = 2.0
_TELL_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """How leases are asked for, and for how long another's is waited for. Times in seconds.

    `ttl_s` is the time to live of a small fleet's leases; that of a large one's
    is longer, see `held.ttl_for`.
    """

    run_id: str
    ttl_s: int = 13
    wait_for_others_s: float = 0.0

    @property
    def doubt_s(self) -> float:
        """How long answers that contradict each other, and hiccups, are asked for again."""
        return 2.0 * self.ttl_s


@dataclass(slots=True)
class _Round:
    """Leases being taken side by side; `is_over` once one cannot be had.

    Another's lease is waited for until `give_up`, by anyio's clock; `told` is when
    it was told last how many of them are held.
    """

    give_up: float
    of: int
    told: float
    taken: int = 0
    is_over: Halt = field(default_factory=Halt)
    hiccup: DeployError | None = None


@asynccontextmanager
async def holding(tools: Tools, memory: Memory, terms: LeaseTerms) -> AsyncIterator[Leases]:
    """Leases that live as long as the block; released at its end, however it ends.

    A lease without a description, on a machine that this run has made and never held, came with
    its creation.
    """
    async with anyio.create_task_group() as tasks:
        leases = Leases(tools, memory, terms)
        tasks.start_soon(leases.refresh)
        try:
            yield leases
        finally:
            tasks.cancel_scope.shield = True
            await leases.release_all()
            tasks.cancel_scope.cancel()
    await checkpoint_if_cancelled()  # else a cancellation from outside would end here


class Leases:
    """The leases of one run. Made by `holding`."""

    def __init__(self, tools: Tools, memory: Memory, terms: LeaseTerms) -> None:
        self._tools = tools
        self._memory = memory
        self._terms = terms
        self._deploy_id = memory.release.deploy_id
        self._description = lease_description(self._deploy_id, terms.run_id)
        self._held = HeldLeases(tools, self._description, least_ttl_s=terms.ttl_s)
        self._arbiter = ""
        self.outwaited: set[str] = set()  # machines on which another's lease has just ended
        self._reasons: dict[str, str] = {}  # machine id -> why it is not leased

    @property
    def run_id(self) -> str:
        """Of the run that holds them."""
        return self._terms.run_id

    @property
    def ttl_s(self) -> int:
        """The time to live that is asked for, in seconds."""
        return self._held.ttl_s

    async def acquire(self, machines: Iterable[Machine], *, app: Fleet) -> bool:
        """Hold every one of these machines; True if any was not held already.

        The arbiter is the first machine of the `app` by id that can be leased: a
        host that does not answer grants nothing. Raises LeaseHeld if somebody
        else holds one, and Cut when the run is halted meanwhile: in both cases
        no further one is asked for. A hiccup on one does not keep the others from
        being taken, and is raised at the end.
        """
        missing = []
        for machine in sorted(machines, key=lambda each: each.id):
            if machine.is_dead:
                self._reasons[machine.id] = "its host is unreachable"
            elif not self._held.is_usable(machine.id):
                missing.append(machine.id)
        if missing:
            now = anyio.current_time()
            give_up = now + self._terms.wait_for_others_s
            this = _Round(give_up=give_up, of=len(missing), told=now)
            self._held.expect(len(missing))
            await self._take_arbiter(app, this)
            if self._arbiter:  # else the whole app is gone
                await self._take_all(missing, this)
        return bool(missing)

    async def take_own(self, machine_id: str) -> None:
        """Hold a machine that this run has made, if the platform knows of it by now."""
        now = anyio.current_time()
        await self._take(machine_id, _Round(give_up=now, of=1, told=now))

    async def late(self, machine_id: str) -> None:
        """Wait for the refresh of a lease that is about to end, unless the run is halted."""
        if not self._tools.halt.is_set:
            with self._tools.halt.cuts():
                await self._held.late(machine_id)

    async def run_out(self, machine_id: str) -> None:
        """Wait until a lease that could not be kept is in nobody's way any more."""
        with self._tools.halt.cuts():
            await self._held.run_out(machine_id)

    def nonce(self, machine_id: str) -> str:
        """The nonce to send with a write; LeaseLost if the lease may end before the answer."""
        if not self._held.holds(machine_id):
            reason = self._reasons.get(machine_id, "nobody asked for its lease")
            raise LeaseLost(f"machine {machine_id} is not leased: {reason}", machine_id=machine_id)
        return self._held.nonce(machine_id)

    def adopt(self, machine_id: str, nonce: str, *, since: float) -> None:
        """Keep a lease that came with a created machine; `since` is when the request was sent."""
        if nonce:
            self._held.keep(machine_id, Lease(nonce, 0), sent=since, ttl_s=self.ttl_s)

    def forget(self, machine_id: str) -> None:
        """The machine is gone, and its lease with it."""
        self._held.forget(machine_id)

    def is_usable(self, machine_id: str) -> bool:
        """Whether a write may leave under the lease now."""
        return self._held.is_usable(machine_id)

    def keeps_away(self, machine_id: str) -> bool:
        """Whether no other run can begin on it: its lease is ours, or the arbiter's."""
        return self._held.is_usable(machine_id) or self._held.is_usable(self._arbiter)

    def holds(self, machine_id: str) -> bool:
        return self._held.holds(machine_id)

    async def refresh(self) -> None:
        """Keep what is held from running out; never returns."""
        await self._held.refresh()

    async def release_all(self) -> None:
        """Give everything back, the arbiter last: who has waited for it finds the rest free."""
        await self._held.release_all(last=self._arbiter)

    # -- taking ------------------------------------------------------------------

    async def _take_arbiter(self, app: Fleet, this: _Round) -> None:
        if self._held.is_usable(self._arbiter):
            return
        self._arbiter = ""
        for machine in app:
            if machine.is_dead:
                continue
            if not self._held.is_usable(machine.id):
                await self._take(machine.id, this)
            if self._held.is_usable(machine.id):
                self._arbiter = machine.id
                return

    async def _take_all(self, machine_ids: list[str], this: _Round) -> None:
        halt = self._tools.halt

        async def take(machine_id: str) -> None:
            if halt.is_set or this.is_over.is_set:
                return
            try:
                if not self._held.is_usable(machine_id):
                    await self._take(machine_id, this)
                self._tell(this)
            except Cut:
                return
            except DeployError as failure:
                self._reasons[machine_id] = str(failure)
                if failure.meaning.is_hiccup:
                    this.hiccup = this.hiccup or failure
                else:
                    this.is_over.set(failure)

        await for_each(machine_ids, take)
        if this.is_over.reason is not None:
            raise this.is_over.reason
        if halt.is_set:
            raise Cut
        if this.hiccup is not None:
            raise this.hiccup

    def _tell(self, this: _Round) -> None:
        """One more is taken."""
        this.taken += 1
        if anyio.current_time() - this.told >= _TELL_EVERY_S:
            this.told = anyio.current_time()
            self._tools.emit(LeasesTaken(taken=this.taken, of=this.of))

    async def _take(self, machine_id: str, this: _Round) -> None:
        """Hold it, unless there is no such machine any more."""
        doubts = anyio.current_time() + self._terms.doubt_s
        sent = doubts

        async def ask() -> Lease:
            nonlocal sent
            if self._held.holds(self._arbiter):
                self._held.nonce(self._arbiter)  # whose arbiter is lost asks for nothing more
            sent = anyio.current_time()
            return await self._tools.client.acquire_lease(
                machine_id, ttl_s=ttl_s, description=self._description
            )

        while True:
            ttl_s = self.ttl_s
            try:
                lease = await self._tools.patience.ask(ask, within_s=self._terms.doubt_s)
            except CallFailed as failure:
                if await self._settle(machine_id, failure, doubts, this):
                    return
            else:
                self._held.keep(machine_id, lease, sent=sent, ttl_s=ttl_s)
                return

    async def _settle(
        self, machine_id: str, failure: CallFailed, doubts: float, this: _Round
    ) -> bool:
        """After a failed request: True if the lease is ours after all, False to ask for it again.

        Raises LeaseHeld if somebody else holds it, and the failure itself if
        asking again cannot help, or has not. True, too, if there is no such
        machine any more: there is nothing to hold. A lease that was refused as held
        is asked for again before that is believed.
        """
        meaning = failure.meaning
        if meaning is Meaning.MISSING and await self._has_vanished(machine_id):
            return True
        if meaning is not Meaning.LEASED and not meaning.is_hiccup:
            raise failure
        if meaning in (Meaning.LEASED, Meaning.UNSETTLED, Meaning.BUSY):
            held = await self._tools.patience.ask(lambda: self._tools.client.read_lease(machine_id))
            if held is not None:
                return await self._meet(machine_id, held, failure, doubts, this)
        if meaning is Meaning.LEASED:
            self.outwaited.add(machine_id)
        return await self._ask_again(failure, doubts, this)

    async def _meet(
        self, machine_id: str, held: Lease, failure: CallFailed, doubts: float, this: _Round
    ) -> bool:
        """Somebody holds it: True if that is this run, False once it has ended by itself.

        Of a machine of its making whose lease it has had, this run knows the nonce.
        """
        is_first = self._memory.is_own(machine_id) and not self._held.holds(machine_id)
        if self._held.is_ours(held) or (is_first and not held.description):
            return await self._adopt_own(machine_id, held, doubts, this)
        await self._outwait(machine_id, held, failure.meaning, this)
        return False

    async def _has_vanished(self, machine_id: str) -> bool:
        client = self._tools.client
        if await self._tools.patience.ask(lambda: client.find_machine(machine_id)) is not None:
            return False
        self._reasons[machine_id] = "it is gone"
        return True

    async def _adopt_own(self, machine_id: str, held: Lease, doubts: float, this: _Round) -> bool:
        """Ours: the answer to an earlier request was lost, and reading it told the nonce.

        False to ask for it again, if the refresh is refused: a read that follows says more.
        """
        self._held.found(machine_id, held)
        sent, ttl_s = anyio.current_time(), self.ttl_s
        try:
            lease = await self._tools.client.refresh_lease(
                machine_id, ttl_s=ttl_s, description=self._description, nonce=held.nonce
            )
        except CallFailed as failure:
            if not is_refused(failure) and not failure.meaning.is_hiccup:
                raise
            return await self._ask_again(failure, doubts, this)
        self._held.keep(machine_id, lease, sent=sent, ttl_s=ttl_s)
        return True

    async def _ask_again(self, failure: CallFailed, doubts: float, this: _Round) -> Literal[False]:
        """After a hiccup, or answers that contradict each other; raises it when it is too late."""
        if anyio.current_time() >= doubts:
            raise failure
        await self._pause(this)
        return False

    async def _outwait(self, machine_id: str, held: Lease, meaning: Meaning, this: _Round) -> None:
        """Return when the lease has ended by itself; raise LeaseHeld if its holder is alive.

        A killed run of this deploy refreshes nothing: its `expires_at` stands
        still. So does a lease without a description that our own lost request
        may have left.
        """
        may_be_ours = self._may_be_ours(machine_id, held, meaning)
        was_asked = meaning is Meaning.UNSETTLED and not held.description
        longest_s = max(self._terms.doubt_s, float(self.ttl_s)) + _LOOK_AGAIN_S
        stands_still_until = anyio.current_time() + longest_s
        while True:
            is_alive = not may_be_ours or anyio.current_time() >= stands_still_until
            self._held.suspect(machine_id, may_be_ours=was_asked and not is_alive)
            if is_alive and anyio.current_time() >= this.give_up:
                raise _held_by_another(machine_id, held)
            await self._pause(this)
            now_held = await self._tools.patience.ask(
                lambda: self._tools.client.read_lease(machine_id)
            )
            if now_held is None:
                self._held.suspect(machine_id, may_be_ours=False)
                self.outwaited.add(machine_id)
                return
            may_be_ours = may_be_ours and now_held.expires_at == held.expires_at
            held = now_held

    async def _pause(self, this: _Round) -> None:
        """Raises Cut if the run is halted, or another lease cannot be had."""
        with self._tools.halt.cuts(), this.is_over.cuts():
            await anyio.sleep(_LOOK_AGAIN_S)

    def _may_be_ours(self, machine_id: str, held: Lease, meaning: Meaning) -> bool:
        """Whether it may be left over from a run of this deploy that has died.

        Where the platform does not say whose it is, it may where a deploy is taken up.
        """
        if held.description:
            return held.description.startswith(lease_description(self._deploy_id, ""))
        takes_up = not self._memory.knows_what_landed or machine_id in self._memory.inherited
        return takes_up or meaning is Meaning.UNSETTLED


def _held_by_another(machine_id: str, held: Lease) -> LeaseHeld:
    until = (
        f" until {datetime.fromtimestamp(held.expires_at, UTC):%H:%M:%S} UTC"
        if 0 < held.expires_at < 1 << 40
        else ""
    )
    return LeaseHeld(
        f"machine {machine_id} is leased by {holder_of(held)}{until}",
        machine_id=machine_id,
        hint="another deploy is under way: wait for it to end, or give --wait-for-lease 5m",
    )
