"""The simulator's machines, on trio's clock that jumps over waiting."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
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
        ("hello:late1", "started", "critical"),
        ("hello:exitzero1", "stopped", "warning"),
        ("hello:slowcheck1", "started", "critical"),
        ("hello:nopull1", "failed", "warning"),
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


def watched(image: str, until_s: float, **keys: Any) -> list[tuple[float, str, str, int]]:
    """(seconds since its create, state, status of its check, restarts), every 50 ms."""

    async def story(_: SimulatedRuntime, ask: Ask) -> list[tuple[float, str, str, int]]:
        machine = (await ask("POST", "/machines", json={"config": config(image, **keys)})).json()
        began_s, seen = anyio.current_time(), []
        while anyio.current_time() < began_s + until_s:
            found = (await ask("GET", f"/machines/{machine['id']}")).json()
            exits = sum(event["type"] == "exit" for event in found["events"])
            at_s = anyio.current_time() - began_s
            seen.append((at_s, found["state"], found["checks"][0]["status"], exits))
            await anyio.sleep(0.05)
        return seen

    return simulate(story)


@pytest.mark.parametrize(("image", "sick_s"), [("late", 1.0), ("late1", 1.0), ("late20", 20.0)])
def test_a_late_machine_passes_until_its_second_and_fails_ever_after(
    image: str, sick_s: float
) -> None:
    seen = watched(f"hello:{image}", sick_s + 5)
    started = next(at_s for at_s, state, _, _ in seen if state == "started")
    statuses = [status for at_s, _, status, _ in seen]
    first, last = statuses.index("passing"), len(statuses) - statuses[::-1].index("passing")
    assert set(statuses[first:last]) == {"passing"}
    assert set(statuses[last:]) == {"critical"}
    assert seen[last][0] - started == pytest.approx(sick_s, abs=0.11)


def test_a_flapping_machine_passes_and_fails_by_turns() -> None:
    turns = [status for _, _, status, _ in watched("hello:flap", 5)]
    changes = [one for one, other in pairwise(turns) if one != other]
    assert changes[1:7] == ["passing", "critical"] * 3


@pytest.mark.parametrize(("retries", "exits"), [(0, 1), (2, 3)])
def test_a_crashing_machine_passes_first_and_is_restarted_as_its_policy_says(
    retries: int, exits: int
) -> None:
    restart = {"policy": "on-failure", "max_retries": retries}
    seen = watched("hello:crash2", 30, restart=restart)
    assert any(status == "passing" for _, _, status, _ in seen)
    assert seen[-1][1:] == ("stopped", "warning", exits)


def test_an_answer_that_takes_four_seconds_passes_where_the_check_waits_for_it() -> None:
    service = config("hello:slowcheck")["services"][0]
    patient = {**service, "checks": [{"type": "http", "timeout": "5s"}]}
    seen = watched("hello:slowcheck", 8, services=[patient])
    first = next(at_s for at_s, _, status, _ in seen if status == "passing")
    assert 4 < first < 5.5
    assert not any(status == "passing" for _, _, status, _ in watched("hello:slowcheck", 8))


def test_an_image_that_cannot_be_pulled_is_a_failed_machine_for_ever_with_its_reason() -> None:
    async def story(_: SimulatedRuntime, ask: Ask) -> dict[str, Any]:
        machine = (await ask("POST", "/machines", json={"config": config("hello:nopull")})).json()
        await anyio.sleep(3600)
        found: dict[str, Any] = (await ask("GET", f"/machines/{machine['id']}")).json()
        return found

    failed = simulate(story)
    assert failed["state"] == "failed"
    assert (failed["events"][0]["type"], failed["events"][0]["status"]) == ("launch", "failed")
    assert failed["events"][0]["request"]["error"] == "could not pull image: manifest unknown"


def test_an_image_that_is_known_not_to_be_there_is_refused() -> None:
    async def story(_: SimulatedRuntime, ask: Ask) -> httpx.Response:
        return await ask("POST", "/machines", json={"config": config("hello:noimage")})

    answer = simulate(story)
    assert answer.status_code == 400
    assert "unable to pull image" in answer.json()["error"]
