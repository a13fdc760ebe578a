"""One-off machines: each runs one command to its end, beside the machines of the app.

Release commands and machine checks are such commands. A machine stays until
the run is over, so that after a hiccup its end can still be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from deploy.api.machine import Fleet, Machine
from deploy.api.meaning import names_missing_image
from deploy.errors import AppFailed, CallFailed, CannotStart, Meaning
from deploy.events import MachineMoved, Noticed, Phase
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.logs import keep_log
from deploy.orchestrator.marks import clean_up
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.tools import Tools
from deploy.plan.stamps import DEPLOY

RELEASE_COMMAND = "fly_app_release_command"
MACHINE_CHECK = "fly_app_test_machine_command"
TITLES = {RELEASE_COMMAND: "the release command", MACHINE_CHECK: "a machine check"}
_PREFIXES = {RELEASE_COMMAND: "release-command", MACHINE_CHECK: "machine-check"}
_LOOK_S = 0.5
_SLICE_S = 10.0
_REMOVED_WITHIN_S = 8.0
_UNKNOWN_FOR_S = 3.0  # how long a new machine may not be found, although it was made


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOff:
    """What such a machine is, and what is said of it.

    `command` is what it runs, as text; `what` names it in messages, and `hint` says
    what to do when it fails.
    """

    name: str
    config: Mapping[str, Any]
    command: str
    what: str
    hint: str
    timeout_s: float
    region: str = ""

    @property
    def group(self) -> str:
        return str(self.config["metadata"]["fly_process_group"])

    def is_run_by(self, machine: Machine) -> bool:
        """Whether the machine is one that this deploy has made for it."""
        metadata, ours = machine.metadata, self.config["metadata"]
        is_ours = machine.group == self.group and metadata.get(DEPLOY) == ours[DEPLOY]
        return is_ours and machine.name == self.name


def one_off_config(
    group: str,
    deploy_id: str,
    *,
    image: str,
    env: Mapping[str, str],
    init: Mapping[str, Any],
    guest: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """No services, checks or volumes, no name in the DNS, and never started again."""
    config: dict[str, Any] = {
        "image": image,
        "env": dict(env),
        "init": dict(init),
        "restart": {"policy": "no"},
        "auto_destroy": False,
        "dns": {"skip_registration": True},
        "metadata": {
            "fly_platform_version": "v2",
            "fly_process_group": group,
            "fly_release_id": deploy_id,
            DEPLOY: deploy_id,
        },
    }
    if guest:
        config["guest"] = dict(guest)
    return config


def one_off_name(group: str, deploy_id: str) -> str:
    """What the names of a deploy's machines for this begin with."""
    return f"{_PREFIXES[group]}-{deploy_id[-6:]}"


def left_behind(fleet: Fleet) -> list[Machine]:
    """The one-off machines of our deploys.

    Other tools' are told apart by their names, which no clone has.
    """
    return [
        machine
        for machine in fleet
        if machine.group in TITLES
        and not machine.is_going
        and machine.metadata.get(DEPLOY)
        and machine.name.startswith(one_off_name(machine.group, machine.metadata[DEPLOY]))
    ]


async def remove(tools: Tools, group: str, machine_id: str) -> None:
    """Its deploy is over, or it was of no use; if it cannot be removed in time, that is said."""
    what = f"the machine of {TITLES[group]}, {machine_id}, is left"
    hint = f"remove it with: fly machine destroy --force --app {tools.client.app} {machine_id}"
    with anyio.move_on_after(_REMOVED_WITHIN_S) as scope:
        await clean_up(tools, _destroy(tools, machine_id), what, hint)
    if scope.cancelled_caught:
        tools.emit(Noticed(message=f"{what}: no answer in {_REMOVED_WITHIN_S:g} s", hint=hint))


async def _destroy(tools: Tools, machine_id: str) -> None:
    """One that has gone already is fine: a list may lag. But a new one may not be known yet."""
    until = anyio.current_time() + _UNKNOWN_FOR_S
    while True:
        await tools.client.turn_to_write("destroy", machine_id)
        try:
            return await tools.client.destroy(machine_id, nonce="")
        except CallFailed as failure:
            if failure.status != 404:
                raise
        if anyio.current_time() >= until:
            return None
        await anyio.sleep(_LOOK_S)


class OneOffRun:
    """One command of one run; `run` may be called again after a hiccup."""

    def __init__(self, tools: Tools, memory: Memory, spec: OneOff) -> None:
        self.machine_id = ""
        self._tools = tools
        self._memory = memory
        self._spec = spec
        self._may_be_there = False

    async def run(self, machine: Machine | None = None) -> None:
        """Return when it has ended well, on the `machine` that runs it already or on a new one.

        Raises AppFailed for a bad exit or a command that does not end, CallFailed
        or CannotStart for a hiccup (the next call finds the machine and waits on),
        and Cut.
        """
        if machine is None and self.machine_id:
            machine = await self._read(self.machine_id)
        if machine is None:
            self._tell(Phase.CREATING)
            machine = await self._create()
        self.machine_id = machine.id
        self._tell(Phase.STARTING)
        with self._tools.halt.cuts():
            await self._ended(machine.id)
        self._tell(Phase.DONE)

    async def _create(self) -> Machine:
        client, spec = self._tools.client, self._spec
        await client.turn_to_create()
        if self._tools.halt.is_set:
            raise Cut  # it waited for its turn, and nothing new begins any more
        self._memory.creating()
        try:
            machine = await client.create(
                name=spec.name,
                region=spec.region,
                config=spec.config,
                launch=True,
                cordoned=False,
                lease_ttl_s=0,
            )
        except CallFailed as failure:
            holder = failure.holder
            if not holder:
                self._may_be_there |= not failure.meaning.outcome_known
                raise
            machine = await self._tools.patience.ask(lambda: client.machine(holder))
            if not spec.is_run_by(machine):
                raise
        return machine

    def tell_unseen(self) -> None:
        """The run is over without a last look: what a lost answer may have left is named."""
        if self._may_be_there and not self.machine_id:
            what = f"machine {self._spec.name} may be left: the answer to its creation was lost"
            hint = "`deploy status` shows it, and the next run that has work to do removes it"
            self._tools.emit(Noticed(message=what, hint=hint))

    async def _ended(self, machine_id: str) -> None:
        deadline = anyio.current_time() + self._spec.timeout_s
        while True:
            machine = await self._read(machine_id)
            if machine is not None and await self._has_ended_well(machine):
                return
            left_s = deadline - anyio.current_time()
            if left_s <= 0:
                raise await self._failed(machine_id, f"no end after {self._spec.timeout_s:g} s")
            try:
                await self._tools.client.wait(
                    machine_id, state="stopped", version="", timeout_s=min(_SLICE_S, left_s)
                )
            except CallFailed:
                await anyio.sleep(_LOOK_S)

    async def _read(self, machine_id: str) -> Machine | None:
        try:
            return await self._tools.patience.ask(lambda: self._tools.client.machine(machine_id))
        except CallFailed as failure:
            if failure.meaning is Meaning.MISSING:
                return None
            raise

    async def _has_ended_well(self, machine: Machine) -> bool:
        """Raises AppFailed for a bad end; CannotStart where there was none, and it is removed."""
        if machine.exits and machine.exits[0].is_bad:
            raise await self._failed(machine.id, machine.exits[0].reason)
        ended = machine.state in ("stopped", "failed") or machine.is_going
        if ended and machine.exits:
            return True
        if machine.state == "failed" and names_missing_image(machine.failure):
            raise await self._failed(machine.id, machine.failure)
        if machine.state == "failed":
            await remove(self._tools, machine.group, machine.id)
            self.machine_id = ""
            raise CannotStart(
                f"the machine of {self._spec.what} could not be started: {machine.failure}",
                machine_id=machine.id,
            )
        return False

    async def _failed(self, machine_id: str, reason: str) -> AppFailed:
        spec = self._spec
        failure = AppFailed(
            f"{spec.what} `{spec.command}` failed: {reason}", machine_id=machine_id, hint=spec.hint
        )
        await keep_log(self._tools, failure)
        return failure

    def _tell(self, phase: Phase) -> None:
        self._tools.emit(
            MachineMoved(
                machine_id=self.machine_id,
                name=self._spec.name,
                group=self._spec.group,
                phase=phase,
                detail=self._spec.command,
            )
        )
