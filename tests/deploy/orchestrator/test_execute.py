from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from deploy.orchestrator.ledger import Ledger
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Fleet
from deploy.api.meaning import call_failed
from deploy.errors import (
    AppFailed,
    DeployError,
    LeaseHeld,
    LeaseLost,
    Outage,
)
from deploy.orchestrator.outcome import Failure, Outcome
from deploy.orchestrator.window import windows
from deploy.plan.actions import Action, Destroy, Update
from deploy.plan.base import Base
from tests.worlds.fleets import PureFleet, group, machine, plan, release

APP = AppFailed("it exits")
REJECTED = call_failed("wrong", operation="update", status=422)
HELD = LeaseHeld("bob", machine_id="m")
OUTAGE = Outage("silence")
HICCUP = call_failed("busy", operation="update", status=429, retry_after_s=9.0)
LOST = LeaseLost("gone", machine_id="m")


def failed(*errors: DeployError, action: Action | None = None) -> Outcome:
    failures = tuple(Failure(action or Action(machine_id="m"), error) for error in errors)
    return Outcome(left=len(failures), failures=failures)


@given(st.permutations([APP, REJECTED, HELD, OUTAGE, HICCUP]), st.integers(1, 5))
def test_app_before_rejected_before_lease_before_outage_before_hiccup_decides(
    errors: list[DeployError], count: int
) -> None:
    shown = errors[:count]
    order = [APP, REJECTED, HELD, OUTAGE, HICCUP]
    assert failed(*shown).cause is min(shown, key=order.index)


def test_without_failures_there_is_no_cause() -> None:
    assert Outcome().cause is None
    assert Outcome().is_complete
    assert not Outcome(left=1).is_complete
    assert not failed(LOST).is_complete


def test_the_longest_retry_after_counts() -> None:
    short = call_failed("busy", operation="list", status=429, retry_after_s=2.0)
    assert failed(HICCUP, short, APP).retry_after_s == 9.0
    assert failed(APP).retry_after_s == 0.0


def test_a_deploy_is_in_place_when_only_cleaning_up_has_failed() -> None:
    assert failed(HICCUP, action=Destroy(machine_id="m")).is_in_place
    assert not failed(HICCUP).is_in_place
    assert not Outcome().is_in_place


# -- windows -----------------------------------------------------------------------------


def _fleet(serving: int, sick: int = 0) -> Fleet:
    return Fleet.of(
        [
            *(machine(f"m{n:02}") for n in range(serving)),
            *(machine(f"s{n:02}", checks=()) for n in range(sick)),
        ]
    )


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
    window = windows(release(max_unavailable=said), fleet, Base.of(fleet), Ledger())["web"]
    assert (window.limit, len(window.counted), window.out) == (limit, serving, set())
    assert window.has_place("s00")


def test_each_group_has_a_window_of_its_own() -> None:
    fleet = Fleet.of([machine("m1"), machine("m2", group("worker"))])
    both = windows(release(), fleet, Base.of(fleet), Ledger())
    assert both["web"].counted == {"m1"}
    assert both["worker"].counted == {"m2"}


def test_machines_that_we_left_out_of_service_hold_their_places() -> None:
    fleet = _fleet(4)
    base, ledger = Base.of(fleet), Ledger()
    ledger.begin("m01")
    broken = Fleet.of(replace(m, checks=()) if m.id in ("m01", "m02") else m for m in fleet)
    window = windows(release(max_unavailable=2), broken, base, ledger)["web"]
    assert window.out == {"m01"}  # m02 is sick, and not because of us
    assert window.has_place("m03")
    window.leave("m03")
    assert not window.has_place("m00")
    assert window.has_place("m01")


def test_what_an_earlier_run_of_this_deploy_wrote_to_holds_a_place_too() -> None:
    platform = PureFleet(_fleet(3))
    base = Base.of(platform.fleet)
    (first, *_) = plan(release(), platform.fleet, base)
    assert isinstance(first, Update)
    platform.apply(first)
    down = Fleet.of(
        replace(m, checks=()) if m.id == first.machine_id else m for m in platform.fleet
    )
    assert windows(release(), down, base, Ledger())["web"].out == {first.machine_id}


def test_a_machine_that_is_gone_because_of_us_holds_its_place() -> None:
    fleet = _fleet(3)
    ledger = Ledger()
    ledger.begin("m00")
    left = Fleet.of(m for m in fleet if m.id != "m00")
    assert windows(release(), left, Base.of(fleet), ledger)["web"].out == {"m00"}
