"""The simulator's machines, on trio's clock that jumps over waiting."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import httpx
import pytest
import trio
import trio.testing

from deploy.local.engine import Platform
from deploy.local.http import api
from tests.deploy.local.world import config
from tests.worlds.simulated.runtime import EPOCH_S, Behaviour, SimulatedRuntime, simulated_clock

T = TypeVar("T")
Ask = Callable[..., Awaitable[httpx.Response]]


def simulate(
    story: Callable[[SimulatedRuntime, Ask], Awaitable[T]], *, seed: int = 1, **runtime: Any
) -> T:
    """Run a story on the autojump clock; a deadlock fails instead of hanging."""

    async def main() -> T:
        machines = SimulatedRuntime(seed, **runtime)
        with anyio.fail_after(24 * 3600):
            async with Platform(runtime=machines, clock=simulated_clock, seed=seed) as platform:
                transport = httpx.ASGITransport(app=api.app(platform))
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://localhost/v1/apps/hello"
                ) as client:
                    return await story(machines, client.request)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_an_hour_of_a_thousand_machines_takes_seconds() -> None:
    async def story(_: SimulatedRuntime, ask: Ask) -> float:
        begin = time.monotonic()
        for number in range(1000):
            await ask(
                "POST", "/machines", json={"name": f"app-{number}", "config": config("hello:v1")}
            )
        await anyio.sleep(3600)
        machines = (await ask("GET", "/machines")).json()
        assert len(machines) == 1000
        assert all(machine["checks"][0]["status"] == "passing" for machine in machines)
        assert simulated_clock() >= EPOCH_S + 3600
        return time.monotonic() - begin

    assert simulate(story) < 20


@pytest.mark.parametrize(
    ("image", "state", "check"),
    [
        ("hello:v1", "started", "passing"),
        ("registry.fly.io/bad:v1", "started", "critical"),
        ("hello:silent", "started", "warning"),
        ("hello:stuck", "starting", "warning"),
        ("hello:exit0", "stopped", "warning"),
        ("hello:exit1", "stopped", "warning"),
        ("hello:missing", "failed", "warning"),
    ],
)
def test_an_image_behaves_by_a_word_in_its_name(image: str, state: str, check: str) -> None:
    async def story(_: SimulatedRuntime, ask: Ask) -> dict[str, Any]:
        machine = (await ask("POST", "/machines", json={"config": config(image)})).json()
        await anyio.sleep(600)
        found: dict[str, Any] = (await ask("GET", f"/machines/{machine['id']}")).json()
        return found

    machine = simulate(story)
    assert (machine["state"], machine["checks"][0]["status"]) == (state, check)


def test_the_same_seed_tells_the_same_story_and_another_seed_another() -> None:
    async def story(_: SimulatedRuntime, ask: Ask) -> Any:
        ids = []
        for _number in range(5):
            machine = await ask("POST", "/machines", json={"config": config("hello:v1")})
            ids.append(machine.json()["id"])
        for machine_id in ids:
            await ask("GET", f"/machines/{machine_id}/wait?state=started")
        await anyio.sleep(10)
        return (await ask("GET", "/machines")).json()

    assert simulate(story, seed=5) == simulate(story, seed=5)
    assert simulate(story, seed=5) != simulate(story, seed=6)


def test_a_machine_can_be_made_to_crash_and_its_host_to_get_lost() -> None:
    async def story(machines: SimulatedRuntime, ask: Ask) -> None:
        machine_id = (await ask("POST", "/machines", json={"config": config("hello:v1")})).json()[
            "id"
        ]
        await ask("GET", f"/machines/{machine_id}/wait")
        machines.lose_host(machine_id, "unknown")
        assert (await ask("GET", f"/machines/{machine_id}")).json()["host_status"] == "unknown"
        machines.find_host(machine_id)
        machines.running[machine_id].kill()
        await anyio.sleep(60)
        machine = (await ask("GET", f"/machines/{machine_id}")).json()
        assert machine["state"] == "started"
        exits = [event for event in machine["events"] if event["type"] == "exit"]
        assert exits[0]["request"]["exit_event"]["exit_code"] == 137
        assert exits[0]["request"]["exit_event"]["requested_stop"] is False

    simulate(story)


def test_behaviours_can_be_added_and_the_last_known_word_counts() -> None:
    late = Behaviour(boot_s=(100, 100))

    async def story(machines: SimulatedRuntime, ask: Ask) -> str:
        assert machines.behaviour("bad/hello:late-1") is late
        machine_id = (
            await ask("POST", "/machines", json={"config": config("hello:late-1")})
        ).json()["id"]
        await anyio.sleep(99)
        before = (await ask("GET", f"/machines/{machine_id}")).json()["state"]
        await anyio.sleep(2)
        return f"{before} {(await ask('GET', f'/machines/{machine_id}')).json()['state']}"

    assert simulate(story, behaviours={"late": late}) == "starting started"
