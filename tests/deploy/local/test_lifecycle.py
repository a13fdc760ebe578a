"""What ends a machine's life from outside: its host."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.local.runtime import Ended
from tests.deploy.local.world import config, world

pytestmark = pytest.mark.anyio

WENT_DOWN = Ended(143, host_ended=True)


@pytest.mark.parametrize("policy", ["no", "on-failure"])
async def test_what_went_down_with_its_host_is_started_again_and_is_no_exit_of_the_apps(
    policy: str,
) -> None:
    restart = {"policy": policy, "max_retries": 0}
    async with world() as w:
        machine = await w.create(config=config(restart=restart))
        w.runtime.running[machine["id"]].crash(WENT_DOWN)
        await w.until(machine["id"], lambda m: _why_ended(m) is not None)
        again = await w.reach(machine["id"], "started")
    assert _why_ended(again) == {"error": "its host went down, and is back"}
    assert again["instance_id"] == machine["instance_id"]


async def test_who_asked_for_its_end_gets_it_also_from_a_host_that_goes_down() -> None:
    async with world() as w:
        machine = await w.create("lingering")
        process = w.runtime.running[machine["id"]]
        await w.call("POST", f"/{machine['id']}/stop")
        await w.until(machine["id"], lambda _: bool(process.signals))
        process.crash(WENT_DOWN)
        stopped = await w.reach(machine["id"], "stopped")
    ended = _why_ended(stopped)
    assert ended is not None
    assert ended["exit_event"]["requested_stop"] is True


def _why_ended(machine: dict[str, Any]) -> dict[str, Any] | None:
    """What the newest exit says of itself."""
    exits = (e["request"] for e in machine["events"] if e["type"] == "exit")
    return next(exits, None)
