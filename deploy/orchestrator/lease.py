"""Leases over the fleet: taken in id order, refreshed while held, given back on every way out.

A lease keeps its own nonce, and the nonce is kept before anything else can
fail. Expiry is judged by our own monotonic clock, counted from the moment the
request was sent: clocks of two computers are never compared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint_if_cancelled

from deploy.api.client import MachinesClient
from deploy.api.machine import Lease
from deploy.api.patience import Patience
from deploy.api.verdict import Verdict, verdict
from deploy.errors import CallFailed, DeployError, LeaseHeld, LeaseLost
from deploy.events import Emit, Noticed
from deploy.orchestrator.halt import Cut, Halt

SAFETY_S = 3.0  # no leased write leaves this close to the lease's end
_RELEASE_S = 10.0
_LOOK_AGAIN_S = 2.0
_RELEASES_AT_ONCE = 32


@dataclass(slots=True)
class _Held:
    nonce: str
    expires: float  # by anyio's clock
    scope: anyio.CancelScope
    is_lost: bool = False


@asynccontextmanager
async def holding(
    client: MachinesClient,
    *,
    ttl_s: int,
    deploy_id: str,
    run_id: str,
    patience: Patience,
    emit: Emit,
    halt: Halt,
    is_own: Callable[[str], bool] = lambda _: False,
    is_inherited: Callable[[str], bool] = lambda _: False,
    wait_for_others_s: float = 0.0,
) -> AsyncIterator[Leases]:
    """Leases that live as long as the block; released at its end, however it ends.

    `is_own` tells the machines that this run made, `is_inherited` those that an
    earlier run of this deploy did: a lease without a description on one of them
    came with its creation. That of a run that may still live is waited out.
    """
    async with anyio.create_task_group() as tasks:
        leases = Leases(
            client,
            tasks,
            ttl_s=ttl_s,
            deploy_id=deploy_id,
            run_id=run_id,
            patience=patience,
            emit=emit,
            halt=halt,
            is_own=is_own,
            is_inherited=is_inherited,
            wait_for_others_s=wait_for_others_s,
        )
        try:
            yield leases
        finally:
            tasks.cancel_scope.shield = True
            await leases.release_all()
            tasks.cancel_scope.cancel()
    await checkpoint_if_cancelled()  # else a cancellation from outside would end here


class Leases:
    """The leases of one run. Made by `holding`."""

    def __init__(
        self,
        client: MachinesClient,
        tasks: TaskGroup,
        *,
        ttl_s: int,
        deploy_id: str,
        run_id: str,
        patience: Patience,
        emit: Emit,
        halt: Halt,
        is_own: Callable[[str], bool],
        is_inherited: Callable[[str], bool],
        wait_for_others_s: float,
    ) -> None:
        self.ttl_s = ttl_s
        self._client = client
        self._tasks = tasks
        self._deploy_id = deploy_id
        self._description = f"{deploy_id}/{run_id}"
        self._patience = patience
        self._emit = emit
        self._halt = halt
        self._is_own = is_own
        self._is_inherited = is_inherited
        self._wait_for_others_s = wait_for_others_s
        self._held: dict[str, _Held] = {}

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
            if self._halt.is_set:
                raise Cut
            try:
                await self._take(machine_id)
            except CallFailed as failure:
                if self._patience.within_s == 0 or not verdict(failure).is_hiccup:
                    raise
                if hiccup is None:
                    hiccup = failure
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
        give_up = anyio.current_time() + self._wait_for_others_s
        doubts = anyio.current_time() + 2 * self.ttl_s
        while True:
            sent = anyio.current_time()
            try:
                lease = await self._client.acquire_lease(
                    machine_id, ttl_s=self.ttl_s, description=self._description
                )
            except CallFailed as failure:
                if await self._settle(machine_id, failure, give_up, doubts):
                    return
            else:
                self._keep(machine_id, lease.nonce, sent + self.ttl_s)
                return

    async def _settle(
        self, machine_id: str, failure: CallFailed, give_up: float, doubts: float
    ) -> bool:
        """After a failed request: True if the lease is ours after all, False to ask for it again.

        Until `give_up` another's lease is waited for, until `doubts` two answers
        that contradict each other are asked for again.

        Raises LeaseHeld if somebody else holds it, and the failure itself if it
        settles nothing. True, too, if there is no such machine any more: whoever
        held it has destroyed it, and there is nothing to hold.
        """
        meaning = verdict(failure)
        can_settle = meaning is Verdict.UNSETTLED and self._patience.within_s > 0
        if meaning is Verdict.MISSING and await self._has_vanished(machine_id):
            return True
        if meaning is not Verdict.LEASED and not can_settle:
            raise failure
        held = await self._patience.ask(lambda: self._client.read_lease(machine_id))
        if held is None:
            if meaning is not Verdict.LEASED:
                raise failure
            if await self._has_vanished(machine_id):
                return True
            return await self._ask_again(failure, doubts)  # it ended between the two answers
        came_with_machine = not held.description and self._is_own(machine_id)
        if held.description == self._description or came_with_machine:
            return await self._adopt_own(machine_id, held, doubts)
        await self._outwait(machine_id, held, meaning, give_up)
        return False

    async def _has_vanished(self, machine_id: str) -> bool:
        found = await self._patience.ask(lambda: self._client.find_machine(machine_id))
        return found is None

    async def _adopt_own(self, machine_id: str, held: Lease, doubts: float) -> bool:
        """Ours: the answer to an earlier request was lost, and reading it told the nonce.

        False to ask for it again, if it is now said to be somebody else's.
        """
        sent = anyio.current_time()
        try:
            lease = await self._client.refresh_lease(
                machine_id, ttl_s=self.ttl_s, description=self._description, nonce=held.nonce
            )
        except CallFailed as failure:
            if _is_gone(failure):
                self.forget(machine_id)  # a refresh under way may have made it look held again
            if verdict(failure) is not Verdict.LEASED:
                raise
            return await self._ask_again(failure, doubts)
        self._keep(machine_id, lease.nonce, sent + self.ttl_s)
        return True

    async def _ask_again(self, failure: CallFailed, doubts: float) -> Literal[False]:
        """After two answers that contradict each other; raises the failure when it is too late."""
        if anyio.current_time() >= doubts:
            raise failure
        with self._halt.cuts():
            await anyio.sleep(_LOOK_AGAIN_S)
        return False

    async def _outwait(
        self, machine_id: str, held: Lease, meaning: Verdict, give_up: float
    ) -> None:
        """Return when the lease has ended by itself; raise LeaseHeld if its holder is alive.

        A killed run of this deploy refreshes nothing: its `expires_at` stands
        still. So does a lease without a description that our own lost request
        may have left.
        """
        may_be_ours = held.description.startswith(f"{self._deploy_id}/") or (
            not held.description
            and (meaning is Verdict.UNSETTLED or self._is_inherited(machine_id))
        )
        if not may_be_ours and anyio.current_time() >= give_up:
            raise _held_by_another(machine_id, held)
        expires_at = held.expires_at
        bound = anyio.current_time() + 2 * self.ttl_s + _LOOK_AGAIN_S
        while True:
            with self._halt.cuts():
                await anyio.sleep(_LOOK_AGAIN_S)
            now_held = await self._patience.ask(lambda: self._client.read_lease(machine_id))
            if now_held is None:
                return
            moved = now_held.expires_at != expires_at
            expires_at = now_held.expires_at
            overdue = moved or anyio.current_time() >= bound
            if anyio.current_time() >= give_up and (overdue or not may_be_ours):
                raise _held_by_another(machine_id, now_held)

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
                    lease = await self._client.refresh_lease(
                        machine_id,
                        ttl_s=self.ttl_s,
                        description=self._description,
                        nonce=held.nonce,
                    )
                except DeployError as failure:
                    due = anyio.current_time() + min(1.0, self.ttl_s / 10)
                    held.is_lost = _is_gone(failure) or anyio.current_time() >= held.expires
                    if held.is_lost:
                        self._emit(Noticed(message=f"the lease on {machine_id} is lost: {failure}"))
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
                    await self._patience.ask(
                        lambda: self._client.release_lease(machine_id, nonce=held.nonce),
                        within_s=_RELEASE_S / 2,
                    )
            except DeployError as failure:
                self._tell_unreleased(machine_id, str(failure))
            del self._held[machine_id]

    def _tell_unreleased(self, machine_id: str, why: str) -> None:
        self._emit(
            Noticed(
                message=f"the lease on {machine_id} could not be released: {why}",
                hint=f"it ends by itself within {self.ttl_s} s",
            )
        )


def _is_gone(failure: DeployError) -> bool:
    """The platform says that this nonce holds nothing any more.

    A conflict whose words cannot be read is taken for that, too: not to write is safe.
    """
    lost = (Verdict.LEASED, Verdict.BUSY, Verdict.MISSING, Verdict.REJECTED)
    return verdict(failure) in lost


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
        owner=owner,
        expires_at=held.expires_at,
        hint="another deploy is under way: wait for it to end, or give --wait-for-lease 5m",
    )
