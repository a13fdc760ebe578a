"""The evidence so far: coins in the order in which outcomes became known. Pure.

A ledger can be kept (state.py) and go on with records that come later. It gives the same
numbers, to the bit, as all records at once, if those come after the ones before.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from heapq import merge
from math import log
from typing import NamedTuple, TypeAlias

import msgspec

from rollout.errors import InvalidValue
from rollout.flag.guard import Guard
from rollout.outcomes.coins import EVERYWHERE, Coin, Interval, toss
from rollout.outcomes.evidence import GOOD, HARM, Evidence, affordable, two_sided
from rollout.outcomes.observed import Cell, CellKey, Failure, Observed, Unit
from rollout.outcomes.question import Question
from rollout.wording import show

Bounds: TypeAlias = dict[str, Interval]


class Day(msgspec.Struct):
    """The end of a day (UTC): evidence as natural logarithms, coins of that day alone.

    `advance` is towards the stage that came next, None where there is none.
    """

    date: str
    threshold: int = 0
    coins: int = 0
    inside: int = 0
    harm: float = 0.0
    good: float = 0.0
    advance: float | None = None


class Tests(NamedTuple):
    """The evidence of each question; `advance` by the threshold that it leads to."""

    harm: Evidence
    good: Evidence
    control_harm: Evidence
    control_good: Evidence
    advance: dict[int, Evidence]

    @classmethod
    def fresh(cls, guard: Guard) -> Tests:
        advance = {stage: Evidence(affordable(stage, guard.budget)) for stage in guard.stages}
        return cls(Evidence(HARM), Evidence(GOOD), Evidence(HARM), Evidence(GOOD), advance)


class Ledger:
    """What is known of a flag at `question.now`; `take` adds to it."""

    def __init__(self, question: Question, guard: Guard) -> None:
        self.question = question
        self.guard = guard
        self.tests = Tests.fresh(guard)
        self.bounds: Bounds = {}
        self.control_bounds: Bounds = {}
        self.cells: dict[CellKey, Cell] = {}
        self.units: dict[str, Unit] = {}
        self.days: list[Day] = []
        self.known: set[str] = set()
        self.coins = self.coins_inside = self.control_coins = 0
        self.skipped = 0
        self.first_version = 0

    def take(self, *observed: Observed) -> None:
        """Count what was observed in places of which each has deploys of its own.

        Raises InvalidValue where a deploy that failed is in two of them.
        """
        for place in observed:
            for key, cell in place.cells.items():
                self.cells.setdefault(key, Cell()).add(cell)
            for name, unit in place.units.items():
                self.units.setdefault(name, Unit(unit.bucket)).add(unit)
            self.first_version += place.first_version
        for failure in merge(*(place.failures for place in observed)):
            self._take(failure)
        self._close_day()

    @property
    def by_deploy(self) -> bool:
        """Whether every deploy is a unit of its own."""
        return self.question.bucket_by == "deploy"

    @property
    def sample_ratio(self) -> float:
        """Evidence that records are missing in one cohort, as a natural logarithm.

        The first record of every unit should be inside as often as the percentage says.
        """
        evidence = Evidence(two_sided())
        for threshold, inside, number in self._firsts():
            if 0 < threshold < 100_000:
                evidence.add(Coin(threshold, 100_000, inside), number)
        return evidence.log_e

    def _firsts(self) -> Iterable[tuple[int, bool, int]]:
        """(threshold, inside, units), in one order."""
        if self.by_deploy:
            found = {key: cell.deploys for key, cell in self.cells.items()}
        else:
            found = {}
            for unit in self.units.values():
                key = (unit.threshold, unit.bucket < unit.threshold)
                found[key] = found.get(key, 0) + 1
        return [
            (threshold, inside, number) for (threshold, inside), number in sorted(found.items())
        ]

    def _take(self, failure: Failure) -> None:
        if failure.key in self.known:
            raise InvalidValue(
                f"the deploy {show(failure.key)} is in two places of the records",
                hint="give each deploy in JSON, in Parquet or with --coins, and once",
            )
        self.known.add(failure.key)
        if failure.control and (coin := self._coin(self.control_bounds, failure)):
            self.control_coins += 1
            self.tests.control_harm.add(coin)
            self.tests.control_good.add(coin)
        if not failure.counted:
            return
        coin = self._coin(self.bounds, failure)
        if coin is None:
            self.skipped += 1
            return
        self._open_day(failure)
        self.coins += 1
        self.coins_inside += coin.inside
        self.days[-1].coins += 1
        self.days[-1].inside += coin.inside
        self.tests.harm.add(coin)
        self.tests.good.add(coin)
        self._towards_stages(coin)

    def _coin(self, bounds: Bounds, failure: Failure) -> Coin | None:
        if self.by_deploy:
            return toss(EVERYWHERE, failure.threshold, failure.inside)[0]
        coin, bounds[failure.unit] = toss(
            bounds.get(failure.unit, EVERYWHERE), failure.threshold, failure.inside
        )
        return coin

    def _towards_stages(self, coin: Coin) -> None:
        """A stage whose test has reached the bar has reached it for good: nothing more is added."""
        bar = log(self.guard.advance)
        for evidence in self.tests.advance.values():
            if evidence.peak < bar:
                evidence.add(coin)
                evidence.note_peak()

    def _open_day(self, failure: Failure) -> None:
        date = day_of(failure.at)
        if not self.days or self.days[-1].date < date:
            self._close_day()
            self.days.append(Day(date=date))
        self.days[-1].threshold = failure.threshold

    def _close_day(self) -> None:
        if not self.days:
            return
        day, tests = self.days[-1], self.tests
        stage = self.guard.next_stage(day.threshold)
        day.harm, day.good = tests.harm.log_e, tests.good.log_e
        day.advance = None if stage is None else tests.advance[stage].log_e


def day_of(at: float) -> str:
    """The day of a Unix time, in UTC."""
    return datetime.fromtimestamp(at, tz=UTC).date().isoformat()
