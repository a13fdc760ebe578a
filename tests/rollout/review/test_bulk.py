"""The bulk kernel against the one line of the standard."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollout.bucketing import Draw, bucket, bucket_of, limit
from rollout.errors import InvalidValue
from rollout.review.bulk import below, between, hashes
from tests.rollout.strategies import draws, thresholds, units

lists_of_units = st.lists(units, max_size=20)


@given(draws, lists_of_units)
@example(Draw("s"), ["x" * 255, "x" * 256, "", "x" * 70_000])
def test_a_hash_leads_to_the_bucket_of_the_standard(draw: Draw, texts: list[str]) -> None:
    places = hashes(draw, [text.encode() for text in texts])
    assert list(map(bucket_of, places)) == [bucket(draw, text) for text in texts]


@given(draws, lists_of_units, thresholds, thresholds)
@example(Draw("s"), ["x" * 256, "a", "a"], 0, 100_000)
@example(Draw("s"), ["x" * 256, "a", "b"], 1, 100_000)
@example(Draw("s"), ["a", "b"], 100_000, 0)
def test_between_are_the_units_from_one_threshold_up_to_the_other(
    draw: Draw, texts: list[str], low: int, high: int
) -> None:
    expected = [text.encode() for text in texts if low <= bucket(draw, text) < high]
    assert between(draw, [text.encode() for text in texts], low, high) == expected


@given(draws, lists_of_units, thresholds)
@example(Draw("s"), ["x" * 256, "a", "a"], 100_000)
@example(Draw("s"), ["x" * 256, "a"], 0)
def test_below_are_the_hashes_of_the_units_inside(
    draw: Draw, texts: list[str], threshold: int
) -> None:
    expected = [bucket(draw, text) for text in texts if bucket(draw, text) < threshold]
    found = below(draw, [text.encode() for text in texts], threshold)
    assert list(map(bucket_of, found)) == expected


def test_a_hash_that_is_the_first_of_its_bucket_is_on_the_right_side() -> None:
    units = [b"app-10627", b"app-37014"]
    places = hashes(Draw("deploy-retries"), units)
    first, second = map(bucket_of, places)
    assert places == [limit(first), limit(second)]
    assert below(Draw("deploy-retries"), units, first) == []
    assert below(Draw("deploy-retries"), units, second) == places[:1]
    assert between(Draw("deploy-retries"), units, 0, second) == units[:1]
    assert between(Draw("deploy-retries"), units, first, second) == units[:1]
    assert between(Draw("deploy-retries"), units, second, 100_000) == units[1:]


def test_a_salt_that_utf8_cannot_carry_is_an_error() -> None:
    with pytest.raises(InvalidValue, match="not text that UTF-8 can carry"):
        hashes(Draw("\ud800"), [b"a"])
