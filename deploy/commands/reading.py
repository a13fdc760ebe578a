"""Reading from the platform, for commands that look before or instead of a run."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio

from deploy.api.client import MachinesClient
from deploy.api.connection import OUTAGE_S
from deploy.api.machine import Fleet, Machine
from deploy.api.patience import Patience
from deploy.errors import CallFailed, DeployError
from deploy.orchestrator.look import believable
from deploy.plan.base import Versions

LOOK_S = 4.0  # for commands whose reader is waiting; an outage is told before a minute is over


async def read_fleet(client: MachinesClient, *, within_s: float = OUTAGE_S) -> Fleet:
    """The app's machines, for commands that only read; says what to do about a missing app.

    A hiccup is asked again for `within_s` seconds. Raises Miscounted as a run does.
    """
    patient = patience(within_s)

    async def list_once() -> Fleet:
        return Fleet.of(await patient.ask(client.machines))

    try:
        return await believable(client, patient, list_once)
    except CallFailed as failure:
        if failure.status == 404:
            failure.hint = "check --app; a first `deploy` creates the app"
        raise


async def owner_of(client: MachinesClient) -> tuple[bool, str]:
    """(whether the app exists, its organisation); what cannot be read now is left to the run."""
    try:
        return True, (await client.read_app()).organization
    except CallFailed as failure:
        return failure.status != 404, ""


async def first_look(client: MachinesClient) -> tuple[bool, str, Sequence[Machine] | None]:
    """(whether the app exists, its organisation, its machines), asked for side by side.

    Machines that cannot be listed now are None: they are left to the run.
    """
    machines: Sequence[Machine] | None = None

    async def look() -> None:
        nonlocal machines
        with suppress(DeployError):
            machines = await client.machines()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        exists, organization = await owner_of(client)
    return exists, organization, machines


async def read_versions(
    client: MachinesClient, machines: Iterable[Machine], patience: Patience
) -> Versions:
    found: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    for machine in machines:
        try:
            read = partial(client.versions, machine.id)
            found[machine.id] = dict(await patience.ask(read))
        except CallFailed as failure:
            if failure.status != 404:
                raise
    return found


def patience(within_s: float = OUTAGE_S) -> Patience:
    """For commands that only read."""
    return Patience(within_s, random.Random(time.monotonic_ns()), sure=False)  # noqa: S311 - jitter
