"""Waiting for a machine: its state, its checks, and that it does not exit.

Waits are pinned to the version that was written: a machine that the platform
put back on an older one is not a success. When and how a machine is looked at
is decided in `look`. A failed read never fails a machine: the platform's
hiccup is not the app's.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

import anyio

from deploy.api.machine import Machine
from deploy.errors import AppFailed, CallFailed, DeployError, Meaning, NotInTime, TakenBack
from deploy.orchestrator.look import SharedList, Watch
from deploy.orchestrator.tools import Tools
from deploy.plan.steps import Gate

_FIRST_WAIT_S = 2.0
_LOOK_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthTerms:
    """`wait_timeout_s` bounds one machine's wait; one without checks is watched for `smoke_s`.

    Times in seconds; a `smoke_s` of 0 is no watch at all.
    """

    wait_timeout_s: float = 300.0
    smoke_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a machine has to show, and from where on its exits count against the app.

    `exits_after_ms` is the time, by the server's clock, of the last exit that
    belongs to an older version.
    """

    machine_id: str
    version: str
    gate: Gate
    group: str = ""
    exits_after_ms: int = 0


class Health:
    """Waits for machines on behalf of one run."""

    def __init__(self, tools: Tools, machines: SharedList, terms: HealthTerms) -> None:
        self._tools = tools
        self._machines = machines
        self._terms = terms

    async def until(self, expected: Expectation) -> None:
        """Return when the machine is as expected.

        Raises AppFailed (it exits, or a check fails at the deadline), NotInTime
        or TakenBack (the platform did not bring it there, or took it back),
        CallFailed, or Cut.
        """
        if expected.gate is Gate.NONE:
            return
        deadline = anyio.current_time() + self._terms.wait_timeout_s
        machine_id, group = expected.machine_id, expected.group
        with self._tools.halt.cuts(), self._machines.watching(machine_id, group) as watch:
            if expected.gate is Gate.HEALTHY and await self._is_healthy_when_due(expected, watch):
                return
            await self._started(expected, deadline)
            if expected.gate is Gate.HEALTHY:
                await self._healthy(expected, deadline, watch)

    async def stopped(self, machine_id: str, *, timeout_s: float) -> None:
        """Return when the machine has stopped, or raise CallFailed when it has not in time."""
        client = self._tools.client
        await self._tools.patience.ask(
            lambda: client.wait(machine_id, state="stopped", version="", timeout_s=timeout_s)
        )

    async def _started(self, expected: Expectation, deadline: float) -> None:
        """Long polls of growing length, so that a machine that exits early is seen early."""
        length_s = _FIRST_WAIT_S
        others_seen = 0
        while (failure := await self._poll(expected, length_s, deadline)) is not None:
            machine = await self._machines.machine(expected.machine_id)
            if machine is not None and machine.version != expected.version:
                others_seen += 1  # once may be a stale answer, since ours was not seen yet
                if others_seen > 1:
                    raise _taken_back(machine, expected)
            elif machine is not None and _is_up(machine, expected):
                return
            if anyio.current_time() >= deadline:
                raise _not_started(machine, failure)
            if failure.meaning is not Meaning.NOT_YET:
                await anyio.sleep(_LOOK_AGAIN_S)
            length_s *= 2

    async def _poll(
        self, expected: Expectation, length_s: float, deadline: float
    ) -> CallFailed | None:
        """One long poll: None once the machine has started, the hiccup if it was not told so."""
        left_s = deadline - anyio.current_time()
        client = self._tools.client
        try:
            await self._tools.patience.ask(
                lambda: client.wait(
                    expected.machine_id,
                    state="started",
                    version=expected.version,
                    timeout_s=min(length_s, max(1.0, left_s)),
                ),
                within_s=max(0.0, left_s),
            )
        except CallFailed as failure:
            if not failure.meaning.is_hiccup:
                raise
            return failure
        return None

    async def _is_healthy_when_due(self, expected: Expectation, watch: Watch) -> bool:
        """Whether the machine does well as soon as others of its group did: the usual case.

        Then nothing else needs to be asked. An older version may be a stale answer.
        """
        async with aclosing(watch.looks_when_due()) as looks:
            async for machine in looks:
                is_ours = machine is not None and machine.version == expected.version
                if machine is not None and is_ours and self._does_well(machine, expected, watch):
                    return True
        return False

    async def _healthy(self, expected: Expectation, deadline: float, watch: Watch) -> None:
        """Checks pass, or there are none and it has stayed up for the smoke check."""
        watched_until = anyio.current_time() + self._terms.smoke_s
        while True:
            machine = await self._observed(expected, watch)
            now = anyio.current_time()
            if machine is not None and self._does_well(
                machine, expected, watch, watched=now >= watched_until
            ):
                return
            if now >= deadline:
                raise _unhealthy(machine, expected)

    def _does_well(
        self, machine: Machine, expected: Expectation, watch: Watch, *, watched: bool | None = None
    ) -> bool:
        is_watched = self._terms.smoke_s == 0 if watched is None else watched
        if not _does_well(machine, expected, watched=is_watched):
            return False
        if machine.configured_checks or self._terms.smoke_s == 0:
            watch.was_ready()
        return True

    async def _observed(self, expected: Expectation, watch: Watch) -> Machine | None:
        """The machine; by its id where a list has another version of it.

        Raises TakenBack where both show another.
        """
        machine = await watch.look()
        if machine is not None and machine.version != expected.version:
            machine = await self._machines.machine(expected.machine_id)
            if machine is not None and machine.version != expected.version:
                raise _taken_back(machine, expected)
        return machine


def _is_up(machine: Machine, expected: Expectation) -> bool:
    _raise_on_bad_exit(machine, expected)
    return machine.state == "started" or machine.is_asleep or machine.has_ended_well


def _does_well(machine: Machine, expected: Expectation, *, watched: bool) -> bool:
    """Whether nothing more is to be waited for; `watched` says that the smoke check is over."""
    _raise_on_bad_exit(machine, expected)
    is_up = machine.state == "started" and not machine.is_out_of_reach
    if machine.is_asleep:
        return True
    if machine.configured_checks:
        return is_up and machine.checks_pass
    return watched and (is_up or machine.has_ended_well)


def _taken_back(machine: Machine, expected: Expectation) -> TakenBack:
    return TakenBack(
        f"machine {machine.name or machine.id} runs version {machine.version}, not "
        f"{expected.version} as was written: the platform put it back, or somebody changed it",
        machine_id=machine.id,
    )


def _raise_on_bad_exit(machine: Machine, expected: Expectation) -> None:
    for ended in machine.exits:
        if ended.at_ms > expected.exits_after_ms and ended.is_bad:
            raise AppFailed(
                f"machine {machine.name or machine.id} exited: {ended.reason}",
                machine_id=machine.id,
                hint="look at its log; the deploy is not retried for an app that exits",
            )


def _not_started(machine: Machine | None, failure: CallFailed) -> NotInTime:
    state = machine.state if machine is not None else "unknown to the platform"
    name = (machine and machine.name) or failure.machine_id
    return NotInTime(
        f"machine {name} was not started in time, it is {state}: {failure.message}",
        machine_id=failure.machine_id,
    )


def _unhealthy(machine: Machine | None, expected: Expectation) -> DeployError:
    """At the deadline a failing result is the app's failure, no result at all the platform's."""
    if machine is None:
        return NotInTime(
            f"machine {expected.machine_id} was not healthy in time (not listed)",
            machine_id=expected.machine_id,
        )
    name = machine.name or machine.id
    failing = next((check for check in machine.checks if check.status != "passing"), None)
    if machine.state == "started" and failing is not None:
        said = " ".join(failing.output.split())[:200] or "no output"
        return AppFailed(
            f"machine {name}: check {failing.name} is {failing.status}: {said}",
            machine_id=machine.id,
            hint="fix the app, or give it longer with --wait-timeout",
        )
    return NotInTime(
        f"machine {name} was not healthy in time "
        f"({machine.state}, {len(machine.checks)} check results)",
        machine_id=machine.id,
    )
