"""The legacy path: one pass, which ends at the first write or wait that fails."""

from __future__ import annotations

import random

import pytest

from deploy import legacy
from deploy.api.machine import Fleet
from deploy.errors import AppFailed, CallFailed
from deploy.events import GoingBack, PassStarted
from deploy.plan.intent import BACK
from deploy.retries import asked_for
from deploy.run import Settings, _take_path
from tests.deploy.orchestrator.bench import Bench, on_bench, release_for
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.world import BROKEN, NEW, OLD, Scenario
from tests.worlds.stage import Hit

UNAVAILABLE = BY_NAME["503 before"]
FOUR = Scenario(machines=4)


def test_one_pass_brings_the_app_to_the_release() -> None:
    async def story(bench: Bench) -> None:
        ending = await legacy.run(bench.deployment)
        assert ending.forward.is_complete
        assert ending.back is None
        assert (bench.image("web-1"), bench.image("web-2")) == (NEW, NEW)
        assert [(e.number, e.of, e.direction) for e in bench.of(PassStarted)] == [(1, 1, "forward")]

    on_bench(story)


def test_one_that_is_to_go_back_makes_one_pass_back() -> None:
    async def story(bench: Bench) -> None:
        bench.memory.began(await bench.fleet())
        bench.memory.goal = BACK
        assert (await legacy.run(bench.deployment)).forward.is_complete
        assert [event.direction for event in bench.of(PassStarted)] == ["back"]

    on_bench(story)


def test_after_the_first_write_that_fails_nothing_new_begins() -> None:
    async def story(bench: Bench) -> None:
        ending = await legacy.run(bench.deployment)
        assert isinstance(ending.forward.cause, CallFailed)
        assert len(bench.calls("update")) == 1
        assert {bench.image(f"web-{n}") for n in (1, 2, 3, 4)} == {OLD}
        assert bench.halt.is_set

    on_bench(story, scenario=FOUR, hits=[Hit("update", UNAVAILABLE)])


def test_after_the_first_wait_that_fails_nothing_new_begins_and_nothing_goes_back() -> None:
    async def story(bench: Bench) -> None:
        ending = await legacy.run(bench.deployment)
        assert isinstance(ending.forward.cause, AppFailed)
        assert len(bench.calls("update")) == 1
        assert sorted(bench.image(f"web-{n}") for n in (1, 2, 3, 4)) == [OLD] * 3 + [BROKEN]
        assert bench.of(GoingBack) == []

    on_bench(story, scenario=FOUR, release=release_for(image=BROKEN))


@pytest.mark.parametrize("operation", ["list", "wait", "acquire"])
def test_reads_and_leases_are_asked_again_as_on_the_other_path(operation: str) -> None:
    async def story(bench: Bench) -> None:
        ending = await legacy.run(bench.deployment)
        assert ending.forward.is_complete
        assert len([call for call in bench.calls(operation) if call.fault]) == 3

    on_bench(story, hits=[Hit(operation, BY_NAME["429"], times=3)])


@pytest.mark.parametrize("retries", [0, 1])
def test_a_count_of_none_takes_it_and_any_other_does_not(retries: int) -> None:
    async def story(bench: Bench) -> None:
        settings = Settings(handles_signals=False)
        chosen = asked_for(retries)
        ending = await _take_path(bench.deployment, chosen, settings, random.Random(1))
        assert (ending.back is None) is (retries == 0)

    on_bench(story, release=release_for(image=BROKEN))


def test_a_first_deploy_is_the_same() -> None:
    async def story(bench: Bench) -> None:
        assert (await legacy.run(bench.deployment)).forward.is_complete
        assert bench.memory.known_base.machines == Fleet()
        assert len(list(bench.world.machines())) == 2

    on_bench(story, scenario=Scenario(machines=0))
