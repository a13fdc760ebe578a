"""Runs a simulated world on trio: one seed, no real time, no threads, an end to everything."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio
from trio._core import _run as trio_run

T = TypeVar("T")

LONGEST_S = 24 * 3600.0  # of simulated time; a world that is not done by then hangs


def run_in_time(
    main: Callable[[], Awaitable[T]],
    *,
    seed: int,
    before_time_passes: Callable[[float], None] | None = None,
    longest_s: float = LONGEST_S,
) -> T:
    """The result of `main`, run where time passes only when nobody has anything to do.

    `before_time_passes(now)` is called at every such moment: what is true then
    stays true until the next one, so that whoever looks there misses nothing
    that lasts.
    """

    async def bounded() -> T:
        with trio.fail_after(longest_s):
            return await main()

    with _seeded_scheduler(seed):
        return trio.run(bounded, clock=_Clock(before_time_passes))


class _Clock(trio.abc.Clock):
    """Seconds from 0 on, which pass at once where trio has nothing to do but wait.

    trio's own MockClock does that too, after a turn of the loop in which nothing happens.
    """

    def __init__(self, before_time_passes: Callable[[float], None] | None) -> None:
        self._now = 0.0
        self._before_time_passes = before_time_passes

    def start_clock(self) -> None:
        """It stands until somebody waits."""

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """What trio asks when nobody is ready to run; without a deadline time stands still."""
        if self._now < deadline < math.inf:
            if self._before_time_passes is not None:
                self._before_time_passes(self._now)
            self._now = deadline
        return deadline - self._now


@contextmanager
def _seeded_scheduler(seed: int) -> Iterator[None]:
    """trio shuffles its tasks; it has no public way to say by which seed.

    These two names are what hypothesis and pytest-trio use as well.
    """
    state, allowed = trio_run._r.getstate(), trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # Final to its module
    trio_run._r.seed(random.Random(f"scheduler/{seed}").random())
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = allowed  # type: ignore[misc]  # see above
        trio_run._r.setstate(state)
