from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.api.machine import RESTING, TERMINAL, TRANSIENT, Exit, Fleet, Machine
from deploy.plan.actions import Action, Create, Destroy, Start, Uncordon, Update, Wait
from deploy.plan.base import Base
from deploy.plan.configs import created_config
from deploy.plan.forward import group_count, should_launch
from deploy.plan.intent import Intent, read_intent
from deploy.plan.release import Release
from deploy.plan.schedule import schedule
from deploy.plan.stamps import FROM, INTENT, Role
from deploy.plan.strategies import STRATEGY_NAMES
from tests.worlds.fleets import (
    MOUNTS,
    NEW,
    NEW_ID,
    OLD,
    OWNED,
    PureFleet,
    as_running,
    group,
    keep,
    machine,
    normalised,
    old_release,
    plan,
    release,
    situations,
    thrifty,
    with_metadata,
)

LAUNCHES = {  # state -> (an update starts a machine, an update starts a standby)
    "created": (False, False),
    "started": (True, True),
    "stopped": (False, False),
    "suspended": (False, False),
    "failed": (True, False),
    "creating": (True, False),
    "starting": (True, False),
    "stopping": (False, False),
    "restarting": (True, False),
    "suspending": (False, False),
    "updating": (True, False),
    "replacing": (True, False),
    "destroying": (True, False),
    "launch_failed": (True, False),
    "destroyed": (True, False),
    "replaced": (True, False),
    "migrated": (True, False),
}

every_strategy = situations(strategies=STRATEGY_NAMES)
servers = st.sampled_from([normalised, keep])


def plan_of(wanted: Release, fleet: Fleet, base: Base | None = None) -> tuple[Action, ...]:
    return plan(wanted, fleet, base or Base.of(fleet))


def kinds(actions: tuple[Action, ...]) -> list[str]:
    return [action.verb for action in actions]


def test_the_table_has_every_state() -> None:
    assert LAUNCHES.keys() == RESTING | TRANSIENT | TERMINAL


@pytest.mark.parametrize("state", sorted(LAUNCHES))
def test_an_update_launches_what_ran_and_leaves_cold_what_was_cold(state: str) -> None:
    assert (should_launch(state), should_launch(state, standby=True)) == LAUNCHES[state]


# -- properties ------------------------------------------------------------------------


@thrifty
@given(every_strategy, servers)
def test_planning_after_doing_yields_nothing(
    situation: tuple[Release, Fleet], normalise: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> None:
    wanted, fleet = situation
    base = Base.of(fleet)
    platform = PureFleet(fleet, normalise)
    platform.carry_out(schedule(wanted, fleet, base, plan_of(wanted, fleet, base)))
    assert plan_of(wanted, platform.fleet, base) == ()


@thrifty
@given(every_strategy)
def test_the_next_deploy_of_the_same_release_writes_nothing(
    situation: tuple[Release, Fleet],
) -> None:
    wanted, fleet = situation
    base = Base.of(fleet)
    platform = PureFleet(fleet)
    platform.carry_out(schedule(wanted, fleet, base, plan_of(wanted, fleet, base)))
    again = replace(wanted, deploy_id="0cccccccccagain", number=3)
    assert plan_of(again, platform.fleet) == ()


@thrifty
@given(every_strategy, st.data())
def test_planning_again_in_the_middle_asks_only_for_what_is_left(
    situation: tuple[Release, Fleet], data: st.DataObject
) -> None:
    wanted, fleet = situation
    if wanted.strategy == "bluegreen":
        wanted = replace(wanted, strategy="rolling")
    base = Base.of(fleet)
    platform = PureFleet(fleet)
    actions = plan_of(wanted, fleet, base)
    first = [action for action in actions if isinstance(action, Update)]
    done = first[: data.draw(st.integers(0, len(first)))]
    for action in done:
        platform.apply(action)
    left = plan_of(wanted, platform.fleet, base)
    assert not {one.machine_id for one in left} & {one.machine_id for one in done}
    assert [one.key for one in left] == [a.key for a in actions if a not in done]


@thrifty
@given(every_strategy)
def test_every_machine_is_written_once(situation: tuple[Release, Fleet]) -> None:
    wanted, fleet = situation
    actions = plan_of(wanted, fleet)
    written = Counter(a.machine_id for a in actions if isinstance(a, Update | Destroy))
    assert set(written.values()) <= {1}
    created = Counter(a.name for a in actions if isinstance(a, Create))
    assert set(created.values()) <= {1}
    named = {spec.name for spec in wanted.groups}
    managed = {one.id for one in fleet.managed}
    assert written.keys() == managed  # all are of the old release: each is updated or goes
    gone = {a.machine_id for a in actions if isinstance(a, Destroy)}
    taken_over = {a.replaces for a in actions if isinstance(a, Create)} - {""}
    removed = {one.id for one in fleet.managed if one.group not in named}
    assert gone == taken_over | removed


@thrifty
@given(every_strategy)
def test_nobody_elses_machine_is_touched(situation: tuple[Release, Fleet]) -> None:
    wanted, fleet = situation
    touched = {action.machine_id for action in plan_of(wanted, fleet)}
    assert not touched & {one.id for one in fleet if not one.is_managed}


@thrifty
@given(every_strategy)
def test_keys_that_are_not_ours_are_sent_back_and_ours_are_replaced_whole(
    situation: tuple[Release, Fleet],
) -> None:
    wanted, fleet = situation
    specs = {spec.name: spec for spec in wanted.groups}
    for action in plan_of(wanted, fleet):
        if not isinstance(action, Update):
            continue
        before = fleet.by_id[action.machine_id].config
        spec = specs[action.group]
        for key in OWNED:
            if key != "mounts":
                assert action.config[key] == spec.config[key]
        for key, value in before.items():
            if key not in OWNED and key not in ("image", "metadata", "standbys"):
                assert action.config.get(key) == value
        assert action.config["image"] == wanted.image


@thrifty
@given(every_strategy)
def test_a_cold_machine_is_never_launched(situation: tuple[Release, Fleet]) -> None:
    wanted, fleet = situation
    cold = {one.id for one in fleet if one.state in ("stopped", "suspended", "created")}
    for action in plan_of(wanted, fleet):
        if isinstance(action, Update):
            assert action.launch is (action.machine_id not in cold)
        assert not isinstance(action, Start)


# -- metadata --------------------------------------------------------------------------


def test_other_tools_metadata_and_unknown_keys_survive() -> None:
    one = with_metadata(machine(), team="red")
    one = replace(one, config={**one.config, "x_unknown": {"keep": [1, None]}, "guest": {"c": 4}})
    (update,) = plan_of(release(), Fleet.of([one]))
    assert isinstance(update, Update)
    assert update.config["metadata"]["team"] == "red"
    assert update.config["x_unknown"] == {"keep": [1, None]}
    assert update.config["guest"] == {"c": 4}


def test_a_key_that_is_gone_from_the_app_goes_from_the_machine() -> None:
    spec = group(env={"A": "1"}, checks={"up": {"type": "tcp", "port": 1}}, files=[{"x": 1}])
    one = machine("m1", spec)
    (update,) = plan_of(release(group()), Fleet.of([one]))
    assert isinstance(update, Update)
    assert (update.config["env"], update.config["checks"], update.config["files"]) == ({}, {}, [])


@pytest.mark.parametrize(
    "change",
    [{"image": "registry.test/other:9"}, {"env": {"A": "another"}}],
    ids=["image", "env"],
)
def test_a_stamp_that_another_tool_copied_forward_does_not_count(change: dict[str, Any]) -> None:
    fleet = _deployed(machine())
    assert plan_of(release(), fleet) == ()
    (one,) = fleet
    touched = replace(one, version="theirs", config={**one.config, **change})
    assert kinds(plan_of(release(), Fleet.of([touched]))) == ["update"]


def test_a_release_of_another_tool_with_our_stamps_copied_does_not_count() -> None:
    (one,) = _deployed(machine())
    theirs = with_metadata(one, fly_release_id="theirs")
    assert kinds(plan_of(release(), Fleet.of([theirs]))) == ["update"]


def _deployed(*machines: Machine, **fields: Any) -> Fleet:
    fleet = Fleet.of(machines)
    wanted = release(**fields)
    platform = PureFleet(fleet)
    platform.carry_out(schedule(wanted, fleet, Base.of(fleet), plan_of(wanted, fleet)))
    return platform.fleet


# -- what an update cannot serve -------------------------------------------------------


def _replaced(actions: tuple[Action, ...], machine_id: str) -> Create:
    create, destroy = actions
    assert isinstance(create, Create)
    assert isinstance(destroy, Destroy)
    assert (create.replaces, destroy.machine_id) == (machine_id, machine_id)
    return create


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], MOUNTS),
        (MOUNTS, []),
        (MOUNTS, [{"name": "other", "path": "/data"}]),
        (MOUNTS, [{"name": "data", "path": "/elsewhere"}]),
    ],
    ids=["added", "removed", "renamed", "moved"],
)
def test_other_mounts_need_another_machine(before: list[Any], after: list[Any]) -> None:
    one = machine("m1", group(services=[], mounts=before))
    create = _replaced(plan_of(release(group(services=[], mounts=after)), Fleet.of([one])), "m1")
    assert [mount["path"] for mount in create.config["mounts"]] == [m["path"] for m in after]


def test_the_same_mounts_are_updated_and_keep_their_volume() -> None:
    spec = group(services=[], mounts=MOUNTS)
    one = machine("m1", spec)
    one = replace(one, config={**one.config, "mounts": [{**MOUNTS[0], "volume": "vol_1"}]})
    (update,) = plan_of(release(spec), Fleet.of([one]))
    assert isinstance(update, Update)
    assert update.config["mounts"] == [{**MOUNTS[0], "volume": "vol_1"}]


def test_a_machine_out_of_reach_is_replaced_elsewhere() -> None:
    for lost in ({"host_status": "unreachable"}, {"incomplete": True}):
        fleet = Fleet.of([machine("m1", **lost)])
        _replaced(plan_of(release(), fleet), "m1")


def test_a_machine_whose_host_refuses_the_update_is_replaced_unless_a_volume_forbids_it() -> None:
    fleet = Fleet.of([machine("m1")])
    _replaced(plan(release(), fleet, Base.of(fleet), refused=frozenset({"m1"})), "m1")
    spec = group(services=[], mounts=MOUNTS)
    fleet = Fleet.of([machine("m1", spec)])
    actions = plan(release(spec), fleet, Base.of(fleet), refused=frozenset({"m1"}))
    assert kinds(actions) == ["update"]


def test_a_replacement_is_made_with_the_old_configuration_and_then_updated() -> None:
    one = with_metadata(
        machine("m1", host_status="unreachable"), team="red", **{INTENT: f"{{{NEW_ID}}}"}
    )
    create = _replaced(plan_of(release(), Fleet.of([one])), "m1")
    assert create.then is not None
    assert create.config["image"] == one.image
    assert create.then["image"] == NEW
    assert create.config["metadata"]["team"] == "red"
    assert (
        create.then["metadata"][INTENT] == f"{{{NEW_ID}}}"
    )  # it outlives the machine that it replaces
    assert create.name.endswith(NEW_ID[-6:])


def test_a_cold_machine_out_of_reach_is_replaced_by_one_that_stays_cold() -> None:
    one = machine("m1", state="stopped", host_status="unreachable")
    create = _replaced(plan_of(release(), Fleet.of([one])), "m1")
    assert not create.launch
    platform = PureFleet(Fleet.of([one]))
    base = Base.of(platform.fleet)
    platform.carry_out(
        schedule(release(), platform.fleet, base, plan_of(release(), platform.fleet))
    )
    assert plan_of(release(), platform.fleet, base) == ()


# -- groups ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "fields", "count"),
    [
        (group(), {}, 2),
        (group(services=[]), {}, 2),
        (group(services=[], mounts=MOUNTS), {}, 1),
        (group(mounts=MOUNTS), {}, 1),
        (group(), {"high_availability": False}, 1),
        (group(services=[]), {"high_availability": False}, 1),
    ],
    ids=["services", "worker", "mounts", "services and mounts", "no ha", "worker, no ha"],
)
def test_a_new_group_gets_as_many_machines_as_it_needs(
    spec: Any, fields: dict[str, Any], count: int
) -> None:
    wanted = release(spec, **fields)
    assert group_count(wanted, spec) == count
    actions = plan_of(wanted, Fleet())
    assert [action.name for action in actions] == [f"web-{n}" for n in range(1, count + 1)]


def test_the_first_machine_of_a_new_group_is_born_with_the_intent() -> None:
    first, second = plan_of(release(), Fleet())
    assert isinstance(first, Create)
    assert isinstance(second, Create)
    assert read_intent(machine(config=first.config)) == Intent.of(release())
    assert INTENT not in second.config["metadata"]


def test_a_first_deploy_that_died_half_way_is_made_whole_by_the_next() -> None:
    born = with_metadata(machine("m1"), **{INTENT: Intent.of(old_release()).dump()})
    actions = plan_of(release(), Fleet.of([born]))
    assert [(action.verb, action.name) for action in actions] == [
        ("update", "web-1"),
        ("create", "web-2"),
    ]


def test_an_unfinished_deploy_of_machines_that_were_there_adds_none() -> None:
    updated = with_metadata(
        machine("m1"), **{INTENT: Intent.of(old_release()).dump(), FROM: "v-before"}
    )
    assert kinds(plan_of(release(), Fleet.of([updated]))) == ["update"]


def test_a_worker_gets_a_standby_that_is_not_launched() -> None:
    first, second = plan_of(release(group(services=[])), Fleet())
    assert isinstance(first, Create)
    assert isinstance(second, Create)
    assert (first.launch, first.standby_for) == (True, "")
    assert (second.launch, second.standby_for) == (False, "web-1")


def test_a_standby_that_is_there_counts_as_a_machine() -> None:
    platform = PureFleet(Fleet())
    wanted = release(group(services=[]))
    platform.carry_out(schedule(wanted, Fleet(), Base.of(Fleet()), plan_of(wanted, Fleet())))
    assert [one.config.get("standbys") for one in platform.fleet] == [None, ["n0001"]]
    assert plan_of(wanted, platform.fleet) == ()


def test_standbys_are_cleared_when_services_appear() -> None:
    worker = group(services=[])
    standby = machine("m2", worker, state="stopped")
    standby = replace(standby, config={**standby.config, "standbys": ["m1"]})
    updates = plan_of(release(group()), Fleet.of([machine("m1", worker), standby]))
    assert [update.machine_id for update in updates] == ["m1", "m2"]
    assert all("standbys" not in u.config for u in updates if isinstance(u, Update))


def test_standbys_stay_where_there_are_none_to_serve() -> None:
    worker = group(services=[])
    standby = machine("m2", worker, state="stopped")
    standby = replace(standby, config={**standby.config, "standbys": ["m1"]})
    _, update = plan_of(release(worker), Fleet.of([machine("m1", worker), standby]))
    assert isinstance(update, Update)
    assert update.config["standbys"] == ["m1"]
    assert not update.launch


def test_a_removed_group_goes_and_an_added_one_comes() -> None:
    old, new = group("old"), group("new")
    actions = plan_of(release(new), Fleet.of([machine("m1", old)]))
    assert kinds(actions) == ["create", "create", "destroy"]


def test_update_only_neither_creates_nor_destroys() -> None:
    old, new = group("old"), group("new")
    fleet = Fleet.of([machine("m1", old), machine("m2")])
    actions = plan_of(release(new, group(), update_only=True), fleet)
    assert [(action.verb, action.machine_id) for action in actions] == [("update", "m2")]


def test_an_empty_group_that_had_machines_at_first_is_not_made_anew() -> None:
    base = Base.of(Fleet.of([machine("m1")]))
    assert plan_of(release(), Fleet(), base) == ()


# -- machines in odd states ------------------------------------------------------------


def test_a_machine_on_the_release_that_was_not_seen_to_serve_is_waited_for() -> None:
    (one,) = fleet = _deployed(machine())
    doubtful = plan(release(), fleet, Base.of(fleet), doubtful=frozenset({one.id}))
    assert kinds(doubtful) == ["wait"]
    sick = Fleet.of([replace(one, checks=())])
    assert kinds(plan_of(release(), sick)) == ["wait"]


def test_a_machine_on_the_release_that_should_run_is_started() -> None:
    base = Base.of(Fleet.of([machine()]))
    (one,) = _deployed(machine())
    down = replace(one, state="stopped", checks=(), exits=(Exit(code=1, at_ms=1),))
    (start,) = plan_of(release(), Fleet.of([down]), base)
    assert isinstance(start, Start)


def test_a_machine_that_autostopped_is_as_good_as_running() -> None:
    sleepy = group(services=[{"internal_port": 1, "autostop": "stop", "checks": []}])
    one = machine("m1", sleepy)
    base = Base.of(Fleet.of([one]))
    platform = PureFleet(Fleet.of([one]))
    platform.carry_out(
        schedule(release(sleepy), platform.fleet, base, plan_of(release(sleepy), platform.fleet))
    )
    (now,) = platform.fleet
    for state in ("stopped", "suspended"):
        assert plan_of(release(sleepy), Fleet.of([replace(now, state=state)]), base) == ()


@pytest.mark.parametrize(
    ("autostop", "state", "exits", "asleep"),
    [
        ("stop", "stopped", (), True),
        ("suspend", "suspended", (), True),
        (True, "stopped", (), True),
        ("off", "stopped", (), False),
        (False, "stopped", (), False),
        (None, "stopped", (), False),
        ("stop", "started", (), False),
        ("stop", "failed", (), False),
        ("stop", "stopped", (Exit(code=1, at_ms=1),), False),
        ("stop", "stopped", (Exit(code=0, at_ms=2), Exit(code=1, at_ms=1)), True),
    ],
)
def test_asleep_is_stopped_for_want_of_traffic_and_nothing_else(
    autostop: object, state: str, exits: tuple[Exit, ...], asleep: bool
) -> None:
    config = {"services": [{"autostop": autostop}]}
    assert Machine(id="m", state=state, config=config, exits=exits).is_asleep is asleep


@pytest.mark.parametrize(
    ("ended", "is_left"),
    [
        (Exit(code=0, at_ms=1), True),
        (Exit(code=1, at_ms=1), False),
        (Exit(code=0, at_ms=1, requested=True), False),
    ],
    ids=["by itself", "badly", "asked to"],
)
def test_a_worker_that_did_its_work_is_left_stopped_and_no_other(
    ended: Exit, is_left: bool
) -> None:
    worker = group(services=[], restart={"policy": "no"})
    base = Base.of(Fleet.of([machine("m1", worker)]))
    platform = PureFleet(base.machines)
    platform.apply(plan_of(release(worker), base.machines)[0])
    (one,) = platform.fleet
    now = Fleet.of([replace(one, state="stopped", exits=(ended,))])
    assert kinds(plan_of(release(worker), now, base)) == ([] if is_left else ["start"])


def test_a_machine_that_is_being_destroyed_is_as_good_as_gone() -> None:
    going = machine(state="destroying")
    assert plan_of(release(), Fleet.of([going])) == plan_of(release(), Fleet())
    assert plan_of(release(), Fleet.of([going, machine("m2")])) == plan_of(
        release(), Fleet.of([machine("m2")])
    )


def test_force_updates_what_is_there_already_once() -> None:
    fleet = Fleet.of([replace(one, version="v9") for one in _deployed(machine())])
    base = Base.of(fleet)
    forced = release(force=True, deploy_id="0dddddddddforce")
    platform = PureFleet(fleet)
    (update,) = plan_of(forced, fleet, base)
    assert isinstance(update, Update)
    platform.apply(update)
    assert plan_of(forced, platform.fleet, base) == ()


def test_update_names_the_version_that_it_replaces() -> None:
    (update,) = plan_of(release(), Fleet.of([machine(version="v17")]))
    assert isinstance(update, Update)
    assert update.current_version == "v17"
    assert update.config["metadata"]["tidegate_from"] == "v17"
    assert update.config["metadata"]["tidegate_was"] == "started"


def test_a_cordoned_machine_stays_cordoned() -> None:
    actions = plan_of(release(), Fleet.of([machine(cordoned=True)]))
    assert kinds(actions) == ["update"]


# -- machines beside others ------------------------------------------------------------


def _with_green() -> tuple[Fleet, Base, Release]:
    """A fleet half way through a bluegreen: green is there, cordoned, blue still serves."""
    wanted = release(strategy="bluegreen")
    fleet = Fleet.of([machine("m1")])
    base = Base.of(fleet)
    platform = PureFleet(fleet)
    green, _ = plan_of(wanted, fleet, base)
    platform.apply(green)
    return platform.fleet, base, wanted


def test_bluegreen_before_the_switch_has_green_to_uncordon_and_blue_to_destroy() -> None:
    fleet, base, wanted = _with_green()
    actions = plan_of(wanted, fleet, base)
    assert kinds(actions) == ["destroy", "uncordon"]
    assert actions[0].machine_id == "m1"
    assert isinstance(actions[1], Uncordon)


def test_an_abandoned_green_of_a_dead_deploy_goes_and_its_blue_is_deployed_to() -> None:
    fleet, _, _ = _with_green()
    newer = release(strategy="rolling", deploy_id="0eeeeeeeeenewer")
    actions = plan_of(newer, fleet)
    green = next(one.id for one in fleet if one.id != "m1")
    assert {(a.verb, a.machine_id) for a in actions} == {("destroy", green), ("update", "m1")}


def test_a_green_that_serves_is_kept_by_the_next_deploy_and_its_blue_goes() -> None:
    fleet, _, _ = _with_green()
    switched = Fleet.of(replace(one, cordoned=False) for one in fleet)
    newer = release(strategy="rolling", deploy_id="0eeeeeeeeenewer")
    actions = plan_of(newer, switched)
    assert ("destroy", "m1") in {(a.verb, a.machine_id) for a in actions}


@pytest.mark.parametrize("blue", ["started", "stopped"])
def test_a_blue_stays_surplus_when_the_green_that_stood_for_it_has_been_replaced(blue: str) -> None:
    """The next green runs as the one before it did, whatever became of the blue."""
    fleet, _, _ = _with_green()
    switched = Fleet.of(
        replace(one, state=blue, cordoned=True) if one.id == "m1" else replace(one, cordoned=False)
        for one in fleet
    )
    base = Base.of(switched)
    image = "registry.test/hello:3"
    newer = release(strategy="bluegreen", deploy_id="0eeeeeeeeenewer", image=image)
    platform = PureFleet(switched, _number=1)
    for action in plan_of(newer, switched, base):
        if action.machine_id != "m1":  # the platform will not destroy the blue yet
            platform.apply(action)
    assert sorted(one.image for one in platform.fleet) == [OLD, image]
    left = plan_of(newer, platform.fleet, base)
    assert sorted((a.verb, a.machine_id) for a in left) == [
        ("destroy", "m1"),
        ("uncordon", "n0002"),
    ]


def test_a_replacement_that_is_replaced_leaves_its_place_to_the_last() -> None:
    fleet, base, wanted = _with_green()
    green = next(one for one in fleet if one.id != "m1")
    stale = replace(green, config={**green.config, "image": "old"})
    fleet = Fleet.of([fleet.by_id["m1"], stale])
    actions = plan(wanted, fleet, base, refused=frozenset({green.id}))
    assert sorted(kinds(actions)) == ["create", "destroy", "destroy"]
    platform = PureFleet(fleet, _number=1)
    platform.apply(next(a for a in actions if isinstance(a, Create)))
    left = plan_of(wanted, platform.fleet, base)
    assert {a.machine_id for a in left if isinstance(a, Destroy)} == {"m1", green.id}
    platform.fleet = Fleet.of(one for one in platform.fleet if one.id != green.id)
    left = plan_of(wanted, platform.fleet, base)  # the green has gone first
    assert sorted(kinds(left)) == ["destroy", "uncordon"]


def test_a_clone_of_a_green_is_no_green() -> None:
    fleet, base, wanted = _with_green()
    green = next(one for one in fleet if one.id != "m1")
    clone = replace(green, id="m9", name="somebody-elses", cordoned=False)
    actions = plan_of(wanted, Fleet.of([machine("m2"), clone]), base)
    assert ("destroy", "m9") not in {(a.verb, a.machine_id) for a in actions}


def test_a_leftover_canary_goes() -> None:
    spec = group()
    config = created_config(old_release(spec), spec, role=Role(NEW_ID))
    bird = machine("m2", config=config, name=f"web-canary-{NEW_ID[-6:]}")
    actions = plan_of(release(), Fleet.of([machine("m1"), as_running(bird)]))
    assert ("destroy", "m2") in {(a.verb, a.machine_id) for a in actions}


@example(Decimal("0.33"))
@thrifty
@given(st.decimals("0.01", "0.99", places=2) | st.integers(1, 100))
def test_the_limit_changes_no_plan(limit: Decimal | int) -> None:
    fleet = Fleet.of([machine("m1"), machine("m2")])
    assert plan_of(release(max_unavailable=limit), fleet) == plan_of(release(), fleet)


def test_a_machine_that_waits_for_its_checks_is_waited_for_at_its_version() -> None:
    (one,) = fleet = _deployed(machine())
    (wait,) = plan_of(release(), Fleet.of([replace(one, state="starting")]), Base.of(fleet))
    assert isinstance(wait, Wait)
    assert wait.version == one.version
