"""Times of several contenders, in turns, so that whatever else the machine does hits all alike.

Loops are timed by the processor time of their thread: on a busy machine the wall
clock also counts the turns of others, and more of them the longer a loop takes.
Processes, whose time is not ours, are timed by the wall clock.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter_ns, thread_time_ns
from typing import TypeVar

Name = TypeVar("Name")

processor_ns = thread_time_ns
wall_ns = perf_counter_ns

ROUNDS = 5
FAST_ROUNDS = 21
_FAST_S = 0.25


def race(
    contenders: Mapping[Name, Callable[[], object]],
    on_round: Callable[[int], None] | None = None,
    clock_ns: Callable[[], int] = processor_ns,
) -> dict[Name, float]:
    """The median time of each contender, in seconds, over 5 rounds.

    In each round every contender runs once. Those that take under a quarter of a
    second, whose times noise could distort, go on to 21 rounds.
    """
    times: dict[Name, list[float]] = {name: [] for name in contenders}
    gc.collect()
    gc.freeze()  # what a contender keeps is not searched again while another runs
    try:
        for number in range(FAST_ROUNDS):
            if on_round:
                on_round(number + 1)
            names = list(contenders)
            first = number % len(names)
            for name in names[first:] + names[:first]:  # nobody always follows the same one
                if number < ROUNDS or median(times[name]) < _FAST_S:
                    times[name].append(_time(contenders[name], clock_ns))
    finally:
        gc.unfreeze()
    return {name: median(taken) for name, taken in times.items()}


def _time(run: Callable[[], object], clock_ns: Callable[[], int]) -> float:
    began = clock_ns()
    run()
    return (clock_ns() - began) / 1e9


def per_unit_ns(seconds: Mapping[Name, float], units: Sequence[object]) -> dict[Name, float]:
    """The same in nanoseconds for each of the units."""
    return {name: taken * 1e9 / len(units) for name, taken in seconds.items()}
