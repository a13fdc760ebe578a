"""A failure is a coin, whose odds are known if the path changes nothing.

Buckets are uniform. Per unit [low, high) is where its bucket can still be, after the
failures before; the next one at a percentage P falls inside with the share of that
interval that lies below P. Exact for any path of P, in integers. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from rollout.bucketing import BUCKETS


class Interval(NamedTuple):
    """Where a bucket can be: `low` <= bucket < `high`, thousandths of a percent."""

    low: int
    high: int


class Coin(NamedTuple):
    """It fell `inside` or outside; the odds were `part` of `whole` for inside, 0 < part < whole."""

    part: int
    whole: int
    inside: bool


EVERYWHERE: Final = Interval(0, BUCKETS)


def toss(interval: Interval, threshold: int, inside: bool) -> tuple[Coin | None, Interval]:
    """The coin of a failure at `threshold`, and what is known of the unit's bucket after it.

    None for a coin that tells nothing, since it could fall on one side only. Raises
    ValueError if it fell on the other: no bucket is inside and outside at one percentage.
    """
    low, high = interval
    if threshold <= low or threshold >= high:
        if inside != (threshold >= high):
            raise ValueError(threshold)
        return None, interval
    after = Interval(low, threshold) if inside else Interval(threshold, high)
    return Coin(threshold - low, high - low, inside), after
