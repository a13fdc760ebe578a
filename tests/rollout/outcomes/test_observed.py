"""What is not as it should be has one clear line, and a defined result."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.outcomes.observed import WORDS, Reason, observe
from tests.rollout.outcomes.making import DAY, FLAG, START, apps, asked, made, records

INSIDE, OUTSIDE = apps(True, 50.0, 1)[0], apps(False, 50.0, 1)[0]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (made(v=3), "version"),
        (made(v=0, assigned=None), "version"),
        (made(flag="other"), "flag"),
        (made(assigned=None), "unassigned"),
        (made(reason="TARGETING_MATCH"), "not-drawn"),
        (made(percent=100.0, unit=None, bucket=None, reason="STATIC"), "static"),
        (made(reason="DISABLED"), "not-drawn"),
        (made(unit=None, reason="ERROR"), "not-drawn"),
        (made(percent=None), "percent"),
        (made(percent=100.5), "percent"),
        (made(percent=-1.0), "percent"),
        (made(percent=0.0005), "percent"),
        (made(app=INSIDE, variant="outside"), "contradiction"),
        (made(app=OUTSIDE, variant="inside"), "contradiction"),
        (made(bucket=17), "other-draw"),
        ({key: value for key, value in made().items() if key != "at"}, "undated"),
        (made(at=0.0), "undated"),
        (made(at=-1e300, result="failed"), "undated"),
        (made(at=-62_200_000_000, result=None), "undated"),
        (made(at=1e300), "later"),
        (made(app="hello", unit="other"), "other-unit"),
        (made(at=START + 1000 * DAY + 1), "later"),
        (made(result=None, at=START + 1000 * DAY - 3600), "running"),
        (made(deploy="", deploy_id="", run_id=""), "unnamed"),
        (made(command="resume"), "continued"),
        (made(command="rollback"), "continued"),
        (made(result="leased"), "leased"),
        (made(result="in-between", cause="leased"), "leased"),
    ],
)
def test_a_record_that_cannot_be_analysed_is_left_out_and_counted(
    wrong: dict[str, Any], reason: Reason
) -> None:
    found = observe(records([wrong, made(7)]), asked())
    assert found.left == {reason: 1}
    assert reason in WORDS
    assert sum(cell.deploys for cell in found.cells.values()) == 1
    assert found.failures == []


def test_a_start_without_an_end_is_a_failure_of_unknown_cause() -> None:
    found = observe(records([made(result=None, cause=None)]), asked())
    assert [failure.counted for failure in found.failures] == [True]
    assert [cell.causes for cell in found.cells.values()] == [{"unknown": 1}]


def test_of_a_start_and_an_end_in_two_places_the_end_counts() -> None:
    start, end = made(result=None), made(result="done", at=START + 40)
    for order in ([start, end], [end, start]):
        found = observe(records(order), asked())
        assert (found.failures, found.left) == ([], {"repeated": 1})


def test_two_records_of_one_run_count_once() -> None:
    found = observe(records([made(1, result="failed"), made(1, result="failed"), made(2)]), asked())
    assert len(found.failures) == 1
    assert found.left == {"repeated": 1}
    assert sum(cell.deploys for cell in found.cells.values()) == 2


def test_the_outcome_of_a_deploy_is_that_of_its_first_run() -> None:
    first = made(1, result="failed", at=START)
    second = made(1, result="done", at=START + DAY, run_id="later")
    for order in ([first, second], [second, first]):
        assert len(observe(records(order), asked()).failures) == 1


def test_a_unit_on_both_sides_at_one_percentage_counts_on_the_side_of_its_bucket() -> None:
    right, wrong = made(1, INSIDE), made(2, INSIDE, variant="outside", result="failed")
    found = observe(records([right, wrong]), asked())
    assert found.left == {"contradiction": 1}
    assert found.failures == []


def test_a_number_given_by_hand_is_analysed_as_assigned() -> None:
    by_hand = made(1, OUTSIDE, result="failed", decision={"source": "option", "sentence": "asked"})
    found = observe(records([by_hand]), asked())
    assert [failure.inside for failure in found.failures] == [False]


def test_version_1_is_read_and_what_it_lacks_is_said() -> None:
    told = {"flag": FLAG, "unit": "hello", "bucket": 6343, "percent": 50.0, "reason": "SPLIT",
            "source": "flags.yaml", "sentence": "so"}  # fmt: skip
    flag_asked = made(1, v=1, assigned=None, deploy="", decision=told, result="failed", cause=None)
    by_hand = made(2, v=1, assigned=None, deploy="", decision={"source": "option"})
    found = observe(records([flag_asked, by_hand]), asked())
    assert found.left == {"by-hand": 1}
    assert found.first_version == 1
    assert [failure.inside for failure in found.failures] == [True]
    assert [cell.causes for cell in found.cells.values()] == [{"unknown": 1}]


@pytest.mark.parametrize(
    ("event", "counted"),
    [
        ("not-done", ["app", "killed", "platform", "split"]),
        ("platform", ["killed", "platform"]),
        ("in-between", ["split"]),
    ],
)
def test_the_event_says_which_deploys_are_failures(event: str, counted: list[str]) -> None:
    stories = {
        "fine": made(1, "fine"), "same": made(2, "same", result="unchanged"),
        "app": made(3, "app", result="rolled-back", cause="app"),
        "platform": made(4, "platform", result="failed", cause="platform"),
        "killed": made(5, "killed", result=None, cause=None),
        "split": made(6, "split", result="in-between", cause="rejected"),
    }  # fmt: skip
    found = observe(records(stories.values()), asked(event=event))
    assert sorted(failure.unit for failure in found.failures if failure.counted) == counted
    assert [failure.unit for failure in found.failures if failure.control] == ["app"]


def test_a_deploy_can_be_a_failure_for_being_slow() -> None:
    from rollout.flag.guard import Event

    question = asked()._replace(event=Event("slower", 60))
    slow, fast = made(1, "slow", duration_s=60.5), made(2, "fast", duration_s=59)
    assert [f.unit for f in observe(records([slow, fast]), question).failures] == ["slow"]
