from __future__ import annotations

import random
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tenacity import AsyncRetrying, retry_if_result, stop_after_attempt

from deploy.api.meaning import call_failed
from deploy.api.patience import PASS_LIMIT_S, PassBackoff, Patience
from deploy.errors import AppFailed, CallFailed, DeployError, Outage
from tests.contract.clocks import BACKENDS, run_on


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


def _ask(patience_s: float, reads: _Reads, backend: str = "trio", *, sure: bool = True) -> str:
    async def main() -> str:
        return await Patience(patience_s, random.Random(1), sure).ask(reads)

    return run_on(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_read_is_asked_again_until_it_answers(backend: str) -> None:
    reads = _Reads(_hiccup(), _hiccup(), _hiccup())
    assert _ask(60, reads, backend) == "answer"
    assert len(reads.times) == 4


def _garbled(said: str) -> CallFailed:
    return call_failed(said, operation="list", status=200, garbled=True)


def test_what_cannot_be_read_the_same_way_twice_is_no_hiccup_to_who_is_not_sure() -> None:
    for sure, times in ((False, 2), (True, 3)):
        reads = _Reads(_garbled("a page"), _garbled("a page"))
        if sure:
            assert _ask(60, reads, sure=sure) == "answer"
        else:
            with pytest.raises(CallFailed, match="a page"):
                _ask(60, reads, sure=sure)
        assert len(reads.times) == times


def test_what_cannot_be_read_in_two_ways_may_pass_and_so_may_one_after_a_hiccup() -> None:
    one, other = _garbled("a page"), _garbled("half a list")
    assert _ask(60, _Reads(one, other, _hiccup(), other), sure=False) == "answer"


def test_no_patience_is_one_attempt() -> None:
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


@dataclass(frozen=True)
class _Asking:
    """The result of a pass, as far as the wait after it goes."""

    retry_after_s: float = 0.0


def _waits(passes: int, *, after_s: float = 0.0, seed: int = 1) -> list[float]:
    """The seconds waited between so many passes."""
    waits: list[float] = []

    async def one_pass() -> _Asking:
        return _Asking(after_s)

    async def sleep(delay_s: float) -> None:
        waits.append(delay_s)

    policy = AsyncRetrying(
        wait=PassBackoff(random.Random(seed)),
        stop=stop_after_attempt(passes),
        retry=retry_if_result(lambda _: True),
        retry_error_callback=lambda _: None,
        sleep=sleep,
    )

    async def main() -> None:
        await policy(one_pass)

    run_on("trio", main)
    return waits


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(0, 10_000))
def test_waits_between_passes_grow_and_are_bounded(passes: int, seed: int) -> None:
    waits = _waits(passes, seed=seed)
    assert len(waits) == passes - 1
    for number, wait in enumerate(waits):
        step = min(PASS_LIMIT_S, 2.0**number)
        assert step / 2 <= wait <= step


def test_the_wait_is_never_shorter_than_the_platform_asked_for() -> None:
    assert min(_waits(4, after_s=20.0)) >= 20.0
    assert _waits(2, after_s=1e9) == [300.0]


def test_two_seeds_wait_differently_and_one_seed_alike() -> None:
    assert _waits(5, seed=1) == _waits(5, seed=1)
    assert _waits(5, seed=1) != _waits(5, seed=2)
