"""Waiting for a machine: its state, its checks, and that it does not exit.

Waits are pinned to the version that was written: a machine that the platform
put back on an older one is not a success. Checks and exits are read off one
list of the app's machines, shared by everybody who waits at that moment. A
failed read never fails a machine: the platform's hiccup is not the app's.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from deploy.api.client import MachinesClient
from deploy.api.machine import Fleet, Machine
from deploy.api.patience import Patience
from deploy.api.verdict import Verdict, verdict
from deploy.errors import AppFailed, CallFailed
from deploy.orchestrator.halt import Halt
from deploy.plan.forward import has_ended_well, is_asleep
from deploy.plan.strategy import Gate

_LIST_EVERY_S = 0.5  # at the most; the client's own pace keeps it to 1/s over time
_FIRST_WAIT_S = 2


class Observer:
    """The list of the app's machines, asked for once on behalf of all who wait for it."""

    def __init__(self, client: MachinesClient, patience: Patience) -> None:
        self._client = client
        self._patience = patience
        self._turn = anyio.Lock()
        self._begun = 0
        self._done = 0
        self._not_before = 0.0
        self._latest = Fleet()

    async def look(self) -> Fleet:
        """A list that was asked for after this call began."""
        wanted = self._begun + 1
        async with self._turn:
            if self._done < wanted:
                await anyio.sleep_until(self._not_before)
                self._begun += 1
                mine = self._begun
                self._not_before = anyio.current_time() + _LIST_EVERY_S
                self._latest = Fleet.of(await self._patience.ask(self._client.machines))
                self._done = mine
            return self._latest


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a machine has to show, and from where on its exits count against the app.

    `exits_after_ms` is the time, by the server's clock, of the last exit that
    belongs to an older version.
    """

    machine_id: str
    version: str
    gate: Gate
    exits_after_ms: int = 0


class Health:
    """Waits for machines on behalf of one run.

    `wait_timeout_s` bounds one machine's wait; a machine without checks is
    watched for `smoke_s` seconds after its start, 0 for not at all.
    """

    def __init__(
        self,
        client: MachinesClient,
        observer: Observer,
        *,
        patience: Patience,
        halt: Halt,
        wait_timeout_s: float,
        smoke_s: float,
    ) -> None:
        self._client = client
        self._observer = observer
        self._patience = patience
        self._halt = halt
        self._wait_timeout_s = wait_timeout_s
        self._smoke_s = smoke_s

    async def until(self, expected: Expectation) -> None:
        """Return when the machine is as expected.

        Raises AppFailed (it exits, or a check fails at the deadline), CallFailed
        (the platform did not bring it there, or took it back), or Cut.
        """
        if expected.gate is Gate.NONE:
            return
        deadline = anyio.current_time() + self._wait_timeout_s
        with self._halt.cuts():
            await self._started(expected, deadline)
            if expected.gate is Gate.HEALTHY:
                await self._healthy(expected, deadline)

    async def stopped(self, machine_id: str, *, timeout_s: float) -> None:
        """Return when the machine has stopped, or raise CallFailed when it has not in time."""
        await self._patience.ask(
            lambda: self._client.wait(machine_id, state="stopped", version="", timeout_s=timeout_s)
        )

    async def _started(self, expected: Expectation, deadline: float) -> None:
        """Long polls of growing length, so that a machine that exits early is seen early."""
        length_s: float = _FIRST_WAIT_S
        others_seen = 0
        while True:
            left_s = deadline - anyio.current_time()
            try:
                await self._patience.ask(
                    lambda: self._client.wait(
                        expected.machine_id,
                        state="started",
                        version=expected.version,
                        timeout_s=min(length_s, max(1.0, left_s)),  # noqa: B023 - awaited here
                    ),
                    within_s=max(0.0, left_s),
                )
            except CallFailed as failure:
                meaning = verdict(failure)
                if not self._may_look_again(meaning):
                    raise
                machine = await self._read(expected)
                if machine is not None and machine.version != expected.version:
                    others_seen += 1  # once may be a stale answer, since ours was not seen yet
                    if others_seen > 1:
                        raise _taken_back(machine, expected) from None
                elif machine is not None and self._is_up(machine, expected):
                    return
                if anyio.current_time() >= deadline:
                    raise _not_reached(machine, failure) from None
                if meaning is not Verdict.NOT_YET:
                    await anyio.sleep(_LIST_EVERY_S)
                length_s *= 2
            else:
                return

    async def _healthy(self, expected: Expectation, deadline: float) -> None:
        """Checks pass, or there are none and it has stayed up for the smoke check."""
        watched_until = anyio.current_time() + self._smoke_s
        while True:
            machine = (await self._observer.look()).by_id.get(expected.machine_id)
            now = anyio.current_time()
            if machine is None or machine.version != expected.version:
                machine = await self._read(expected)
                if machine is not None and machine.version != expected.version:
                    raise _taken_back(machine, expected)
            if machine is not None:
                _raise_on_bad_exit(machine, expected)
                is_up = machine.state == "started" and not machine.is_out_of_reach
                if is_up and machine.configured_checks and machine.checks_pass:
                    return
                if is_asleep(machine):
                    return
                stays = is_up or has_ended_well(machine)
                if stays and not machine.configured_checks and now >= watched_until:
                    return
            if now >= deadline:
                raise _unhealthy(machine, expected)

    def _may_look_again(self, meaning: Verdict) -> bool:
        """The legacy path asks again only where the wait itself said "not yet"."""
        if self._patience.within_s == 0:
            return meaning is Verdict.NOT_YET
        return meaning.is_hiccup

    def _is_up(self, machine: Machine, expected: Expectation) -> bool:
        _raise_on_bad_exit(machine, expected)
        return machine.state == "started" or is_asleep(machine) or has_ended_well(machine)

    async def _read(self, expected: Expectation) -> Machine | None:
        """The machine by its id, or None while it is not to be seen yet."""
        try:
            return await self._patience.ask(lambda: self._client.machine(expected.machine_id))
        except CallFailed as failure:
            if verdict(failure) is Verdict.MISSING and self._patience.within_s > 0:
                return None
            raise


def _taken_back(machine: Machine, expected: Expectation) -> CallFailed:
    return CallFailed(
        f"it runs version {machine.version}, not {expected.version} as was written: "
        "the platform put it back, or somebody changed it (current_version mismatch)",
        operation="wait",
        machine_id=machine.id,
        status=409,
    )


def _raise_on_bad_exit(machine: Machine, expected: Expectation) -> None:
    for ended in machine.exits:
        if ended.at_ms > expected.exits_after_ms and ended.is_bad:
            raise AppFailed(
                f"machine {machine.name or machine.id} exited: {ended.reason}",
                machine_id=machine.id,
                hint="look at its log; the deploy is not retried for an app that exits",
            )


def _not_reached(machine: Machine | None, failure: CallFailed) -> CallFailed:
    state = machine.state if machine is not None else "unknown to the platform"
    return CallFailed(
        f"not started in time, it is {state}: {failure.message}",
        operation="wait",
        machine_id=failure.machine_id,
        status=408,
        request_id=failure.request_id,
    )


def _unhealthy(machine: Machine | None, expected: Expectation) -> AppFailed | CallFailed:
    """At the deadline a failing result is the app's failure, no result at all the platform's."""
    failing = [c for c in (machine.checks if machine else ()) if c.status != "passing"]
    if machine is not None and machine.state == "started":
        for check in failing:
            said = " ".join(check.output.split())[:200] or "no output"
            return AppFailed(
                f"machine {machine.name or machine.id}: check {check.name} is "
                f"{check.status}: {said}",
                machine_id=machine.id,
                hint="mend the app, or give it longer with --wait-timeout",
            )
    seen = f"{machine.state}, {len(machine.checks)} check results" if machine else "not listed"
    return CallFailed(
        f"not healthy in time ({seen})",
        operation="wait",
        machine_id=expected.machine_id,
        status=408,
    )
