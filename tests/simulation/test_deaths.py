"""A deploy whose process dies at any moment can be finished or undone by another computer."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from deploy.plan.strategies import STRATEGY_NAMES
from tests.simulation.deaths import WAYS, Death, deaths, judge_death
from tests.simulation.enumeration import FOREIGN
from tests.worlds.simulated.habits import NO_HABITS, Habits
from tests.worlds.simulated.world import Scenario, World, tell


@pytest.mark.parametrize(
    "habits", [NO_HABITS, replace(FOREIGN, list_lags_s=9.0)], ids=["plain", "foreign"]
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
def test_a_death_at_any_call_leaves_what_can_be_finished_or_undone(
    strategy: str, way: str, habits: Habits
) -> None:
    """A sample; `scripts/simulate --all` tries every call."""
    moments = list(deaths(Scenario(strategy=strategy, machines=3, habits=habits), (way,)))
    for death in random.Random(strategy + way).sample(moments, 5):
        _, faults = judge_death(death)
        assert faults == (), death


@pytest.mark.parametrize("way", ["resume", "rollback"])
@pytest.mark.parametrize("call", [33, 34])
def test_blues_being_gone_does_not_keep_a_dead_bluegreen_from_being_taken_up(
    way: str, call: int
) -> None:
    scenario = Scenario(strategy="bluegreen", machines=3, seed=4)
    death = Death(scenario=scenario, call=call, after=True, way=way)
    assert judge_death(death)[1] == ()


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("way", ["resume", "rollback"])
@pytest.mark.parametrize(("strategy", "call"), [("canary", 57), ("bluegreen", 34)])
def test_what_ends_by_itself_while_it_is_looked_at_is_no_obstacle(
    strategy: str, call: int, way: str, retries: int
) -> None:
    """A canary whose destroying was under way; a lease that ran out just after it was refused."""
    scenario = Scenario(strategy=strategy, retries=retries, machines=3, groups=2)
    for after in (False, True):
        death = Death(scenario=scenario, call=call, after=after, way=way)
        assert judge_death(death)[1] == (), death


def test_a_dead_process_is_heard_of_no_more() -> None:
    """What the checkers of deaths rest on: nothing of it reaches the platform."""

    async def play(world: World) -> None:
        await world.deploy(dies_at=(6, False))
        await world.rest()

    story = tell(Scenario(machines=3), play)
    assert story.run.died
    assert len(story.calls) == 6
    assert story.calls[-1].applied_s is None
    assert {machine.lease for machine in story.after.values()} == {""}
