from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Fleet
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.window import Window, windows
from deploy.plan.actions import Action, Update
from deploy.plan.base import Base
from deploy.plan.release import Release
from tests.deploy.plan.orders import order_of, steps_of
from tests.worlds.fleets import (
    PureFleet,
    group,
    machine,
    plan,
    release,
    situations,
    thrifty,
)


def _fleet(serving: int, sick: int = 0) -> Fleet:
    return Fleet.of(
        [
            *(machine(f"m{n:02}") for n in range(serving)),
            *(machine(f"s{n:02}", checks=()) for n in range(sick)),
        ]
    )


def _memory(fleet: Fleet, wanted: Release | None = None) -> Memory:
    """Of a run that has just begun on this fleet."""
    return Memory(wanted or release(), Base.of(fleet))


@pytest.mark.parametrize(
    ("said", "serving", "sick", "limit"),
    [
        (Decimal("0.33"), 6, 0, 2),
        (Decimal("0.33"), 6, 6, 2),
        (3, 6, 0, 3),
        (Decimal("0.1"), 2, 5, 1),
    ],
)
def test_a_window_is_of_what_served_at_first(
    said: Decimal | int, serving: int, sick: int, limit: int
) -> None:
    fleet = _fleet(serving, sick)
    window = windows(_memory(fleet, release(max_unavailable=said)), fleet)["web"]
    assert (window.limit, len(window.counted), window.out) == (limit, serving, set())
    assert window.has_place("s00")


def test_each_group_has_a_window_of_its_own() -> None:
    fleet = Fleet.of([machine("m1"), machine("m2", group("worker"))])
    both = windows(_memory(fleet), fleet)
    assert both["web"].counted == {"m1"}
    assert both["worker"].counted == {"m2"}


def test_machines_that_we_left_out_of_service_hold_their_places() -> None:
    fleet = _fleet(4)
    memory = _memory(fleet, release(max_unavailable=2))
    memory.updating("m01")
    broken = Fleet.of(replace(m, checks=()) if m.id in ("m01", "m02") else m for m in fleet)
    window = windows(memory, broken)["web"]
    assert window.out == {"m01"}  # m02 is sick, and not because of us
    assert window.has_place("m03")
    window.leave("m03")
    assert not window.has_place("m00")
    assert window.has_place("m01")


def test_who_turned_sick_takes_a_place_and_beyond_them_the_window_is_overdrawn() -> None:
    window = Window(2, frozenset({"m1", "m2", "m3", "m4"}))
    window.sick = frozenset({"m1"})
    assert window.has_place("m2")
    window.leave("m2")
    assert not window.has_place("m3")
    assert window.has_place("m1")  # it is out of service already
    assert not window.is_overdrawn
    window.sick = frozenset({"m1", "m3"})
    assert window.is_overdrawn
    window.back("m2")
    assert not window.is_overdrawn  # as many as may be
    window.sick = frozenset()
    window.out = {"m1", "m2", "m3"}
    assert not window.is_overdrawn  # that is ours, and not the app's


def test_what_an_earlier_run_of_this_deploy_wrote_to_holds_a_place_too() -> None:
    platform = PureFleet(_fleet(3))
    base = Base.of(platform.fleet)
    (first, *_) = plan(release(), platform.fleet, base)
    assert isinstance(first, Update)
    platform.apply(first)
    down = Fleet.of(
        replace(m, checks=()) if m.id == first.machine_id else m for m in platform.fleet
    )
    assert windows(Memory(release(), base), down)["web"].out == {first.machine_id}


def test_a_machine_that_is_gone_because_of_us_holds_its_place() -> None:
    fleet = _fleet(3)
    memory = _memory(fleet)
    memory.updating("m00")
    left = Fleet.of(m for m in fleet if m.id != "m00")
    assert windows(memory, left)["web"].out == {"m00"}


@thrifty
@given(situations(strategies=("rolling", "canary")), st.randoms(use_true_random=False))
def test_never_more_than_max_unavailable_out_of_service(
    situation: tuple[Release, Fleet], chance: Any
) -> None:
    """Walk the schedule as an executor may: places are taken as they free, in any order."""
    wanted, fleet = situation
    base = Base.of(fleet)
    order = order_of(wanted, fleet)
    places = windows(_memory(fleet, wanted), fleet)
    out: dict[str, set[str]] = {}
    for _, track, step in steps_of(order):
        if not step.counted:
            continue
        window, waiting, moving = places[track.group], list(step.actions), list[Action]()
        while waiting or moving:
            if waiting and window.has_place(waiting[0].machine_id) and chance.random() < 0.7:
                action = waiting.pop(0)
                window.leave(action.machine_id)
                moving.append(action)
                out.setdefault(track.group, set()).add(action.machine_id)
            elif moving:
                back = moving.pop(chance.randrange(len(moving)))
                if chance.random() < 0.9:  # the rest stay out: nobody could settle them
                    window.back(back.machine_id)
                    out[track.group].discard(back.machine_id)
            elif not window.has_place(waiting[0].machine_id):
                break
            serving = out.get(track.group, set()) & base.serving
            assert len(serving) <= window.limit


@thrifty
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh")), max_size=60),
)
def test_a_window_holds_its_limit_through_any_coming_and_going(
    limit: int, moves: list[tuple[bool, str]]
) -> None:
    window = Window(limit, frozenset("abcdef"))
    for leaves, machine_id in moves:
        if not leaves:
            window.back(machine_id)
        elif window.has_place(machine_id):
            window.leave(machine_id)
        assert len(window.out) <= limit
        assert window.out <= window.counted
