"""The limiter: a second's worth at once, then the rate, each client by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.serving.limiter import Limiter


def test_a_seconds_worth_may_come_at_once() -> None:
    limiter = Limiter(4)
    assert [limiter.wait_s("a", 100.0) for _ in range(5)] == [0, 0, 0, 0, 0.25]
    assert limiter.wait_s("b", 100.0) == 0
    assert limiter.wait_s("a", 100.25) == 0
    assert limiter.wait_s("a", 100.25) == pytest.approx(0.25)


def test_silence_earns_no_more_than_a_second() -> None:
    limiter = Limiter(4)
    assert limiter.wait_s("a", 0.0) == 0
    assert [limiter.wait_s("a", 100.0) for _ in range(5)] == [0, 0, 0, 0, 0.25]


def test_below_one_per_second_one_may_come() -> None:
    limiter = Limiter(0.1)
    assert limiter.wait_s("a", 0.0) == 0
    assert limiter.wait_s("a", 0.0) == pytest.approx(10)
    assert limiter.wait_s("a", 10.0) == 0


@given(st.floats(0.1, 50), st.lists(st.floats(0, 2), min_size=1, max_size=200), st.integers(1, 30))
def test_no_more_than_the_rate_and_a_second_passes(
    rate: float, pauses: list[float], length_s: int
) -> None:
    limiter, now, passed = Limiter(rate), 0.0, 0
    for pause in pauses:
        now += pause
        if now > length_s:
            break
        passed += limiter.wait_s("a", now) == 0
    assert passed <= rate * min(now, length_s) + max(rate, 1) + 1e-6


@given(st.floats(0.1, 50), st.lists(st.floats(0, 0.5), min_size=1, max_size=50))
def test_whoever_waits_as_told_may_go_on(rate: float, pauses: list[float]) -> None:
    limiter, now = Limiter(rate), 0.0
    for pause in pauses:
        now += pause
        if wait := limiter.wait_s("a", now):
            now += wait
            assert limiter.wait_s("a", now) == 0


def test_it_remembers_a_bounded_number_of_clients() -> None:
    limiter = Limiter(1)
    for number in range(10_100):
        assert limiter.wait_s(str(number), 0.0) == 0
    assert limiter.wait_s("10099", 0.0) > 0
    assert limiter.wait_s("0", 0.0) == 0
    assert len(limiter._paid_until) == 10_000
