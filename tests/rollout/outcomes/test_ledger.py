from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.bucketing import Draw
from rollout.errors import InvalidValue
from rollout.flag.guard import Guard
from rollout.outcomes import state
from rollout.outcomes.ledger import Ledger
from rollout.outcomes.observed import observe
from tests.rollout.outcomes.making import DAY, FLAG, START, apps, asked, ledger_of, made, records

RESULTS = ("done", "done", "done", "failed", "in-between", "rolled-back", "unchanged", None)
PERCENTS = (5.0, 10.0, 10.0, 50.0)


def story(seed: int, by: str = "app") -> list[dict[str, Any]]:
    """A few days of deploys of 30 apps while the percentage goes up and down."""
    rng = random.Random(seed)
    path = [rng.choice(PERCENTS) for _ in range(8)]
    return [
        made(
            number, f"app-{rng.randrange(30)}", path[number // 20], rng.choice(RESULTS),
            at=START + number * 3600.0, by=by, cause=rng.choice(["app", "platform", None]),
            duration_s=rng.random() * 100,
        )
        for number in range(160)
    ]  # fmt: skip


few = settings(max_examples=15)
seeds = st.integers(0, 10_000)
ways = st.sampled_from(["app", "deploy"])


def evidence(ledger: Ledger) -> dict[str, Any]:
    tests = ledger.tests
    found = {name: getattr(tests, name).logs for name in tests._fields if name != "advance"}
    return found | {str(at): (test.logs, test.peak) for at, test in tests.advance.items()}


@few
@given(seed=seeds, by=ways)
def test_the_order_of_the_records_changes_no_byte(seed: int, by: str) -> None:
    told = story(seed, by)
    mixed = random.Random(seed).sample(told, len(told))
    assert state.dump(ledger_of(mixed, by)) == state.dump(ledger_of(told, by))


@few
@given(seed=seeds, by=ways, cut=st.integers(0, 160))
def test_what_comes_later_needs_nothing_of_what_came_before_but_the_state(
    seed: int, by: str, cut: int
) -> None:
    told = [report | {"result": report["result"] or "failed"} for report in story(seed, by)]
    kept = state.dump(ledger_of(told[:cut], by, START + (cut - 0.5) * 3600.0))
    whole = state.dump(ledger_of(told, by))
    for given_now in (told[cut:], told):  # what came before may be given again
        after = state.load(kept, asked(by), Guard(), "state.json")
        after.take(observe(records(given_now), after.question))
        assert state.dump(after) == whole


@few
@given(seed=seeds)
def test_a_failure_that_comes_late_is_counted_all_the_same(seed: int) -> None:
    told = story(seed, "deploy")
    late = [report for report in told if report["result"] == "failed"][:3]
    before = ledger_of([report for report in told if report not in late], "deploy")
    after = state.load(state.dump(before), asked("deploy"), Guard(), "state.json")
    after.take(observe(records(told), after.question))
    whole = ledger_of(told, "deploy")
    assert after.coins == whole.coins
    for one, other in zip(after.tests.harm.logs, whole.tests.harm.logs, strict=True):
        assert one == pytest.approx(other)


@pytest.mark.parametrize("by", ["app", "deploy"])
@pytest.mark.parametrize("result", ["done", "failed"])
def test_a_run_that_was_counted_as_a_failure_is_not_counted_again_when_it_ends(
    by: str, result: str
) -> None:
    start, end = made(1, result=None, by=by), made(1, result=result, by=by, at=START + 7 * 3600)
    before = ledger_of([start], by, START + 6.5 * 3600)
    after = state.load(state.dump(before), asked(by), Guard(), "state.json")
    after.take(observe(records([end]), after.question))
    assert (before.coins, after.coins) == (1, 1)
    assert sum(cell.deploys for cell in after.cells.values()) == 1


@few
@given(seed=seeds)
def test_losing_records_of_deploys_that_succeeded_changes_no_evidence(seed: int) -> None:
    told, rng = story(seed), random.Random(seed)
    kept = [r for r in told if r["result"] not in ("done", "unchanged") or rng.random() < 0.5]
    assert evidence(ledger_of(kept)) == evidence(ledger_of(told))


@few
@given(seed=seeds)
def test_other_names_for_the_units_change_no_evidence(seed: int) -> None:
    question = asked()
    seen = observe(records(story(seed)), question)
    one, other = Ledger(question, Guard()), Ledger(question, Guard())
    one.take(seen)
    seen.failures = [replace(failure, unit=failure.unit[::-1]) for failure in seen.failures]
    other.take(seen)
    assert evidence(one) == evidence(other)


@few
@given(seed=seeds, by=ways, parts=st.integers(1, 3))
def test_where_the_records_are_kept_changes_no_byte(seed: int, by: str, parts: int) -> None:
    told, question = story(seed, by), asked(by)
    ledger = Ledger(question, Guard())
    ledger.take(*(observe(records(told[part::parts]), question) for part in range(parts)))
    assert state.dump(ledger) == state.dump(ledger_of(told, by))


def test_a_deploy_in_two_places_is_refused() -> None:
    one = observe(records([made(1, result="failed")]), asked())
    with pytest.raises(InvalidValue, match="the deploy d00000001 is in two places of the records"):
        Ledger(asked(), Guard()).take(one, one)


def test_an_app_that_fails_again_and_again_is_one_coin() -> None:
    failing = apps(True, 5.0, 1)[0]
    once = ledger_of([made(0, failing, 5.0, "failed")])
    often = ledger_of([made(number, failing, 5.0, "failed") for number in range(50)])
    assert (often.coins, often.skipped) == (1, 49)
    assert evidence(often) == evidence(once)


def test_deploys_as_units_are_a_coin_each() -> None:
    ledger = ledger_of([made(n, "hello", 5.0, "failed", by="deploy") for n in range(50)], "deploy")
    assert (ledger.coins, ledger.skipped, ledger.units) == (50, 0, {})


def test_a_leased_run_is_no_failure() -> None:
    assert ledger_of([made(0, "hello", 5.0, "leased", cause="leased")]).coins == 0


def test_evidence_is_kept_by_day() -> None:
    outside = apps(False, 5.0, 4)
    ledger = ledger_of(
        [made(n, app, 5.0, "failed", at=START + n * DAY / 2) for n, app in enumerate(outside)]
    )
    assert [(day.date, day.coins) for day in ledger.days] == [("2026-11-18", 2), ("2026-11-19", 2)]
    assert ledger.days[-1].good == ledger.tests.good.log_e > ledger.days[0].good


@pytest.mark.parametrize(
    ("word", "other"),
    [("flag", "x"), ("bucket_by", "x"), ("salt", Draw("x")), ("bucketing", Draw(FLAG, "flagd-2"))],
)
def test_a_state_of_something_else_is_refused(word: str, other: Any) -> None:
    data = state.dump(ledger_of([made()]))
    field = word if word in ("flag", "bucket_by") else "draw"
    question = asked()._replace(**{field: other})
    with pytest.raises(InvalidValue, match=rf"s\.json was made with another {word}"):
        state.load(data, question, Guard(), "s.json")


def test_a_state_is_not_taken_back_in_time() -> None:
    ledger = ledger_of([made(1)])
    earlier = asked(now=ledger.question.now - 1)
    with pytest.raises(InvalidValue, match=r"s\.json has counted what came after --at"):
        state.load(state.dump(ledger), earlier, Guard(), "s.json")


@pytest.mark.parametrize("broken", [{}, {"logs": [], "peak": 0.0}])
def test_a_state_without_a_whole_test_is_refused(broken: dict[str, Any]) -> None:
    told = json.loads(state.dump(ledger_of([made(1)])))
    told["tests"]["harm"] = broken
    if not broken:
        del told["tests"]["harm"]
    with pytest.raises(InvalidValue, match=r"s\.json is not a state: its test harm is not whole"):
        state.load(json.dumps(told).encode(), asked(), Guard(), "s.json")


def test_a_state_that_is_cut_off_is_refused() -> None:
    data = state.dump(ledger_of([made()]))
    with pytest.raises(InvalidValue, match=r"s\.json is not a state"):
        state.load(data[:100], asked(), Guard(), "s.json")
