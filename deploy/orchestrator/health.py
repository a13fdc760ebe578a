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

from deploy.api.machine import Exit, Machine
from deploy.api.meaning import names_missing_image
from deploy.errors import (
    AppFailed,
    CallFailed,
    CannotStart,
    DeployError,
    Meaning,
    NotInTime,
    TakenBack,
)
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.shared_list import Awaited, SharedList
from deploy.orchestrator.tools import Tools
from deploy.orchestrator.watch import Watch
from deploy.plan.steps import Gate

_FIRST_WAIT_S = 2.0
_LOOK_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthTerms:
    """How long to wait for a machine, and how long it has to last. Times in seconds.

    `wait_timeout_s` bounds one machine's wait. One with checks has to stay healthy
    for `min_healthy_s` where that is asked for; one without is watched for
    `smoke_s` after its start. Both end with the wait at the latest, and 0 is no
    watch at all.
    """

    wait_timeout_s: float = 300.0
    smoke_s: float = 10.0
    min_healthy_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a machine has to show, and from where on its exits count against the app.

    `exits_after_ms` is the time, by the server's clock, of the last exit that
    belongs to an older version; `watched`: it has to stay healthy for a while.
    """

    machine_id: str
    version: str
    gate: Gate
    group: str = ""
    exits_after_ms: int = 0
    watched: bool = False


class Health:
    """Waits for machines on behalf of one run."""

    def __init__(
        self, tools: Tools, memory: Memory, machines: SharedList, watch: Watch, terms: HealthTerms
    ) -> None:
        self._tools = tools
        self._memory = memory
        self._machines = machines
        self._watch = watch
        self._terms = terms

    async def until(self, expected: Expectation) -> None:
        """Return when the machine is as expected; a healthy one stays watched.

        Raises AppFailed (it exits, or a check fails at the deadline), NotInTime
        or TakenBack (the platform did not bring it there, or took it back),
        CallFailed, or Cut.
        """
        if expected.gate is Gate.NONE:
            return
        deadline = anyio.current_time() + self._terms.wait_timeout_s
        machine_id, group = expected.machine_id, expected.group
        with self._tools.halt.cuts(), self._machines.awaiting(machine_id, group) as awaited:
            if expected.gate is Gate.STARTED:
                await self._started(expected, deadline)
                return
            machine = await self._well_when_due(expected, awaited)
            if machine is None:
                await self._started(expected, deadline)
                machine = await self._healthy(expected, deadline, awaited)
            self._watch.add(machine)

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
                self._memory.shown_otherwise(machine.id)
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

    async def _well_when_due(self, expected: Expectation, awaited: Awaited) -> Machine | None:
        """The machine, if it does well as soon as others of its group did: the usual case.

        Then nothing else needs to be asked. An older version may be a stale answer.
        """
        async with aclosing(awaited.looks_when_due()) as looks:
            async for machine in looks:
                if machine is None or machine.version != expected.version:
                    continue
                _raise_on_end(machine, expected)
                if machine.is_well and self._lasts_s(machine, expected) == 0:
                    awaited.was_ready()
                    return machine
        return None

    async def _healthy(self, expected: Expectation, deadline: float, awaited: Awaited) -> Machine:
        """The machine, once it has been well for as long as it has to be.

        Time begins anew whenever it falters. The watch fits into the wait: one that
        has not faltered is believed at the deadline.
        """
        well_since: float | None = None
        has_faltered = False
        while True:
            machine = await self._observed(expected, awaited)
            now = anyio.current_time()
            if machine is not None:
                _raise_on_end(machine, expected)
            if machine is not None and machine.is_well:
                if well_since is None:
                    awaited.was_ready()
                    well_since = now
                is_over = now >= deadline and not has_faltered
                if is_over or now - well_since >= self._lasts_s(machine, expected):
                    return machine
            elif well_since is not None:
                well_since, has_faltered = None, True
            if now >= deadline:
                raise _unhealthy(machine, expected)

    def _lasts_s(self, machine: Machine, expected: Expectation) -> float:
        """For how many seconds the machine has to be well."""
        if machine.is_asleep:
            return 0.0
        if not machine.configured_checks:
            return self._terms.smoke_s
        return self._terms.min_healthy_s if expected.watched else 0.0

    async def _observed(self, expected: Expectation, awaited: Awaited) -> Machine | None:
        """The machine; by its id where a list has another version of it.

        Raises TakenBack where both show another.
        """
        machine = await awaited.look()
        if machine is not None and machine.version != expected.version:
            machine = await self._machines.machine(expected.machine_id)
            if machine is not None and machine.version != expected.version:
                raise _taken_back(machine, expected)
        return machine


def _is_up(machine: Machine, expected: Expectation) -> bool:
    _raise_on_end(machine, expected)
    return machine.state == "started" or machine.is_asleep or machine.has_ended_well


def _taken_back(machine: Machine, expected: Expectation) -> TakenBack:
    return TakenBack(
        f"machine {machine.name or machine.id} runs version {machine.version}, not "
        f"{expected.version} as was written: the platform put it back, or somebody changed it",
        machine_id=machine.id,
    )


def _raise_on_end(machine: Machine, expected: Expectation) -> None:
    """A machine that ended by itself where it was to run, or could not be brought up at all.

    That is the app's failure, but for a platform that does not say why.
    """
    for ended in machine.exits:
        is_new = ended.at_ms > expected.exits_after_ms and not ended.requested
        if is_new and (ended.is_bad or not (machine.may_end or machine.is_asleep)):
            raise _exited(machine, ended)
    name = machine.name or machine.id
    if machine.state == "failed" and names_missing_image(machine.failure):
        raise AppFailed(
            f"machine {name} could not be started: {machine.failure}",
            machine_id=machine.id,
            hint="check the image's name and that it was pushed",
        )
    if machine.state == "failed":
        raise CannotStart(
            f"machine {name} could not be started: {machine.failure}", machine_id=machine.id
        )


def _exited(machine: Machine, ended: Exit) -> AppFailed:
    early, hint = "", "look at its log; the deploy is not retried for an app that exits"
    if not ended.is_bad and machine.configured_checks:
        early = " before its checks passed"
    elif not ended.is_bad:
        hint = 'look at its log; what may end has [[restart]] with policy = "never" in fly.toml'
    return AppFailed(
        f"machine {machine.name or machine.id} exited: {ended.reason}{early}",
        machine_id=machine.id,
        hint=hint,
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
    if machine.state == "started" and (failing is not None or machine.is_well):
        said = failing or "its checks passed, and did not go on passing"
        return AppFailed(
            f"machine {name}: {said}",
            machine_id=machine.id,
            hint="fix the app, or give it longer with --wait-timeout",
        )
    return NotInTime(
        f"machine {name} was not healthy in time "
        f"({machine.state}, {len(machine.checks)} check results)",
        machine_id=machine.id,
    )
