from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Fleet
from deploy.plan.actions import Create, Destroy
from deploy.plan.configs import clone_config, created_config
from deploy.plan.release import group_digest, is_current
from deploy.plan.scale import plan_scale
from deploy.plan.stamps import FROM, INTENT, ROLE, WAS, is_made_by
from tests.worlds.fleets import (
    NEW_ID,
    OLD,
    PureFleet,
    group,
    machine,
    normalised,
    old_release,
    with_metadata,
)

PATTERN = Create(name="web-1", group="web", config=created_config(old_release(), group()))


def _fleet(*slots: int) -> Fleet:
    return Fleet.of(machine(f"m{n:02}", name=f"web-{n}") for n in slots)


@given(st.sets(st.integers(1, 15)), st.integers(0, 15))
def test_scaling_reaches_the_count_and_then_has_nothing_to_do(slots: set[int], count: int) -> None:
    platform = PureFleet(_fleet(*slots))
    for action in plan_scale(platform.fleet, "web", count, PATTERN):
        platform.apply(action)
    assert len(platform.fleet) == count
    assert plan_scale(platform.fleet, "web", count, PATTERN) == ()


def test_new_machines_take_the_free_slots_and_the_last_ones_go() -> None:
    up = plan_scale(_fleet(1, 3), "web", 4, PATTERN)
    assert [action.name for action in up] == ["web-2", "web-4"]
    down = plan_scale(_fleet(1, 2, 10), "web", 1, PATTERN)
    assert all(isinstance(action, Destroy) for action in down)
    assert [action.name for action in down] == ["web-2", "web-10"]


def test_other_groups_and_unmanaged_machines_do_not_count() -> None:
    others = [
        machine("m8", group("worker"), name="worker-1"),
        replace(machine("m9", name="web-9"), config={}),
    ]
    assert plan_scale(Fleet.of(others), "web", 0, PATTERN) == ()
    assert len(plan_scale(Fleet.of(others), "web", 1, PATTERN)) == 1


def test_a_clone_is_on_the_release_and_has_no_history_of_its_own() -> None:
    history = {INTENT: "{}", FROM: "v0", WAS: "stopped", ROLE: "canary x", "team": "red"}
    sibling = with_metadata(machine(), **history)
    sibling = replace(sibling, config={**sibling.config, "standbys": ["m0"], "x_unknown": 1})
    config = clone_config(sibling, NEW_ID)
    assert config["metadata"]["team"] == "red"
    assert config["x_unknown"] == 1
    assert "standbys" not in config
    assert not {INTENT, ROLE} & config["metadata"].keys()
    clone = machine("m2", config=normalised(config), name="web-2")
    assert is_made_by(clone, NEW_ID)
    assert is_current(replace(old_release(), deploy_id=NEW_ID), clone)
    assert clone.metadata["tidegate_digest"] == group_digest(OLD, group())
