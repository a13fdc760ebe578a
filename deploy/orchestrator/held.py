"""The leases that a run holds: refreshed while held, judged by our own clock, given back.

Expiry counts from the moment the request was sent, by our own monotonic clock:
clocks of two computers are never compared. One task refreshes all of them, so
that a fleet of thousands costs what it may cost, and no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import count

import anyio
from anyio.abc import TaskGroup

from deploy.api.machine import Lease
from deploy.errors import CallFailed, DeployError, LeaseLost, LeaseTaken, Meaning
from deploy.events import Noticed
from deploy.orchestrator.bounded import for_each
from deploy.orchestrator.tools import Tools

SAFETY_S = 3.0  # no leased write leaves this close to the lease's end
REFRESHES_PER_S = 20
_RELEASE_S = 10.0
_RELEASES_PER_S = 20  # what a slow client gives back; the bound of a large fleet follows it
_AGAIN_S = 0.5


def ttl_for(leases: int, *, at_least_s: int) -> int:
    """The time to live, in seconds, with which so many leases need 15 refreshes a second at most.

    They are refreshed every third of it. A fifth of a second for each lease leaves
    a quarter of the rate for what has to be asked again.
    """
    return max(at_least_s, math.ceil(4 * leases / REFRESHES_PER_S))


@dataclass(slots=True, eq=False)
class _Held:
    """One lease. Times are in seconds, `sent` by anyio's clock."""

    nonce: str
    sent: float
    ttl_s: float
    lost: str = ""  # why no write may rely on it any more
    is_gone: bool = False  # the platform says that it is not ours
    is_taken: bool = False  # but somebody else's
    in_doubt: bool = False  # the platform does not find it, and no read has said more
    refreshing: anyio.Event | None = None
    unreleased: str = ""  # why it is not given back yet, once that was asked for

    @property
    def expires(self) -> float:
        return self.sent + self.ttl_s

    @property
    def due(self) -> float:
        """A third of its time after the last request was sent, as the lease itself counts.

        Else a slow network would eat up the time that there is for an answer.
        """
        return self.sent + self.ttl_s / 3

    @property
    def left_s(self) -> float:
        """How long writes may still leave under it; of a very short lease most of it."""
        safety_s = min(SAFETY_S, self.ttl_s / 4)
        return 0.0 if self.lost or self.in_doubt else self.expires - safety_s - anyio.current_time()


class HeldLeases:
    """Made by `Leases`. `description` is written on each of them."""

    def __init__(self, tools: Tools, description: str, *, least_ttl_s: int) -> None:
        self._tools = tools
        self._description = description
        self._least_ttl_s = least_ttl_s
        self._held: dict[str, _Held] = {}
        self._nonces: set[str] = set()
        self._untold: set[str] = set()  # machines with a lease that may be ours, its nonce unknown
        self._wanted = 0
        self._longest_s = math.inf  # what the platform grants, where that is less than asked for
        self._queue: list[tuple[float, int, str, _Held]] = []  # by when each is due
        self._numbers = count()
        self._earlier = anyio.Event()
        self._news = anyio.Event()  # something of what is held has changed
        self._is_over = False

    # -- what is held --------------------------------------------------------------

    def expect(self, more: int) -> None:
        """So many more are about to be taken: all of them live as long as that asks for."""
        self._wanted = len(self._held) + more

    @property
    def ttl_s(self) -> int:
        """The time to live to ask for, in seconds: it follows the number of leases."""
        return ttl_for(max(self._wanted, len(self._held)), at_least_s=self._least_ttl_s)

    def keep(self, machine_id: str, lease: Lease, *, sent: float, ttl_s: int) -> None:
        """A lease was granted to the request that was sent then, and asked for `ttl_s`."""
        self._held[machine_id] = held = _Held(lease.nonce, sent, self._granted_s(lease, ttl_s))
        self._nonces.add(lease.nonce)
        self._untold.discard(machine_id)
        self._put(machine_id, held, held.due)
        self._tell()

    def found(self, machine_id: str, lease: Lease) -> None:
        """A read shows a lease of ours: it is given back at the end, but nobody knows how long it
        lives, so that nothing is written under it before a refresh of it is granted."""
        self._held[machine_id] = _Held(lease.nonce, sent=-math.inf, ttl_s=0.0)
        self._nonces.add(lease.nonce)
        self._untold.discard(machine_id)

    def suspect(self, machine_id: str, *, may_be_ours: bool) -> None:
        """A lease without a description may have come of a request of ours without an answer."""
        if may_be_ours:
            self._untold.add(machine_id)
        else:
            self._untold.discard(machine_id)

    def forget(self, machine_id: str) -> None:
        """The machine is gone, and its lease with it."""
        self._held.pop(machine_id, None)
        self._untold.discard(machine_id)
        self._tell()

    async def late(self, machine_id: str) -> None:
        """Return when the lease may be used, or is lost.

        One that is about to end is kept by a refresh that is under way, or the next: the
        last of them leaves before it ends.
        """
        while (held := self._held.get(machine_id)) is not None:
            if held.lost or held.left_s > 0 or held.sent == -math.inf:
                return
            await self._news.wait()

    async def run_out(self, machine_id: str) -> None:
        """Return when a lease that could not be kept has ended by the server's clock, too.

        It counts from when it heard of it, and maybe in whole seconds.
        """
        held = self._held.get(machine_id)
        await anyio.sleep_until(held.expires + SAFETY_S if held is not None else -math.inf)

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def holds(self, machine_id: str) -> bool:
        return machine_id in self._held

    def is_usable(self, machine_id: str) -> bool:
        """Whether a write may leave under the lease now."""
        held = self._held.get(machine_id)
        return held is not None and held.left_s > 0

    def is_ours(self, found: Lease) -> bool:
        """Whether a lease that was read is this run's. Servers may leave the description out."""
        return found.nonce in self._nonces or found.description == self._description

    def nonce(self, machine_id: str) -> str:
        """The nonce of a lease that is held; LeaseLost, with the reason, if it must not be used.

        The one that is about to end may end before a write is answered.
        """
        held = self._held[machine_id]
        if held.lost:
            kind = LeaseTaken if held.is_taken else LeaseLost
            raise kind(
                f"the lease on machine {machine_id} is lost: {held.lost}", machine_id=machine_id
            )
        if held.in_doubt:
            raise LeaseLost(
                f"the lease on machine {machine_id} may be lost: a refresh did not find it, and "
                "no read has been answered since",
                machine_id=machine_id,
            )
        if held.left_s <= 0:
            ends_s = max(0.0, held.expires - anyio.current_time())
            raise LeaseLost(
                f"the lease on machine {machine_id} ends in {ends_s:.1f} s, and no refresh has "
                "been answered",
                machine_id=machine_id,
            )
        return held.nonce

    def _granted_s(self, lease: Lease, ttl_s: int) -> float:
        """For how long: as asked, or shorter where the platform says so.

        What came with a created machine says nothing: it is taken to be as short.
        A server tells the time in whole seconds, so that it may be a second later.
        """
        if lease.granted_s is not None:
            is_shorter = lease.granted_s < ttl_s
            self._longest_s = max(0.0, lease.granted_s - 1.0) if is_shorter else math.inf
        return min(ttl_s, self._longest_s)

    # -- refreshing ----------------------------------------------------------------

    async def refresh(self) -> None:
        """Refresh what is due, evenly; never returns."""
        async with anyio.create_task_group() as tasks:
            while True:
                await self._refresh_next(tasks)

    async def _refresh_next(self, tasks: TaskGroup) -> None:
        while self._queue and not self._is_current(*self._queue[0]):
            heappop(self._queue)
        due = self._queue[0][0] if self._queue else math.inf
        if due > anyio.current_time():
            self._earlier = anyio.Event()
            with anyio.CancelScope(deadline=due):
                await self._earlier.wait()
            return
        *_, machine_id, held = heappop(self._queue)
        tasks.start_soon(self._refresh, machine_id, held)
        await anyio.sleep(min(1 / REFRESHES_PER_S, held.ttl_s / 4 / len(self._held)))

    def _is_current(self, _: float, __: int, machine_id: str, held: _Held) -> bool:
        is_held = self._held.get(machine_id) is held
        return is_held and not held.lost and not self._is_over

    def _put(self, machine_id: str, held: _Held, due: float) -> None:
        if not self._queue or due < self._queue[0][0]:
            self._earlier.set()
        heappush(self._queue, (due, next(self._numbers), machine_id, held))

    async def _refresh(self, machine_id: str, held: _Held) -> None:
        """Once; after a hiccup again soon, until the lease has run out."""
        held.refreshing = anyio.Event()
        try:
            due = await self._ask(machine_id, held)
        finally:
            held.refreshing.set()
            held.refreshing = None
        self._put(machine_id, held, due)
        self._tell()

    async def _ask(self, machine_id: str, held: _Held) -> float:
        """Refresh it, or find out why not; when to ask again.

        What the answer says is also true of a lease that was taken anew before this was sent.
        """
        sent, ttl_s = anyio.current_time(), self.ttl_s
        try:
            lease = await self._tools.client.refresh_lease(
                machine_id, ttl_s=ttl_s, description=self._description, nonce=held.nonce
            )
        except DeployError as failure:
            latest = self._held.get(machine_id, held)
            await self._judge(machine_id, latest if latest.sent < sent else held, failure)
            return anyio.current_time() + min(1.0, held.ttl_s / 10)
        held.nonce, held.sent, held.ttl_s = lease.nonce, sent, self._granted_s(lease, ttl_s)
        held.in_doubt = False
        self._nonces.add(lease.nonce)
        return held.due

    async def _judge(self, machine_id: str, held: _Held, failure: DeployError) -> None:
        """After a refresh that failed: one that is refused is lost only if a read says so, too."""
        if is_refused(failure):
            held.in_doubt |= failure.meaning is Meaning.MISSING
            try:
                found = await self._tools.client.read_lease(machine_id)
            except DeployError:
                pass  # asked again with the next refresh, while there is time
            else:
                if found is None or not self.is_ours(found):
                    held.is_gone, held.is_taken = True, found is not None
                    why = f"{holder_of(found)} has it" if found else f"it ran out: {failure}"
                    self._lose(machine_id, held, why)
                    return
                held.nonce, held.in_doubt = found.nonce, False
        if anyio.current_time() >= held.expires:
            self._lose(machine_id, held, f"it ran out before a refresh was answered: {failure}")

    def _lose(self, machine_id: str, held: _Held, why: str) -> None:
        held.lost = why
        if self._held.get(machine_id) is held:
            self._tools.emit(Noticed(message=f"the lease on {machine_id} is lost: {why}"))

    # -- giving back ---------------------------------------------------------------

    async def release_all(self, *, last: str) -> None:
        """Give everything back, `last` when nothing else is left; even while being cancelled.

        Within 10 s, or what a large fleet needs; what is left then is said.
        """
        self._is_over = True
        others = [machine_id for machine_id in self._held if machine_id != last]
        within_s = max(_RELEASE_S, len(others) / _RELEASES_PER_S)
        with anyio.move_on_after(within_s, shield=True):
            await for_each(others, self._release)
            if last in self._held:
                await self._release(last)
        for machine_id in self._held:
            why = self._held[machine_id].unreleased
            self._tell_unreleased(machine_id, why or "there was no time to ask for it")
        for machine_id in sorted(self._untold):
            self._tell_unreleased(machine_id, "the answer that told its nonce was lost")
        self._held.clear()

    async def _release(self, machine_id: str) -> None:
        """Never while a refresh is under way: a platform may grant a new lease to that."""
        held = self._held[machine_id]
        if held.refreshing is not None:
            await held.refreshing.wait()
        try:
            if not held.is_gone:
                await self._give_back(machine_id, held)
        except DeployError as failure:
            self._tell_unreleased(machine_id, str(failure))
        del self._held[machine_id]

    async def _give_back(self, machine_id: str, held: _Held) -> None:
        """Until the platform has taken it, or a read shows that it is not ours any more.

        Or half the time is over: the last one needs the other half.
        """
        client, patience = self._tools.client, self._tools.patience
        until = anyio.current_time() + _RELEASE_S / 2

        async def release() -> None:
            held.unreleased = held.unreleased or "no answer in time"
            try:
                await client.release_lease(machine_id, nonce=held.nonce)
            except CallFailed as failure:
                held.unreleased = str(failure)
                raise

        while True:
            try:
                return await patience.ask(release, within_s=_RELEASE_S / 2)
            except CallFailed as failure:
                if not is_refused(failure) or anyio.current_time() >= until:
                    raise
                refused = failure
            found = await patience.ask(partial(client.read_lease, machine_id))
            is_denied = found is None and refused.meaning is not Meaning.MISSING
            if is_denied and await patience.ask(partial(client.find_machine, machine_id)) is None:
                raise refused  # who does not know of the machine yet knows nothing of its lease
            if found is None or not self.is_ours(found):
                return None
            held.nonce = found.nonce
            await anyio.sleep(_AGAIN_S)

    def _tell_unreleased(self, machine_id: str, why: str) -> None:
        self._untold.discard(machine_id)
        self._tools.emit(
            Noticed(
                message=f"the lease on {machine_id} could not be released: {why}",
                hint=f"it ends by itself within {self.ttl_s} s",
            )
        )


def holder_of(lease: Lease) -> str:
    """Who holds a lease that is not ours."""
    owner = lease.owner or "somebody else"
    return f"{owner} (deploy {lease.description})" if lease.description else owner


def is_refused(failure: DeployError) -> bool:
    """Whether the platform has answered, and not granted what was asked of a lease.

    That may mean anything: what a read shows counts.
    """
    refused = (Meaning.LEASED, Meaning.BUSY, Meaning.CHANGED, Meaning.MISSING, Meaning.REJECTED)
    return failure.meaning in refused
