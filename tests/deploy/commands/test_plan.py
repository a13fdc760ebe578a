from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Fleet
from deploy.commands.plan import show_plan
from deploy.plan.base import Base
from deploy.plan.group import Group, MachineCheck
from deploy.plan.schedule import schedule
from deploy.plan.strategies import STRATEGY_NAMES
from deploy.retries import asked_for
from tests.worlds.fleets import group, machine, plan, release

THREE = Fleet.of([machine("m1"), machine("m2"), machine("m3", state="stopped")])


def shown(fleet: Fleet, *groups: Group, as_json: bool = False, **fields: Any) -> str:
    wanted = release(*groups, **fields)
    base = Base.of(fleet)
    order = schedule(wanted, fleet, base, plan(wanted, fleet, base))
    return show_plan(wanted, fleet, order, asked_for(3), as_json=as_json)


@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
def test_a_plan_names_every_machine_that_it_would_touch(strategy: str) -> None:
    text = shown(THREE, strategy=strategy)
    assert "retrying path" in text
    for one in THREE:
        assert one.id in text
    assert "left stopped" in text


def test_a_plan_with_nothing_to_do_says_so() -> None:
    assert "nothing to do" in show_plan(release(), THREE, (), asked_for(0), as_json=False)


@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
def test_a_plan_as_json_is_versioned_and_says_the_same(strategy: str) -> None:
    told = json.loads(shown(THREE, as_json=True, strategy=strategy))
    assert (told["v"], told["strategy"], told["retries"], told["machines"]) == (1, strategy, 3, 3)
    actions = [
        action
        for stage in told["stages"]
        for track in stage
        for step in track["steps"]
        for action in step["actions"]
    ]
    assert {action["machine"] for action in actions} >= {"m1", "m2", "m3"} - {""}


def test_a_plan_says_where_machine_checks_have_to_pass() -> None:
    checked = replace(group(), machine_checks=(MachineCheck(init={"cmd": ["true"]}),))
    assert "each until healthy, and the group's machine checks pass:" in shown(THREE, checked)
    (stage, *_) = json.loads(shown(THREE, checked, as_json=True))["stages"]
    assert stage[0]["steps"][0]["gate"] == "tried"
    assert "machine checks" not in shown(THREE)


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_name_from_the_platform_controls_the_terminal(name: str, image: str) -> None:
    odd = machine("m1", name=f"\x1b]0;{name}\x07", config={**machine().config, "image": image})
    shown_now = shown(Fleet.of([odd]))
    assert not [c for c in shown_now if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)]
    shown_now.encode()
