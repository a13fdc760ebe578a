"""Leases over the fleet: taken in id order, refreshed while held, given back on every way out.

A lease keeps its own nonce, and the nonce is kept before anything else can
fail. Expiry is judged by our own monotonic clock, counted from the moment the
request was sent: clocks of two computers are never compared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint_if_cancelled

from deploy.api.machine import Lease
from deploy.errors import CallFailed, DeployError, LeaseHeld, LeaseLost, Meaning
from deploy.events import Noticed
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.tools import Tools

SAFETY_S = 3.0  # no leased write leaves this close to the lease's end
_RELEASE_S = 10.0
_LOOK_AGAIN_S = 2.0
_RELEASES_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """How leases are asked for, and for how long another's is waited for. Times in seconds."""

    run_id: str
    ttl_s: int = 13
    wait_for_others_s: float = 0.0

    @property
    def doubt_s(self) -> float:
        """How long answers that contradict each other, and hiccups, are asked for again."""
        return 2.0 * self.ttl_s


@dataclass(slots=True)
class _Held:
    nonce: str
    expires: float  # by anyio's clock
    scope: anyio.CancelScope
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Until when another's lease is waited for, and until when a doubt is; by anyio's clock."""

    give_up: float
    doubts: float


@asynccontextmanager
async def holding(tools: Tools, memory: Memory, terms: LeaseTerms) -> AsyncIterator[Leases]:
    """Leases that live as long as the block; released at its end, however it ends.

    A lease without a description, on a machine that this run or an earlier one
    of this deploy made, came with its creation.
    """
    async with anyio.create_task_group() as tasks:
        leases = Leases(tools, memory, terms, tasks)
        try:
            yield leases
        finally:
            tasks.cancel_scope.shield = True
            await leases.release_all()
            tasks.cancel_scope.cancel()
    await checkpoint_if_cancelled()  # else a cancellation from outside would end here


class Leases:
    """The leases of one run. Made by `holding`."""

    def __init__(self, tools: Tools, memory: Memory, terms: LeaseTerms, tasks: TaskGroup) -> None:
        self._tools = tools
        self._memory = memory
        self._terms = terms
        self._tasks = tasks
        self._deploy_id = memory.release.deploy_id
        self._description = f"{self._deploy_id}/{terms.run_id}"
        self._held: dict[str, _Held] = {}

    @property
    def ttl_s(self) -> int:
        """The time to live that is asked for, in seconds."""
        return self._terms.ttl_s

    async def acquire(self, machine_ids: Iterable[str]) -> bool:
        """Hold every one of these machines; True if any was not held already.

        In id order, so that of two rivals exactly one gets them all. Raises
        LeaseHeld at the first that somebody else holds, and Cut between two of
        them when the run is halted; a hiccup on one does not
        keep the others from being taken, and is raised at the end.
        """
        hiccup: CallFailed | None = None
        missing = [each for each in sorted(machine_ids) if not self._is_usable(each)]
        for machine_id in missing:
            if self._tools.halt.is_set:
                raise Cut
            try:
                await self._take(machine_id)
            except CallFailed as failure:
                if not failure.meaning.is_hiccup:
                    raise
                hiccup = hiccup or failure
        if hiccup is not None:
            raise hiccup
        return bool(missing)

    def nonce(self, machine_id: str) -> str:
        """The nonce to send with a write; LeaseLost if the lease may end before the answer."""
        if not self._is_usable(machine_id):
            raise LeaseLost(
                f"the lease on machine {machine_id} ran out or was taken",
                machine_id=machine_id,
                hint="somebody else may be deploying this app",
            )
        return self._held[machine_id].nonce

    def adopt(self, machine_id: str, nonce: str, *, since: float) -> None:
        """Keep a lease that came with a created machine; `since` is when the request was sent."""
        if nonce:
            self._keep(machine_id, nonce, since + self.ttl_s)

    def forget(self, machine_id: str) -> None:
        """The machine is gone, and its lease with it."""
        held = self._held.pop(machine_id, None)
        if held is not None:
            held.scope.cancel()

    def holds(self, machine_id: str) -> bool:
        return machine_id in self._held

    async def release_all(self) -> None:
        """Give everything back within 10 s, even while being cancelled."""
        limiter = anyio.Semaphore(_RELEASES_AT_ONCE)
        with anyio.move_on_after(_RELEASE_S, shield=True):
            async with anyio.create_task_group() as tasks:
                for machine_id in list(self._held):
                    tasks.start_soon(self._release, machine_id, limiter)
        for machine_id in self._held:
            self._tell_unreleased(machine_id, "no answer in time")
        self._held.clear()

    # -- taking ------------------------------------------------------------------

    async def _take(self, machine_id: str) -> None:
        now = anyio.current_time()
        bounds = _Bounds(now + self._terms.wait_for_others_s, now + self._terms.doubt_s)
        while True:
            sent = now

            async def ask() -> Lease:
                nonlocal sent
                sent = anyio.current_time()
                return await self._tools.client.acquire_lease(
                    machine_id, ttl_s=self.ttl_s, description=self._description
                )

            try:
                lease = await self._tools.patience.ask(ask, within_s=self._terms.doubt_s)
            except CallFailed as failure:
                if await self._settle(machine_id, failure, bounds):
                    return
            else:
                self._keep(machine_id, lease.nonce, sent + self.ttl_s)
                return

    async def _settle(self, machine_id: str, failure: CallFailed, bounds: _Bounds) -> bool:
        """After a failed request: True if the lease is ours after all, False to ask for it again.

        Raises LeaseHeld if somebody else holds it, and the failure itself if
        asking again cannot help, or has not. True, too, if there is no such
        machine any more: there is nothing to hold.
        """
        meaning = failure.meaning
        if meaning is Meaning.MISSING and await self._has_vanished(machine_id):
            return True
        if meaning is not Meaning.LEASED and not meaning.is_hiccup:
            raise failure
        if meaning in (Meaning.LEASED, Meaning.UNSETTLED):
            held = await self._tools.patience.ask(lambda: self._tools.client.read_lease(machine_id))
            if held is not None:
                return await self._meet(machine_id, held, meaning, bounds)
            if meaning is Meaning.LEASED and await self._has_vanished(machine_id):
                return True
        return await self._ask_again(failure, bounds)

    async def _meet(self, machine_id: str, held: Lease, meaning: Meaning, bounds: _Bounds) -> bool:
        """Somebody holds it: True if that is this run, False once it has ended by itself."""
        came_with_machine = not held.description and self._memory.is_own(machine_id)
        if held.description == self._description or came_with_machine:
            return await self._adopt_own(machine_id, held, bounds)
        await self._outwait(machine_id, held, meaning, bounds)
        return False

    async def _has_vanished(self, machine_id: str) -> bool:
        client = self._tools.client
        return await self._tools.patience.ask(lambda: client.find_machine(machine_id)) is None

    async def _adopt_own(self, machine_id: str, held: Lease, bounds: _Bounds) -> bool:
        """Ours: the answer to an earlier request was lost, and reading it told the nonce.

        False to ask for it again, if it is now said to be somebody else's.
        """
        sent = anyio.current_time()
        try:
            lease = await self._tools.client.refresh_lease(
                machine_id, ttl_s=self.ttl_s, description=self._description, nonce=held.nonce
            )
        except CallFailed as failure:
            if _is_gone(failure):
                self.forget(machine_id)  # a refresh under way may have made it look held again
            if failure.meaning is not Meaning.LEASED and not failure.meaning.is_hiccup:
                raise
            return await self._ask_again(failure, bounds)
        self._keep(machine_id, lease.nonce, sent + self.ttl_s)
        return True

    async def _ask_again(self, failure: CallFailed, bounds: _Bounds) -> Literal[False]:
        """After a hiccup, or answers that contradict each other; raises it when it is too late."""
        if anyio.current_time() >= bounds.doubts:
            raise failure
        with self._tools.halt.cuts():
            await anyio.sleep(_LOOK_AGAIN_S)
        return False

    async def _outwait(
        self, machine_id: str, held: Lease, meaning: Meaning, bounds: _Bounds
    ) -> None:
        """Return when the lease has ended by itself; raise LeaseHeld if its holder is alive.

        A killed run of this deploy refreshes nothing: its `expires_at` stands
        still. So does a lease without a description that our own lost request
        may have left.
        """
        may_be_ours = self._may_be_ours(machine_id, held, meaning)
        stands_still_until = anyio.current_time() + self._terms.doubt_s + _LOOK_AGAIN_S
        while True:
            is_alive = not may_be_ours or anyio.current_time() >= stands_still_until
            if is_alive and anyio.current_time() >= bounds.give_up:
                raise _held_by_another(machine_id, held)
            with self._tools.halt.cuts():
                await anyio.sleep(_LOOK_AGAIN_S)
            now_held = await self._tools.patience.ask(
                lambda: self._tools.client.read_lease(machine_id)
            )
            if now_held is None:
                return
            may_be_ours = may_be_ours and now_held.expires_at == held.expires_at
            held = now_held

    def _may_be_ours(self, machine_id: str, held: Lease, meaning: Meaning) -> bool:
        """Whether it may be left over from a run of this deploy that has died."""
        if held.description:
            return held.description.startswith(f"{self._deploy_id}/")
        return meaning is Meaning.UNSETTLED or machine_id in self._memory.inherited

    # -- keeping -----------------------------------------------------------------

    def _is_usable(self, machine_id: str) -> bool:
        held = self._held.get(machine_id)
        return (
            held is not None and not held.is_lost and held.expires - anyio.current_time() > SAFETY_S
        )

    def _keep(self, machine_id: str, nonce: str, expires: float) -> None:
        self.forget(machine_id)
        held = _Held(nonce, expires, anyio.CancelScope())
        self._held[machine_id] = held
        self._tasks.start_soon(self._refresh, machine_id, held)

    async def _refresh(self, machine_id: str, held: _Held) -> None:
        """Refresh every third of the time to live; after a hiccup sooner, until it has run out.

        The third counts from when the last request was sent, as the lease itself does:
        else a slow network would eat up the time that there is for an answer.
        """
        with held.scope:
            due = held.expires - self.ttl_s * 2 / 3
            while not held.is_lost:
                await anyio.sleep_until(due)
                sent = anyio.current_time()
                try:
                    lease = await self._tools.client.refresh_lease(
                        machine_id,
                        ttl_s=self.ttl_s,
                        description=self._description,
                        nonce=held.nonce,
                    )
                except DeployError as failure:
                    due = anyio.current_time() + min(1.0, self.ttl_s / 10)
                    held.is_lost = _is_gone(failure) or anyio.current_time() >= held.expires
                    if held.is_lost:
                        self._tools.emit(
                            Noticed(message=f"the lease on {machine_id} is lost: {failure}")
                        )
                else:
                    due = sent + self.ttl_s / 3
                    held.nonce = lease.nonce
                    held.expires = sent + self.ttl_s

    # -- giving back -------------------------------------------------------------

    async def _release(self, machine_id: str, limiter: anyio.Semaphore) -> None:
        async with limiter:
            held = self._held[machine_id]
            held.scope.cancel()
            try:
                if not held.is_lost:
                    await self._tools.patience.ask(
                        lambda: self._tools.client.release_lease(machine_id, nonce=held.nonce),
                        within_s=_RELEASE_S / 2,
                    )
            except DeployError as failure:
                self._tell_unreleased(machine_id, str(failure))
            del self._held[machine_id]

    def _tell_unreleased(self, machine_id: str, why: str) -> None:
        self._tools.emit(
            Noticed(
                message=f"the lease on {machine_id} could not be released: {why}",
                hint=f"it ends by itself within {self.ttl_s} s",
            )
        )


def _is_gone(failure: DeployError) -> bool:
    """The platform says that this nonce holds nothing any more.

    A conflict whose words cannot be read is taken for that, too: not to write is safe.
    """
    lost = (Meaning.LEASED, Meaning.BUSY, Meaning.MISSING, Meaning.REJECTED)
    return failure.meaning in lost


def _held_by_another(machine_id: str, held: Lease) -> LeaseHeld:
    owner = held.owner or "somebody else"
    by = f"{owner} (deploy {held.description})" if held.description else owner
    until = (
        f" until {datetime.fromtimestamp(held.expires_at, UTC):%H:%M:%S} UTC"
        if 0 < held.expires_at < 1 << 40
        else ""
    )
    return LeaseHeld(
        f"machine {machine_id} is leased by {by}{until}",
        machine_id=machine_id,
        hint="another deploy is under way: wait for it to end, or give --wait-for-lease 5m",
    )
