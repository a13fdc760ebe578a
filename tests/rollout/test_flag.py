"""What a Decision says to people."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from rollout.evaluate import evaluate
from rollout.flag import percent_text, value_text
from tests.rollout.strategies import NOW, flag, thresholds


@pytest.mark.parametrize(
    ("threshold", "text"),
    [(0, "0"), (1, "0.001"), (500, "0.5"), (5000, "5"), (12_340, "12.34"), (100_000, "100")],
)
def test_a_percentage_is_printed_exactly_and_as_short_as_can_be(threshold: int, text: str) -> None:
    assert percent_text(threshold) == text


@given(thresholds)
def test_no_percentage_is_rounded(threshold: int) -> None:
    assert Decimal(percent_text(threshold)) * 1000 == threshold


def test_the_sentence_of_a_deploy() -> None:
    decision = evaluate(flag(5000), {"app": "hello"}, NOW)
    assert decision.explain("auto") == "auto -> 0 (app hello is at 6.343 %, rollout is at 5 %)"
    assert decision.explain().startswith("deploy-retries -> 0 (")
    assert (decision.value, decision.reason, decision.unit) == (0, "SPLIT", "hello")
    assert (decision.bucket, decision.percent) == (6343, "5")


def test_a_unit_with_control_characters_stays_on_one_line() -> None:
    why = evaluate(flag(), {"app": "a\n\x1b[31m"}, NOW).why
    assert why.startswith('app "a\\n\\x1b[31m" is at ')


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (7, "7"), ("new", "new"), ("", '""')]
)
def test_values_are_printed_as_the_file_writes_them(value: bool | int | str, text: str) -> None:
    assert value_text(value) == text


def test_a_decision_cannot_be_changed() -> None:
    decision = evaluate(flag(), {"app": "hello"}, NOW)
    with pytest.raises(AttributeError):
        decision.bucket = 1  # type: ignore[misc] # the point of the test
