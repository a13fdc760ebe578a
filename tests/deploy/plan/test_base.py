from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Fleet
from deploy.plan.actions import Create, Destroy, Update
from deploy.plan.base import Base
from deploy.plan.release import Release
from deploy.plan.schedule import schedule
from deploy.plan.stamps import FROM, WAS
from deploy.plan.strategies import STRATEGY_NAMES
from tests.worlds.fleets import (
    NEW_ID,
    PureFleet,
    machine,
    plan,
    release,
    situations,
    thrifty,
    with_metadata,
)


def test_the_base_is_what_is_managed_and_of_that_what_serves() -> None:
    fleet = Fleet.of(
        [machine("m1"), machine("m2", state="stopped"), with_metadata(machine("m3"), x="y")]
    )
    unmanaged = replace(machine("m4"), config={})
    base = Base.of(Fleet.of([*fleet, unmanaged]))
    assert [one.id for one in base.machines] == ["m1", "m2", "m3"]
    assert base.serving == {"m1", "m3"}
    assert base.lost == frozenset()


@thrifty
@given(situations(strategies=STRATEGY_NAMES), st.data())
def test_another_computer_finds_the_base_of_a_deploy_that_died_anywhere(
    situation: tuple[Release, Fleet], data: st.DataObject
) -> None:
    wanted, fleet = situation
    if not fleet.managed:
        return
    base = Base.of(fleet)
    platform = PureFleet(fleet)
    actions = [
        action
        for stage in schedule(wanted, fleet, base, plan(wanted, fleet, base))
        for track in stage
        for step in track.steps
        for action in step.actions
        if not isinstance(action, Destroy)
    ]
    for action in actions[: data.draw(st.integers(0, len(actions)))]:
        platform.apply(action)
    versions = {
        machine_id: {**known, "v0": fleet.by_id[machine_id].config}
        if machine_id in fleet.by_id
        else known
        for machine_id, known in platform.versions.items()
    }
    found = Base.before(wanted.deploy_id, platform.fleet, versions)
    assert found.machines.by_id.keys() == base.machines.by_id.keys()
    for one in base.machines:
        again = found.machines.by_id[one.id]
        assert again.config == one.config
        assert again.version == one.version
        if one.id in platform.fleet.by_id and platform.fleet.by_id[one.id].version != one.version:
            assert (again.state, again.cordoned) == (one.state, one.cordoned)
    assert found.lost == frozenset()


def test_a_version_that_the_platform_forgot_is_lost() -> None:
    platform = PureFleet(Fleet.of([machine("m1"), machine("m2")]))
    first, _ = plan(release(), platform.fleet, Base.of(platform.fleet))
    platform.apply(first)
    assert Base.before(NEW_ID, platform.fleet, {}).lost == {"m1"}


def test_what_the_deploy_made_is_no_part_of_its_base_until_it_has_taken_a_place() -> None:
    wanted = release(strategy="bluegreen")
    platform = PureFleet(Fleet.of([machine("m1")]))
    green, destroy = plan(wanted, platform.fleet, Base.of(platform.fleet))
    assert isinstance(green, Create)
    platform.apply(green)
    assert [m.id for m in Base.before(NEW_ID, platform.fleet, platform.versions).machines] == ["m1"]
    platform.apply(destroy)
    after = Base.before(NEW_ID, platform.fleet, platform.versions)
    (taken,) = after.machines
    assert taken.id == platform.made[green.name]
    assert taken.image == "registry.test/hello:1"  # its first version holds the way back


@pytest.mark.parametrize("stamp_of_an_earlier_deploy", ["started", "started,sick"])
def test_a_stopped_blue_counts_as_serving_when_its_green_is_there(
    stamp_of_an_earlier_deploy: str,
) -> None:
    wanted = release(strategy="bluegreen")
    blue = with_metadata(machine("m1"), **{WAS: stamp_of_an_earlier_deploy})
    platform = PureFleet(Fleet.of([blue]))
    green, _ = plan(wanted, platform.fleet, Base.of(platform.fleet))
    platform.apply(green)
    stopped = Fleet.of(
        replace(one, state="stopped", cordoned=True, checks=()) if one.id == "m1" else one
        for one in platform.fleet
    )
    found = Base.before(NEW_ID, stopped, platform.versions)
    assert found.serving == {"m1"}
    (blue,) = found.machines
    assert (blue.state, blue.cordoned) == ("started", False)


def test_what_served_is_told_by_the_stamp_and_not_by_how_it_looks_now() -> None:
    at_first = [machine("m1"), machine("m2", state="stopped"), machine("m3", checks=())]
    platform = PureFleet(Fleet.of(at_first))
    base = Base.of(platform.fleet)
    for action in plan(release(), platform.fleet, base):
        assert isinstance(action, Update)
        platform.apply(action)
    sick = Fleet.of(replace(one, state="failed", checks=()) for one in platform.fleet)
    versions = {
        key: {**known, "v0": base.machines.by_id[key].config}
        for key, known in platform.versions.items()
    }
    found = Base.before(NEW_ID, sick, versions)
    assert found.serving == base.serving == {"m1"}
    states = {one.id: one.state for one in found.machines}
    assert states == {"m1": "started", "m2": "stopped", "m3": "started"}
    assert all(one.metadata.get(FROM, "") == "" for one in found.machines)
