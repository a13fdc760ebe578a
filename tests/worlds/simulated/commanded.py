"""Runs the program's own commands in a simulated world: resume, rollback, deploy.

They open their connections and draw their ids and chance themselves; here those
come from the world. Each command runs with the transport of its own task.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import datetime
from types import SimpleNamespace
from unittest.mock import patch

from deploy.api import client
from deploy.commands import deploy, reading, rollback, scale, starting, status, taking_up
from tests.worlds.simulated.transport import SimulatedTransport

_transport: ContextVar[SimulatedTransport] = ContextVar("transport")
_chance: ContextVar[random.Random] = ContextVar("chance")


@contextmanager
def commands_in(seed: int) -> Iterator[None]:
    """Within the block commands reach the simulated platform, and chance comes from the seed."""
    ids = random.Random(f"ids/{seed}")

    def new_id(now: datetime) -> str:  # noqa: ARG001 - simulated time is not the calendar's
        return f"{ids.getrandbits(80):016x}"[:16]

    drawn = SimpleNamespace(Random=lambda *_: _chance.get())
    with ExitStack() as patches:
        for module in (starting, taking_up, rollback, scale, status):
            patches.enter_context(patch.object(module, "connect", _connect))
        for module in (starting, deploy, rollback, scale):
            patches.enter_context(patch.object(module, "new_id", new_id))
        for module in (starting, reading):
            patches.enter_context(patch.object(module, "random", drawn))
        yield


def use(transport: SimulatedTransport, chance: random.Random) -> None:
    """From here on, in this task, commands use these."""
    _transport.set(transport)
    _chance.set(chance)


@asynccontextmanager
async def _connect(address: str, token: str, app: str) -> AsyncIterator[client.MachinesClient]:
    async with client.connect(address, token, app, transport=_transport.get()) as connected:
        yield connected
