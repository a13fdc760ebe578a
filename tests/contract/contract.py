"""One contract for both paths: what a deploy promises on either.

Every strategy, on asyncio and on trio, with a cold machine, machines that are
nobody's business and keys that nobody knows. The world is the simulator's.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from deploy.events import Result, RunFinished
from deploy.plan.strategies import STRATEGY_NAMES
from tests.contract.clocks import BACKENDS, run_on
from tests.simulation.laws import broken_laws, managed
from tests.worlds.simulated.faults import WRITES
from tests.worlds.simulated.world import Run, Scenario, Snapshot, Story, World

BROKEN = "registry.test/hello:2-bad"

strategies = pytest.mark.parametrize("strategy", STRATEGY_NAMES)
backends = pytest.mark.parametrize("backend", BACKENDS)


def deployed(backend: str, strategy: str, retries: int, **fields: Any) -> tuple[Story, Story]:
    """The story of a deploy, and the story of the same deploy asked for once more."""
    said: dict[str, Any] = {"machines": 3, "groups": 2, "cold": 1, "seed": 7} | fields
    scenario = Scenario(strategy=strategy, retries=retries, **said)
    world = World(scenario)

    async def play() -> tuple[Story, Story]:
        async with world:
            await world.deploy(deploy_id="0000000aaaaaaaaa")
            await world.rest()
            first = world.story
            again = world.story = Story(scenario=scenario, before=first.after)
            await world.deploy(name="run2", deploy_id="0000000bbbbbbbbb")
            await world.rest()
            first.calls, again.calls = (_calls_of(first, run) for run in ("run1", "run2"))
            return first, again

    return run_on(backend, play, seed=scenario.seed, before_time_passes=world.look)


def _calls_of(story: Story, run: str) -> list[Any]:
    return [call for call in story.calls if call.run == run]


def fleet_of(story: Story) -> Counter[str]:
    """The machines at the end, without what tells one deploy from another."""
    return Counter(_told(machine) for machine in managed(story.after).values())


def _told(machine: Snapshot) -> str:
    config = dict(machine.config)
    config["metadata"] = {
        key: value
        for key, value in config["metadata"].items()
        if key in ("tidegate_digest", "team", "fly_process_group", "fly_platform_version")
    }
    keys = sorted(config)
    told = [(key, config[key]) for key in keys if config[key] is not None]
    return f"{machine.group} {machine.state} cordoned={machine.cordoned} {machine.serves} {told}"


def _taken(run: Run, story: Story) -> Counter[str]:
    return Counter(
        call.machine for call in story.calls if call.operation == "acquire" and call.run == run.name
    )


def is_done_cleanly(backend: str, strategy: str, retries: int) -> None:
    """Without faults: done in one pass, every law kept, and a second deploy writes nothing."""
    story, again = deployed(backend, strategy, retries)
    assert (story.finished.exit_code, story.finished.result) == (0, Result.DONE)
    assert story.finished.leftovers == ()
    assert broken_laws(story) == []
    assert not any(machine.lease for machine in story.after.values())
    assert set(_taken(story.run, story).values()) == {1}
    assert not [event for _, event in story.run.events if type(event).__name__ == "HiccupMet"]
    passes = [e for _, e in story.run.events if type(e).__name__ == "PassStarted"]
    assert len(passes) == 1

    assert (again.finished.exit_code, again.finished.result) == (0, Result.UNCHANGED)
    assert [call.line() for call in again.calls if call.operation in WRITES] == []
    assert again.after == story.after


def makes_what_each_group_needs(backend: str, strategy: str, retries: int) -> None:
    """A first deploy."""
    story, _ = deployed(backend, strategy, retries, machines=0, cold=0)
    assert story.finished.exit_code == 0
    there = Counter((machine.group, machine.state) for machine in managed(story.after).values())
    assert there == {("web", "started"): 2, ("worker", "started"): 1, ("worker", "stopped"): 1}
    assert not any(machine.lease for machine in story.after.values())


def of_a_broken_app(backend: str, strategy: str, retries: int) -> RunFinished:
    """How a deploy of a release ends whose checks fail; the laws are kept."""
    story, _ = deployed(backend, strategy, retries, new=BROKEN)
    story.calls = [call for call in story.calls if call.run == "run1"]
    assert broken_laws(story) == []
    return story.finished
