"""The bulk kernel against the one line of the standard."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollout.bucketing import BUCKETS, bucket
from rollout.bulk import between, hashes, limit
from rollout.errors import InvalidValue
from tests.rollout.strategies import salts, thresholds, units

lists_of_units = st.lists(units, max_size=20)


@given(thresholds, st.integers(0, 2**32 - 1))
def test_comparing_hashes_is_comparing_buckets(threshold: int, place: int) -> None:
    assert (place < limit(threshold)) is ((place * BUCKETS) >> 32 < threshold)


@given(thresholds)
@example(0)
@example(100_000)
def test_the_limit_is_exact_to_the_last_hash(threshold: int) -> None:
    first_outside = limit(threshold)
    assert first_outside == 0 or ((first_outside - 1) * BUCKETS) >> 32 < threshold
    assert (first_outside * BUCKETS) >> 32 >= threshold


@given(salts, lists_of_units)
@example("s", ["x" * 255, "x" * 256, "", "x" * 70_000])
def test_a_hash_leads_to_the_bucket_of_the_standard(salt: str, texts: list[str]) -> None:
    places = hashes(salt, [text.encode() for text in texts])
    assert [(place * BUCKETS) >> 32 for place in places] == [bucket(salt, text) for text in texts]


@given(salts, lists_of_units, thresholds, thresholds)
@example("s", ["x" * 256, "a", "a"], 0, 100_000)
@example("s", ["x" * 256, "a", "b"], 1, 100_000)
@example("s", ["a", "b"], 100_000, 0)
def test_between_are_the_units_from_one_threshold_up_to_the_other(
    salt: str, texts: list[str], low: int, high: int
) -> None:
    expected = [text.encode() for text in texts if low <= bucket(salt, text) < high]
    assert between(salt, [text.encode() for text in texts], low, high) == expected


def test_a_salt_that_utf8_cannot_carry_is_an_error() -> None:
    with pytest.raises(InvalidValue, match="not text that UTF-8 can carry"):
        hashes("\ud800", [b"a"])
