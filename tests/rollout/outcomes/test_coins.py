from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.bucketing import BUCKETS
from rollout.outcomes.coins import EVERYWHERE, Coin, Interval, toss


def test_the_first_failure_of_a_unit_is_inside_with_the_percentage() -> None:
    assert toss(EVERYWHERE, 5_000, True) == (Coin(5_000, BUCKETS, True), Interval(0, 5_000))
    assert toss(EVERYWHERE, 5_000, False) == (Coin(5_000, BUCKETS, False), Interval(5_000, BUCKETS))


def test_a_second_failure_at_the_same_percentage_tells_nothing() -> None:
    for inside in (True, False):
        _, known = toss(EVERYWHERE, 5_000, inside)
        assert toss(known, 5_000, inside) == (None, known)


def test_one_that_was_outside_falls_inside_later_with_what_is_left_of_its_interval() -> None:
    _, known = toss(EVERYWHERE, 5_000, False)
    assert toss(known, 10_000, True)[0] == Coin(5_000, 95_000, True)


@pytest.mark.parametrize("threshold", [0, BUCKETS])
def test_where_everybody_is_on_one_side_there_is_no_coin(threshold: int) -> None:
    assert toss(EVERYWHERE, threshold, threshold == BUCKETS) == (None, EVERYWHERE)


def test_a_bucket_cannot_be_inside_and_outside_at_one_percentage() -> None:
    _, known = toss(EVERYWHERE, 5_000, True)
    with pytest.raises(ValueError, match="5000"):
        toss(known, 5_000, False)


@given(
    place=st.integers(0, BUCKETS - 1),
    path=st.lists(st.integers(0, BUCKETS), max_size=12),
)
def test_the_interval_always_holds_the_bucket_and_only_shrinks(place: int, path: list[int]) -> None:
    known = EVERYWHERE
    for threshold in path:
        coin, after = toss(known, threshold, place < threshold)
        assert after.low <= place < after.high
        assert known.low <= after.low < after.high <= known.high
        assert (coin is None) == (after == known)
        if coin:
            assert 0 < coin.part < coin.whole
        known = after
