"""The release command: once per deploy, on a machine of its own, before anything changes.

A non-zero exit is the app's failure. The machine is kept until the deploy is
over, so that a deploy that is taken up again never runs the command twice.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from deploy.api.machine import TERMINAL, Fleet, Machine
from deploy.errors import AppFailed, CallFailed, Meaning
from deploy.events import MachineMoved, Phase
from deploy.orchestrator.logs import keep_log
from deploy.orchestrator.marks import clean_up
from deploy.orchestrator.tools import Tools
from deploy.plan.release import Release
from deploy.plan.stamps import DEPLOY

GROUP = "fly_app_release_command"
_LOOK_S = 0.5
_SLICE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCommand:
    """`guest` is the size of its machine as in a machine configuration, None for the default."""

    command: str
    timeout_s: float = 300.0
    guest: Mapping[str, Any] | None = None

    def name(self, release: Release) -> str:
        return _name(release.deploy_id)

    def config(self, release: Release) -> dict[str, Any]:
        """No services, checks or volumes; the environment of the first group."""
        env = dict(release.groups[0].config["env"]) if release.groups else {}
        config: dict[str, Any] = {
            "image": release.image,
            "env": {**env, "RELEASE_COMMAND": "1"},
            "init": {"cmd": shlex.split(self.command)},
            "restart": {"policy": "no"},
            "auto_destroy": False,
            "metadata": {
                "fly_platform_version": "v2",
                "fly_process_group": GROUP,
                "fly_release_id": release.deploy_id,
                DEPLOY: release.deploy_id,
            },
        }
        if self.guest:
            config["guest"] = dict(self.guest)
        return config


def machine_of(fleet: Fleet, deploy_id: str) -> Machine | None:
    """The machine that ran, or runs, the release command of this deploy."""
    for machine in fleet:
        if machine.group == GROUP and machine.metadata.get(DEPLOY) == deploy_id:
            return machine
    return None


def left_behind(fleet: Fleet, but: str = "") -> list[Machine]:
    """The machines of release commands that our deploys ran, `but` for one deploy's.

    Other tools' are told apart by their names, which no clone has.
    """
    return [
        machine
        for machine in fleet
        if machine.group == GROUP
        and machine.metadata.get(DEPLOY, "") not in ("", but)
        and machine.name == _name(machine.metadata[DEPLOY])
    ]


async def remove_left_behind(tools: Tools, fleet: Fleet, but: str = "") -> None:
    """Under the leases of the app nobody else is deploying: these are dead deploys'."""
    for machine in left_behind(fleet, but):
        await _remove(tools, machine.id)


async def _remove(tools: Tools, machine_id: str) -> None:
    await clean_up(
        tools,
        tools.client.destroy(machine_id, nonce=""),
        f"the machine of the release command, {machine_id}, is left",
        f"remove it with: fly machine destroy --force --app {tools.client.app} {machine_id}",
    )


def _name(deploy_id: str) -> str:
    return f"release-command-{deploy_id[-6:]}"


class ReleaseCommandRun:
    """One release command of one deploy; `run` may be called again after a hiccup."""

    def __init__(self, tools: Tools, spec: ReleaseCommand, release: Release) -> None:
        self._tools = tools
        self._spec = spec
        self._release = release
        self._is_done = False
        self._machine_id = ""

    async def run(self, fleet: Fleet) -> None:
        """Return when the command has ended well.

        Raises AppFailed for a bad exit or a command that does not end, and
        CallFailed for a hiccup: the next call finds the machine and waits on.
        """
        if self._is_done:
            return
        machine = machine_of(fleet, self._release.deploy_id)
        if machine is None:
            self._tell(Phase.CREATING)
            machine = await self._create()
        self._machine_id = machine.id
        self._tell(Phase.STARTING)
        with self._tools.halt.cuts():
            await self._ended(machine.id)
        self._is_done = True
        self._tell(Phase.DONE)

    async def clean_up(self) -> None:
        """The deploy is over: its machine goes. If it cannot, that is said."""
        if self._machine_id:
            await _remove(self._tools, self._machine_id)

    async def _create(self) -> Machine:
        try:
            await self._tools.client.turn_to_create()
            machine = await self._tools.client.create(
                name=self._spec.name(self._release),
                region=self._release.region,
                config=self._spec.config(self._release),
                launch=True,
                cordoned=False,
                lease_ttl_s=0,
            )
        except CallFailed as failure:
            holder = failure.holder
            if not holder:
                raise
            machine = await self._tools.patience.ask(lambda: self._tools.client.machine(holder))
            if machine_of(Fleet.of([machine]), self._release.deploy_id) is None:
                raise
        return machine

    async def _ended(self, machine_id: str) -> None:
        deadline = anyio.current_time() + self._spec.timeout_s
        while True:
            machine = await self._read(machine_id)
            if machine is not None and self._has_ended_well(machine):
                return
            if machine is not None and machine.exits and machine.exits[0].is_bad:
                raise await self._failed(machine_id, machine.exits[0].reason)
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

    def _has_ended_well(self, machine: Machine) -> bool:
        ended = machine.state in ("stopped", "failed") or machine.state in TERMINAL
        return ended and bool(machine.exits) and not machine.exits[0].is_bad

    async def _failed(self, machine_id: str, reason: str) -> AppFailed:
        failure = AppFailed(
            f"the release command `{self._spec.command}` failed: {reason}",
            machine_id=machine_id,
            hint="nothing was changed; fix the command, or give --skip-release-command",
        )
        await keep_log(self._tools, failure)
        return failure

    def _tell(self, phase: Phase) -> None:
        self._tools.emit(
            MachineMoved(
                machine_id=self._machine_id,
                name=self._spec.name(self._release),
                group=GROUP,
                phase=phase,
                detail=self._spec.command,
            )
        )
