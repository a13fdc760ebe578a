"""Reading from the platform, for commands that look before or instead of a run."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import anyio

from deploy.api.client import MachinesClient
from deploy.api.connection import OUTAGE_S
from deploy.api.machine import Fleet, Machine
from deploy.api.patience import Patience
from deploy.errors import CallFailed, Outage
from deploy.plan.base import Versions

ANSWER_S = 4.0  # with the start of the program, an answer within 5 s


async def greet(client: MachinesClient) -> None:
    """A small question first: a platform that is not there is known within 4 s.

    For commands whose reader is waiting. An app that does not exist is an answer too.
    """
    try:
        with anyio.fail_after(ANSWER_S):
            await patience(ANSWER_S - 1).ask(client.organization)
    except CallFailed as failure:
        if failure.status is None:
            raise
    except TimeoutError:
        raise Outage(
            f"the platform has not answered for {ANSWER_S:g} s",
            hint="check the network and FLY_FLAPS_BASE_URL, or see https://status.flyio.net",
        ) from None


async def read_fleet(client: MachinesClient) -> Fleet:
    """The app's machines, for commands that only read; says what to do about a missing app."""
    try:
        return Fleet.of(await patience().ask(client.machines))
    except CallFailed as failure:
        if failure.status == 404:
            failure.hint = "check --app; a first `deploy` creates the app"
        raise


async def owner_of(client: MachinesClient) -> tuple[bool, str]:
    """(whether the app exists, its organisation); what cannot be read now is left to the run."""
    try:
        return True, await client.organization()
    except CallFailed as failure:
        return failure.status != 404, ""


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
    return Patience(within_s, random.Random(time.monotonic_ns()))  # noqa: S311 - jitter
