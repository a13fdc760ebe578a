"""Copying the process where a fault strikes changes nothing about the run that has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation.branches import branches
from tests.simulation.enumeration import boughs, cells, judge, judge_bough
from tests.worlds.simulated.faults import BY_NAME, KINDS, Rule, Spot
from tests.worlds.simulated.world import Scenario, Story, simulate

QUIET = Scenario(strategy="canary", retries=3, machines=3)
RULES = (
    Rule(Spot("list", "", "look"), 0, BY_NAME["refused"]),
    Rule(Spot("create", "web canary", "work"), 0, BY_NAME["reply lost"]),
    Rule(Spot("update", "web first", "work"), 0, BY_NAME["500 after"], 2),
    Rule(Spot("release", "web first", "over"), 0, BY_NAME["HTML"]),
)


def test_a_branch_tells_the_story_that_its_run_tells_from_the_beginning() -> None:
    told = branches(QUIET, RULES, Story.log)
    assert [branch.rule for branch in told] == list(RULES)
    for branch in told:
        assert branch.result == simulate(replace(QUIET, rules=(branch.rule,))).log()


def test_a_bough_is_ruled_on_as_each_of_its_cells_is() -> None:
    quiet = Scenario(strategy="rolling", retries=0, machines=1)
    kinds = KINDS[::5]  # of each group of faults some
    rulings = {
        ruling.scenario: ruling for bough in boughs(quiet, kinds) for ruling in judge_bough(bough)
    }
    everything = list(cells(quiet, kinds))
    assert rulings.keys() == set(everything)
    for cell in everything[::7]:
        assert rulings[cell] == judge(cell)


def test_a_child_that_fails_fails_the_whole() -> None:
    def judge_wrongly(story: Story) -> object:
        raise RuntimeError(f"no judgement of {story.scenario}")

    with pytest.raises(AssertionError, match="no ruling on refused x1 at list"):
        branches(QUIET, RULES[:1], judge_wrongly)


def test_a_rule_of_a_call_that_is_never_made_is_told() -> None:
    never = Rule(Spot("stop", "web first", "work"), 0, BY_NAME["refused"])
    with pytest.raises(AssertionError, match="nothing to strike: refused x1 at stop"):
        branches(QUIET, (never,), Story.log)
