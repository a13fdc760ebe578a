from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.api.meaning import call_failed
from deploy.api.patience import PASS_LIMIT_S, Patience, between_passes
from deploy.errors import AppFailed, CallFailed, DeployError, Outage
from tests.contract.clocks import BACKENDS, run_on

T = TypeVar("T")


def _hiccup(retry_after_s: float | None = None) -> CallFailed:
    return call_failed("busy", operation="list", status=429, retry_after_s=retry_after_s)


class _Reads:
    """A read that fails so often, or for so long, and then answers."""

    def __init__(self, *failures: DeployError, for_s: float = 0.0) -> None:
        self._failures = list(failures)
        self._for_s = for_s
        self.times: list[float] = []
        self._began_s: float | None = None

    async def __call__(self) -> str:
        if self._began_s is None:
            self._began_s = anyio.current_time()
        self.times.append(anyio.current_time() - self._began_s)
        if self._failures:
            raise self._failures.pop(0)
        if self.times[-1] < self._for_s:
            raise _hiccup()
        return "answer"


def _ask(patience_s: float, reads: _Reads, backend: str = "trio") -> str:
    async def main() -> str:
        return await Patience(patience_s, random.Random(1)).ask(reads)

    return run_on(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_read_is_asked_again_until_it_answers(backend: str) -> None:
    reads = _Reads(_hiccup(), _hiccup(), _hiccup())
    assert _ask(60, reads, backend) == "answer"
    assert len(reads.times) == 4


def test_the_legacy_paths_patience_is_none() -> None:
    reads = _Reads(_hiccup())
    with pytest.raises(CallFailed):
        _ask(0, reads)
    assert len(reads.times) == 1


def test_patience_ends_and_the_last_real_failure_passes_through() -> None:
    reads = _Reads(for_s=1e9)
    with pytest.raises(CallFailed, match="busy"):
        _ask(30, reads)
    assert reads.times[-1] == pytest.approx(30)


def test_no_retry_after_stretches_a_patience() -> None:
    reads = _Reads(*[_hiccup(retry_after_s=99_999.0)] * 3)
    with pytest.raises(CallFailed, match="busy"):
        _ask(5, reads)
    assert reads.times == [0, pytest.approx(5)]


@pytest.mark.parametrize(
    "failure",
    [
        call_failed("no", operation="list", status=403),
        call_failed("no", operation="read", status=404),
        call_failed("lost", operation="update", status=None),
        AppFailed("it exits"),
        Outage("silence"),
    ],
    ids=str,
)
def test_only_what_surely_did_not_happen_is_asked_again(failure: DeployError) -> None:
    reads = _Reads(failure)
    with pytest.raises(type(failure)):
        _ask(60, reads)
    assert len(reads.times) == 1


@pytest.mark.parametrize(("asked_s", "waited_s"), [(7, 7), (1000, 60)])
def test_retry_after_is_honoured_up_to_a_minute(asked_s: float, waited_s: float) -> None:
    reads = _Reads(_hiccup(asked_s))
    _ask(120, reads)
    assert reads.times[1] == pytest.approx(waited_s)


def test_a_shorter_patience_wins_and_a_longer_one_does_not() -> None:
    async def attempts(within_s: float) -> float:
        reads = _Reads(for_s=1e9)
        with pytest.raises(CallFailed):
            await Patience(10, random.Random(1)).ask(reads, within_s=within_s)
        return reads.times[-1]

    async def main() -> tuple[float, float]:
        return await attempts(2), await attempts(100)

    short, long = run_on("trio", main)
    assert short < 5
    assert long < 16


def _passes(
    retries: int,
    *,
    worth: Callable[[int], bool] = lambda _: True,
    after_s: float = 0.0,
    seed: int = 1,
) -> tuple[int, list[float]]:
    """(the last pass's number, the waits between)."""
    waits: list[float] = []
    number = 0

    async def attempt() -> int:
        nonlocal number
        number += 1
        return number

    async def sleep(_s: float) -> None:
        return

    policy = between_passes(
        retries,
        random.Random(seed),
        is_worth_another=worth,
        retry_after_s=lambda _: after_s,
        before_sleep=waits.append,
        sleep=sleep,
    )

    async def main() -> int:
        return int(await _as_any(policy(attempt)))

    return run_on("trio", main), waits


async def _as_any(coroutine: Awaitable[T]) -> T:
    return await coroutine


@settings(max_examples=25)
@given(st.integers(0, 40), st.integers(0, 10_000))
def test_n_means_at_most_n_and_one_passes_with_growing_bounded_waits(n: int, seed: int) -> None:
    last, waits = _passes(n, seed=seed)
    assert last == n + 1
    assert len(waits) == n
    for number, wait in enumerate(waits):
        step = min(PASS_LIMIT_S, 2.0**number)
        assert step / 2 <= wait <= step


def test_no_pass_follows_one_that_is_good_enough() -> None:
    assert _passes(5, worth=lambda number: number < 3)[0] == 3
    assert _passes(5, worth=lambda _: False) == (1, [])


def test_the_wait_is_never_shorter_than_the_platform_asked_for() -> None:
    _, waits = _passes(3, after_s=20.0)
    assert min(waits) >= 20.0
    _, bounded = _passes(1, after_s=1e9)
    assert bounded == [300.0]


def test_two_seeds_wait_differently_and_one_seed_alike() -> None:
    assert _passes(4, seed=1) == _passes(4, seed=1)
    assert _passes(4, seed=1)[1] != _passes(4, seed=2)[1]
