"""What each command aims at, asked anew with what the run knows by then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploy.api.machine import Fleet
from deploy.plan.actions import Create, Destroy, Update, Wait
from deploy.plan.base import Base
from deploy.plan.configs import clone_config
from deploy.plan.forward import Situation, plan
from deploy.plan.planners import (
    towards_configs,
    towards_count,
    towards_nothing,
    towards_release,
)
from deploy.plan.selection import Selection
from deploy.plan.stamps import DEPLOY, FROM, INTENT, WAS
from tests.worlds.fleets import (
    MOUNTS,
    NEW_ID,
    OLD,
    PureFleet,
    group,
    machine,
    release,
    with_metadata,
)

TWO = Fleet.of([machine("m1", region="ams"), machine("m2", region="fra")])
EARLIER = {"image": "registry.test/hello:0", "env": {"A": "1"}, "metadata": {"team": "red"}}


def situation(fleet: Fleet = TWO, **fields: Any) -> Situation:
    said: dict[str, Any] = {"release": release(), "base": Base.of(fleet)} | fields
    return Situation(fleet=fleet, **said)


def test_towards_a_release_only_what_is_selected_is_planned() -> None:
    assert towards_release(Selection())(situation()) == plan(situation())
    one = towards_release(Selection(regions=frozenset({"fra"})))(situation())
    assert [action.machine_id for action in one] == ["m2"]


def test_towards_a_count_the_release_is_no_matter() -> None:
    pattern = Create(name="web-1", group="web", config=clone_config(machine("m1"), NEW_ID))
    up = towards_count("web", 3, pattern)(situation())
    assert [type(action) for action in up] == [Create]
    down = towards_count("web", 1, pattern)(situation())
    assert [(type(action), action.machine_id) for action in down] == [(Destroy, "m2")]


def test_going_back_has_nothing_to_do_forward() -> None:
    assert towards_nothing(situation()) == ()


# -- configurations of an earlier release -----------------------------------------------


def test_each_machine_gets_its_own_configuration_as_a_new_release() -> None:
    fleet = Fleet.of([with_metadata(machine("m1"), **{INTENT: "now"}), machine("m2")])
    (update,) = towards_configs({"m1": EARLIER, "m7": EARLIER})(situation(fleet))
    assert isinstance(update, Update)
    assert (update.machine_id, update.current_version) == ("m1", "v0")
    assert (update.launch, update.serves) == (True, True)
    assert update.config["image"] == "registry.test/hello:0"
    metadata = update.config["metadata"]
    assert (metadata["team"], metadata[DEPLOY], metadata[INTENT]) == ("red", NEW_ID, "now")
    assert (metadata[FROM], metadata[WAS]) == ("v0", "started")


def test_a_machine_keeps_the_volumes_that_it_has() -> None:
    one = machine("m1", group(services=[], mounts=MOUNTS))
    mounted = replace(one, config={**one.config, "mounts": [{**MOUNTS[0], "volume": "vol_1"}]})
    fleet = Fleet.of([mounted])
    (update,) = towards_configs({"m1": {**EARLIER, "mounts": MOUNTS}})(situation(fleet))
    assert isinstance(update, Update)
    assert update.config["mounts"] == [{**MOUNTS[0], "volume": "vol_1"}]


@pytest.mark.parametrize(
    ("state", "config", "launch"),
    [
        ("stopped", EARLIER, False),
        ("started", {**EARLIER, "standbys": ["m0"]}, True),
        ("failed", {**EARLIER, "standbys": ["m0"]}, False),
        ("failed", EARLIER, True),
    ],
)
def test_what_ran_at_first_runs_and_what_did_not_does_not(
    state: str, config: dict[str, Any], launch: bool
) -> None:
    base = Base.of(Fleet.of([machine("m1", state=state)]))
    now = Fleet.of([machine("m1", state="starting")])  # as it is does not count
    (update,) = towards_configs({"m1": config})(situation(now, base=base))
    assert isinstance(update, Update)
    assert update.launch is launch
    assert update.config["metadata"][WAS] == state


def test_it_is_written_once_and_then_waited_for_until_it_serves() -> None:
    planner = towards_configs({"m1": {**EARLIER, "metadata": machine().metadata}})
    platform = PureFleet(Fleet.of([machine("m1")]))
    base = Base.of(platform.fleet)
    (update,) = planner(situation(platform.fleet))
    platform.apply(update)
    now = platform.fleet
    assert planner(situation(now, base=base)) == ()
    for doubt in (
        situation(now, base=base, doubtful=frozenset({"m1"})),
        situation(Fleet.of(replace(m, cordoned=True) for m in now), base=base),
    ):
        (wait,) = planner(doubt)
        assert isinstance(wait, Wait)
        assert wait.version == now.by_id["m1"].version
    stopped = Fleet.of(replace(m, state="stopped") for m in now)
    assert planner(situation(stopped, base=base, doubtful=frozenset({"m1"}))) == ()
    assert now.by_id["m1"].image != OLD
