"""Rates with intervals, for people: nothing is decided on them. Pure.

Deploys of one unit are alike, so that a rate knows less than its deploys are many: the
interval is Wilson's for as many deploys as would vary so much if they were independent.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Final, NamedTuple

from rollout.outcomes.ledger import Ledger
from rollout.outcomes.observed import Cell

_Z: Final = 1.959963984540054  # 95 %


class Rate(NamedTuple):
    """A share, and between what it lies with 95 %; all from 0 to 1."""

    share: float
    low: float
    high: float


class Cohort(NamedTuple):
    """All deploys on one side; `mean_s` is how long one took on average, None without any."""

    units: int
    deploys: int
    events: int
    causes: dict[str, int]
    rate: Rate | None
    retries: int
    mended: int
    mean_s: float | None


def cohort(ledger: Ledger, inside: bool) -> Cohort:
    """The deploys inside, or those outside, over all percentages."""
    total = Cell(causes={})
    for (_, side), cell in sorted(ledger.cells.items()):
        if side == inside:
            total.add(cell)
    if ledger.by_deploy:
        pairs: list[tuple[int, int]] = []
        units = total.deploys
    else:
        pairs = [
            (unit.events_inside, unit.deploys_inside)
            if inside
            else (unit.events_outside, unit.deploys_outside)
            for unit in ledger.units.values()
        ]
        units = sum(1 for _, deploys in pairs if deploys)
    return Cohort(
        units=units,
        deploys=total.deploys,
        events=total.events,
        causes=dict(sorted(total.causes.items(), key=lambda pair: (-pair[1], pair[0]))),
        rate=clustered(total.events, total.deploys, pairs) if total.deploys else None,
        retries=total.retries,
        mended=total.mended,
        mean_s=total.millis / total.deploys / 1000 if total.deploys else None,
    )


def clustered(events: int, deploys: int, units: Iterable[tuple[int, int]] = ()) -> Rate:
    """The rate of (events, deploys) by unit; without units every deploy is one."""
    share = events / deploys
    worth = float(deploys)
    if spread := sum(_deviation(one, many, events, deploys) for one, many in units):
        # Sums of integers: variance of the ratio = sum((x - r n)^2) / N^2, in units of 1/N^4.
        variance = spread / deploys**4
        worth = min(worth, share * (1 - share) / variance)
    return wilson(share, max(worth, 1.0))


def _deviation(one: int, many: int, events: int, deploys: int) -> int:
    return (one * deploys - many * events) ** 2


def wilson(share: float, number: float) -> Rate:
    """Wilson's interval for a share of so many."""
    z2 = _Z * _Z
    middle = (share + z2 / (2 * number)) / (1 + z2 / number)
    reach = _Z / (1 + z2 / number) * sqrt(share * (1 - share) / number + z2 / (4 * number**2))
    return Rate(share, max(0.0, middle - reach), min(1.0, middle + reach))
