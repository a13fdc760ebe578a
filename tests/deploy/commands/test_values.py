from __future__ import annotations

from decimal import Decimal

import click
import pytest

from deploy.commands.values import ALL, Duration, MaxUnavailable


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1m30s", 90.0), ("500ms", 0.5)],
)
def test_a_duration_is_seconds_or_says_its_unit(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "0", "5 parsecs", "1m30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "number"),
    [("2", 2), ("0.33", Decimal("0.33")), ("33%", Decimal("0.33")), ("1", 1), ("100%", ALL)],
)
def test_max_unavailable_is_a_count_or_a_fraction(text: str, number: Decimal | int) -> None:
    assert MaxUnavailable().convert(text, None, None) == number


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "NaN", "inf", "0%", "", "101%", "150%"])
def test_what_can_be_neither_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        MaxUnavailable().convert(text, None, None)
