from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.api.meaning import call_failed
from deploy.errors import AppFailed, DeployError, LeaseHeld, LeaseLost, Outage
from deploy.orchestrator.outcome import Failure, Outcome
from deploy.plan.actions import Action, Destroy

APP = AppFailed("it exits")
REJECTED = call_failed("wrong", operation="update", status=422)
HELD = LeaseHeld("bob", machine_id="m")
OUTAGE = Outage("silence")
HICCUP = call_failed("busy", operation="update", status=429, retry_after_s=9.0)
LOST = LeaseLost("gone", machine_id="m")


def failed(*errors: DeployError, action: Action | None = None) -> Outcome:
    failures = tuple(Failure(error, action or Action(machine_id="m")) for error in errors)
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
    removal, update = Failure(HICCUP, Destroy(machine_id="m")), Failure(HICCUP, Action())
    assert not Outcome(left=2, failures=(removal, update)).is_in_place
    assert not Outcome().is_in_place
