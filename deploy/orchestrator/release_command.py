"""The release command: once per deploy, on a one-off machine, before anything changes.

A non-zero exit is the app's failure. The machine is kept until the deploy is
over, so that a deploy that is taken up again never runs the command twice.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.api.machine import Fleet, Machine
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.one_off import (
    RELEASE_COMMAND,
    OneOff,
    OneOffRun,
    one_off_config,
    one_off_name,
    remove,
)
from deploy.orchestrator.tools import Tools
from deploy.plan.release import Release
from deploy.plan.stamps import DEPLOY


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCommand:
    """`guest` is the size of its machine as in a machine configuration, None for the default."""

    command: str
    timeout_s: float = 300.0
    guest: Mapping[str, Any] | None = None

    def machine(self, release: Release) -> OneOff:
        """Its machine, with the environment of the first group."""
        env = dict(release.groups[0].config["env"]) if release.groups else {}
        return OneOff(
            name=one_off_name(RELEASE_COMMAND, release.deploy_id),
            region=release.region,
            config=one_off_config(
                RELEASE_COMMAND,
                release.deploy_id,
                image=release.image,
                env={**env, "RELEASE_COMMAND": "1"},
                init={"cmd": shlex.split(self.command)},
                guest=self.guest,
            ),
            command=self.command,
            what="the release command",
            hint="nothing was changed; fix the command, or give --skip-release-command",
            timeout_s=self.timeout_s,
        )


def machine_of(fleet: Fleet, deploy_id: str) -> Machine | None:
    """The machine that ran, or runs, the release command of this deploy."""
    for machine in fleet:
        if machine.group == RELEASE_COMMAND and machine.metadata.get(DEPLOY) == deploy_id:
            return machine
    return None


class ReleaseCommandRun:
    """One release command of one deploy; `run` may be called again after a hiccup."""

    def __init__(self, tools: Tools, memory: Memory, spec: ReleaseCommand) -> None:
        self._tools = tools
        self._deploy_id = memory.release.deploy_id
        self._run = OneOffRun(tools, memory, spec.machine(memory.release))
        self._is_done = False

    @property
    def machine_id(self) -> str:
        """Of the machine that runs it, empty before it does."""
        return self._run.machine_id

    async def run(self, fleet: Fleet) -> None:
        """Return when the command has ended well; raises as `OneOffRun.run` does."""
        if not self._is_done:
            await self._run.run(machine_of(fleet, self._deploy_id))
            self._is_done = True

    async def clean_up(self) -> None:
        """The deploy is over: its machine goes. If it cannot, that is said."""
        if self.machine_id:
            await remove(self._tools, RELEASE_COMMAND, self.machine_id)
