from __future__ import annotations

from math import log
from typing import Any

import msgspec
import pytest

from rollout.flag import Flag
from rollout.flag.guard import Guard
from rollout.outcomes.ledger import Ledger
from rollout.outcomes.verdict import Outlook, Verdict, decide, doubted, odds, outlook, span
from tests.rollout.outcomes.making import DAY, FLAG, START, apps, ledger_of, made

NOW = START + 30 * DAY


def flag(percent: float, **others: Any) -> Flag:
    return Flag(
        key=FLAG, bucket_by="deploy", inside=5, outside=0, rollout=int(percent * 1000), salt=FLAG,
        **others,
    )  # fmt: skip


def deploys(count: int, percent: float, at: float = START, **others: Any) -> list[dict[str, Any]]:
    return [made(n, f"app-{n}", percent, at=at + n, by="deploy", **others) for n in range(count)]


def only(reports: list[dict[str, Any]], variant: str, keep: int) -> list[dict[str, Any]]:
    fitting = [report for report in reports if report["assigned"]["variant"] == variant]
    return fitting[:keep]


def judged(percent: float, ledger: Ledger, **others: Any) -> Verdict:
    return decide(flag(percent, **others), ledger)


def harmed() -> list[dict[str, Any]]:
    """Failures inside only, and enough that they cannot be chance."""
    return only(deploys(400, 50.0, result="failed"), "inside", 40)


def fine(percent: float = 5.0) -> list[dict[str, Any]]:
    """A thousand deploys, 400 failures on both sides alike."""
    told = deploys(1000, percent)
    return [report | {"result": "failed"} if n % 5 < 2 else report for n, report in enumerate(told)]


def test_failures_that_are_more_frequent_inside_kill() -> None:
    verdict = judged(50, ledger_of(harmed(), "deploy", NOW))
    assert (verdict.kind, verdict.to) == ("kill", None)
    assert verdict.sentence.startswith(f"{FLAG}, failures are more frequent inside: ")


def test_enough_evidence_time_and_units_advance_to_the_next_stage() -> None:
    verdict = judged(5, ledger_of(fine(), "deploy", NOW))
    assert (verdict.kind, verdict.to) == ("advance", 10_000)


def test_before_the_stage_was_seen_for_long_enough_it_holds() -> None:
    verdict = judged(5, ledger_of(fine(), "deploy", START + 3 * 3600))
    assert verdict.kind == "hold"
    assert verdict.missing == ("21 h more at 5 %",)


def test_before_there_are_enough_units_it_holds() -> None:
    guard = Guard(min_units=100)
    verdict = judged(5, ledger_of(fine(), "deploy", NOW, guard))
    assert verdict.missing == ("units: 50.0 of 100 inside",)


def test_before_there_is_enough_evidence_it_says_how_much_is_missing() -> None:
    verdict = judged(5, ledger_of(deploys(700, 5.0), "deploy", NOW))
    assert verdict.missing == ("evidence for 10 %: 1 to 1 of 20",)
    assert outlook(flag(5), ledger_of([], "deploy", NOW)) == Outlook(48, 132, None)
    later = outlook(flag(5), ledger_of(fine()[:60], "deploy", NOW))
    assert later.half is not None
    assert later.half < 48
    assert later.days is not None
    assert outlook(flag(5), ledger_of(fine(), "deploy", NOW)) == Outlook()
    assert outlook(flag(5, enabled=False), ledger_of([], "deploy", NOW)) == Outlook()


def test_the_evidence_counts_however_it_fell_afterwards() -> None:
    reached = fine()
    spoiled = [*reached, *only(deploys(3000, 5.0, at=START + DAY, result="failed"), "inside", 12)]
    spoiled = [r | {"deploy": f"x{n}"} if n >= 1000 else r for n, r in enumerate(spoiled)]
    assert judged(5, ledger_of(reached, "deploy", NOW)).kind == "advance"
    assert ledger_of(spoiled, "deploy", NOW).tests.advance[10_000].peak >= 2.99


def test_records_that_are_missing_on_one_side_hold_it() -> None:
    # Every fifth deploy inside is there, and all of those outside.
    told = fine(50.0)
    kept = [r for n, r in enumerate(told) if r["assigned"]["variant"] == "outside" or n % 5 == 0]
    kept = [r | {"result": "done"} for r in kept]
    verdict = judged(50, ledger_of(kept, "deploy", NOW))
    assert verdict.kind == "hold"
    assert verdict.missing[0].startswith("records are missing in one cohort: more than 10^")


def test_failures_of_the_apps_own_that_differ_hold_it() -> None:
    told = only(deploys(400, 50.0, result="failed", cause="app"), "outside", 20)
    ledger = ledger_of([*told, *only(deploys(400, 50.0), "inside", 20)], "deploy", NOW)
    verdict = judged(50, ledger)
    assert verdict.kind == "hold"
    assert any("failures of the apps' own differ" in missing for missing in verdict.missing)


def test_a_kill_is_not_kept_from_being_done_by_doubts() -> None:
    told = [report | {"cause": "app"} for report in harmed()]
    assert judged(50, ledger_of(told, "deploy", NOW)).kind == "kill"


def test_the_last_stage_is_held_for_14_days_and_then_the_flag_can_go() -> None:
    told = fine(95.0)
    verdict = judged(95, ledger_of(told, "deploy", START + 10 * DAY))
    assert (verdict.kind, verdict.missing) == ("hold", ("4 d more as a holdback",))
    verdict = judged(95, ledger_of(told, "deploy", START + 15 * DAY))
    assert (verdict.kind, verdict.finished) == ("hold", True)


@pytest.mark.parametrize(
    ("percent", "others", "sentence"),
    [
        (100, {}, "is at 100 %: without a control nothing can be decided"),
        (0, {}, "is at 0 %: nobody is inside"),
        (50, {"enabled": False}, "is off: there is nothing to decide"),
    ],
)
def test_where_nothing_can_be_decided_it_says_so(
    percent: float, others: dict[str, Any], sentence: str
) -> None:
    verdict = judged(percent, ledger_of(harmed() if percent else [], "deploy", NOW), **others)
    assert (verdict.kind, verdict.sentence) == ("hold", f"{FLAG} {sentence}")
    assert verdict.finished is (percent == 100)


def test_records_are_missing_from_a_thousand_to_one_on() -> None:
    """All apps whose records there are happen to be inside."""
    names, ratios = apps(True, 50.0, 30), []
    for number in range(1, 30):
        ledger = ledger_of([made(n, name, 50.0) for n, name in enumerate(names[:number])])
        ratios.append(ledger.sample_ratio)
        assert bool(doubted(ledger)) is (ledger.sample_ratio >= log(1000))
    assert any(log(500) < ratio < log(1000) for ratio in ratios)
    assert any(log(1000) < ratio < log(2000) for ratio in ratios)


def test_without_records_it_holds() -> None:
    assert judged(5, ledger_of([], "deploy", NOW)).kind == "hold"


def test_a_percentage_between_stages_goes_to_the_one_above() -> None:
    assert Guard().next_stage(7_000) == 10_000
    assert Guard().next_stage(95_000) is None
    assert msgspec.structs.replace(Guard(), stages=(1_000,)).next_stage(0) == 1_000


@pytest.mark.parametrize(
    ("log_e", "text"),
    [(0.0, "1 to 1"), (4.7184989, "112 to 1"), (-3.0, "0.05 to 1"), (30.0, "more than 10^13 to 1")],
)
def test_evidence_reads_as_odds(log_e: float, text: str) -> None:
    assert odds(log_e) == text


@pytest.mark.parametrize(("seconds", "text"), [(61, "2 min"), (7300, "3 h"), (9 * DAY, "9 d")])
def test_spans_are_rounded_up(seconds: float, text: str) -> None:
    assert span(seconds) == text
