"""Machine checks: each process group's first new machine is tried from one-off machines.

A command that does not exit with 0 is the app's failure. Each check runs once in
a run, against the first machine of its group that is up: one that has passed is
not asked again for the machines that follow.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import anyio

from deploy.api.machine import Fleet, Machine
from deploy.errors import CallFailed, Meaning
from deploy.orchestrator.bounded import for_each
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.one_off import (
    MACHINE_CHECK,
    OneOff,
    OneOffRun,
    left_behind,
    one_off_config,
    one_off_name,
    remove,
)
from deploy.orchestrator.tools import Tools
from deploy.plan.group import Group, MachineCheck
from deploy.plan.release import Release


class MachineChecks:
    """The machine checks of one run; `timeout_s` bounds each."""

    def __init__(self, tools: Tools, memory: Memory, *, run_id: str, timeout_s: float) -> None:
        self._tools = tools
        self._memory = memory
        self._run_id = run_id
        self._timeout_s = timeout_s
        self._passed: set[tuple[str, int]] = set()  # (group, number)
        self._runs: dict[str, OneOffRun] = {}  # by the names of their machines
        self._turns: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def pass_on(self, machine_id: str, group_name: str) -> None:
        """Return once those of the group have passed, on this machine or on one before it.

        A machine that does not run, for want of traffic say, is not tried. Raises as
        `OneOffRun.run` does.
        """
        group = self._memory.release.group(group_name)
        if group is None:
            return
        async with self._turns[group_name]:
            for number, check in enumerate(group.machine_checks, 1):
                if (group_name, number) not in self._passed:
                    await self._pass(machine_id, group, number, check)

    async def _pass(self, machine_id: str, group: Group, number: int, check: MachineCheck) -> None:
        client = self._tools.client
        machine = await self._tools.patience.ask(lambda: client.machine(machine_id))
        if machine.state != "started":
            return
        own = f"-{self._run_id[-4:]}-{machine.id[-8:]}-{number}"
        spec = one_off(self._memory.release, group, check, machine, own, self._timeout_s)
        run = self._runs.setdefault(spec.name, OneOffRun(self._tools, self._memory, spec))
        try:
            await run.run()
        except CallFailed as failure:
            if failure.meaning is Meaning.UNSETTLED:
                self._memory.unanswered(anyio.current_time())  # a machine may yet be there
            raise
        self._passed.add((group.name, number))

    @property
    def untried(self) -> frozenset[str]:
        """The groups of which a check is yet to pass."""
        return frozenset(
            group.name
            for group in self._memory.release.groups
            for number, _ in enumerate(group.machine_checks, 1)
            if (group.name, number) not in self._passed
        )

    def is_own(self, machine: Machine) -> bool:
        """Whether this run has made the machine, or may have."""
        return machine.name in self._runs

    async def clean_up(self, fleet: Fleet) -> None:
        """The run is over: its machines go, also one of which only this look tells."""
        made = {run.machine_id for run in self._runs.values()}
        made |= {machine.id for machine in left_behind(fleet) if self.is_own(machine)}
        await for_each(sorted(made - {""}), partial(remove, self._tools, MACHINE_CHECK))
        if not fleet:
            for run in self._runs.values():
                run.tell_unseen()


def one_off(
    release: Release,
    group: Group,
    check: MachineCheck,
    machine: Machine,
    own: str,
    timeout_s: float,
) -> OneOff:
    """The machine that tries another one, `own` being the end of its name.

    An entrypoint belongs to an image: that of fly.toml is not given to another one.
    """
    init = dict(group.config["init"])
    kept = {key: init[key] for key in ("swap_size_mb", "entrypoint") if key in init}
    if check.image:
        kept.pop("entrypoint", None)
    config = one_off_config(
        MACHINE_CHECK,
        release.deploy_id,
        image=check.image or release.image,
        env={
            **group.config["env"],
            "FLY_PROCESS_GROUP": MACHINE_CHECK,
            "FLY_TEST_COMMAND": "1",
            "FLY_TEST_MACHINE_IP": machine.private_ip,
        },
        init={**kept, **check.init},
        guest=group.config.get("guest"),
    )
    return OneOff(
        name=one_off_name(MACHINE_CHECK, release.deploy_id) + own,
        region=machine.region,
        config={**config, "stop_config": dict(check.stop_config)},
        command=check.command,
        what=f"the machine check of {machine.name or machine.id}",
        hint="fix the app, or what [[machine_checks]] of fly.toml asks of it",
        timeout_s=timeout_s,
    )
