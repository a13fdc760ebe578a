"""Records -> what is analysed of them: the failures, and sums over all runs. Pure.

A record that cannot be analysed is counted under the reason why; none is dropped without
one. What is kept is small: a failure each, a few numbers for each percentage and unit, and
eight bytes a deploy to tell whether one comes twice. All sums are of integers, so that the
order of the records changes nothing.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal, Self, TypeAlias

import msgspec

from rollout.bucketing import bucket
from rollout.outcomes.question import Question, happened
from rollout.outcomes.record import CONTINUES, DONE, RUNNING_S, VERSIONS, Assigned, Record

Reason: TypeAlias = Literal[
    "version", "flag", "unassigned", "by-hand", "not-drawn", "percent", "contradiction",
    "other-draw", "other-unit", "static", "undated", "later", "running", "continued", "leased",
    "repeated", "counted", "unnamed", "duration",
]  # fmt: skip

WORDS: Final[dict[Reason, str]] = {
    "version": "of a version that is neither 1 nor 2",
    "flag": "of another flag",
    "unassigned": "without an assignment: the run ended before the flag was asked",
    "by-hand": "of version 1 with the number given by hand: the assignment is not known",
    "not-drawn": "not drawn by lot: listed, switched off, or without a unit",
    "static": "from while everybody was on one side: there was no lot to draw",
    "percent": "without a percentage from 0 to 100",
    "contradiction": "whose bucket contradicts the percentage",
    "other-draw": "drawn with another salt or bucketing: the bucket is not this unit's",
    "other-unit": "whose unit is not what the flag is bucketed by",
    "duration": "with a duration that no run has",
    "unnamed": "that do not say of which deploy they are",
    "undated": "without a time, or with one before 2020",
    "later": "from after the time asked for",
    "running": "begun less than 6 h before and without an end: still running",
    "continued": "of runs that go on with an earlier deploy",
    "leased": "that ended because another deploy was under way",
    "repeated": "of a deploy that was read already",
    "counted": "that the state has counted already",
}

HARMLESS: Final[frozenset[Reason]] = frozenset(
    {"flag", "later", "running", "continued", "static", "counted"}
)
"""What nobody needs to look into."""

EARLIEST: Final = 1_577_836_800
"""2020 as a Unix time. A record from before has lost its time, and would look like a long wait."""

_SHARDS: Final = 256
_MASK: Final = _SHARDS - 1


class Failure(msgspec.Struct, frozen=True, order=True, gc=False):
    """A counted failure, or (`control`) a run that failed for the app's own reasons alone."""

    at: float
    key: str
    unit: str
    threshold: int
    inside: bool
    counted: bool
    control: bool


class Cell(msgspec.Struct, gc=False):
    """Sums over the deploys of one cohort at one percentage; times are Unix seconds."""

    deploys: int = 0
    events: int = 0
    retries: int = 0
    mended: int = 0
    millis: int = 0
    first: float = float("inf")
    last: float = float("-inf")
    causes: dict[str, int] = {}

    def count(self, record: Record, failed: bool, event: bool, at: float) -> None:
        """One more deploy, which was known at `at`."""
        self.deploys += 1
        self.millis += int(record.duration_s * 1000 + 0.5)
        if record.retries_used:
            self.retries += record.retries_used
        if record.hiccups_mended:
            self.mended += record.hiccups_mended
        if at < self.first:
            self.first = at
        if at > self.last:
            self.last = at
        if event:
            self.events += 1
        if failed:
            why = record.why or "unknown"
            self.causes[why] = self.causes.get(why, 0) + 1

    def add(self, other: Cell) -> None:
        self.deploys += other.deploys
        self.events += other.events
        self.retries += other.retries
        self.mended += other.mended
        self.millis += other.millis
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        for cause, number in other.causes.items():
            self.causes[cause] = self.causes.get(cause, 0) + number


class Unit(msgspec.Struct, gc=False):
    """A unit: how it was first seen, and its deploys and counted failures in both cohorts."""

    bucket: int
    at: float = float("inf")
    key: str = ""
    threshold: int = 0
    deploys_inside: int = 0
    events_inside: int = 0
    deploys_outside: int = 0
    events_outside: int = 0

    def count(self, inside: bool, event: bool, at: float, key: str, threshold: int) -> None:
        """One more deploy, which was known at `at`."""
        if at < self.at or (at == self.at and key < self.key):
            self.at, self.key, self.threshold = at, key, threshold
        if inside:
            self.deploys_inside += 1
            self.events_inside += event
        else:
            self.deploys_outside += 1
            self.events_outside += event

    def add(self, other: Unit) -> None:
        if (other.at, other.key) < (self.at, self.key):
            self.at, self.key, self.threshold = other.at, other.key, other.threshold
        self.deploys_inside += other.deploys_inside
        self.events_inside += other.events_inside
        self.deploys_outside += other.deploys_outside
        self.events_outside += other.events_outside


CellKey: TypeAlias = tuple[int, bool]
"""(threshold, inside)."""


class Observed(msgspec.Struct):
    """All that is analysed. `units` is empty where every deploy is a unit of its own."""

    failures: list[Failure]
    cells: dict[CellKey, Cell]
    units: dict[str, Unit]
    left: Counter[Reason]
    first_version: int = 0
    """How many of version 1 were counted, which say little of why they failed."""


def observe(records: Iterable[Record], question: Question) -> Observed:
    """What the records say. They are gone through again if a deploy is among them twice."""
    return concluded(lambda contested: Observer(question, contested).take(records))


def concluded(look: Callable[[frozenset[int]], Observer]) -> Observed:
    """What was found by `look`, which goes through all records for an observer of `contested`."""
    observer = look(frozenset())
    if contested := observer.contested():
        observer = look(contested)
    return observer.finish()


@lru_cache
def threshold_of(percent: float | None) -> int | None:
    """Percent, 0 to 100 with up to three decimals, as the exact threshold; None if it is not."""
    if percent is None or not 0 <= percent <= 100:
        return None
    threshold = round(percent * 1000)
    return threshold if abs(threshold - percent * 1000) < 1e-6 else None


class Observer:
    """One pass. The deploys whose ids hash to one of `contested` are held until the end.

    Most of what a million records cost is spent here: `take` and what it calls ask for each
    thing once, and call as little as they can.
    """

    def __init__(self, question: Question, contested: frozenset[int]) -> None:
        self._found = Observed([], {}, {}, Counter())
        self._units = self._found.units
        self._question = question
        # Fields of a named tuple are slow to ask for.
        self._flag, self._now, self._since = question.flag, question.now, question.since
        self._known = question.known
        self._contested = contested
        self._held: dict[str, dict[str, Record]] = {}
        self._seen = [array("q") for _ in range(_SHARDS)]
        self._any_failure = question.event.name == "not-done"
        self._by_app = question.bucket_by == "app"
        self._by_deploy = question.bucket_by == "deploy"
        self._stages: dict[int, _Stage] = {}
        self._by_percent: dict[float | None, _Stage] = {}

    def take(self, records: Iterable[Record]) -> Self:
        """Go through the records."""
        left, contested, seen = self._found.left, self._contested, self._seen
        for record in records:
            assigned = record.assigned if record.v == 2 else _assigned(record)
            if assigned is None:
                left[_unassigned(record)] += 1
                continue
            if (reason := self._left_out(record, assigned)) is not None:
                left[reason] += 1
                continue
            if not (key := record.deploy or record.key):
                left["unnamed"] += 1
                continue
            place = hash(key)
            if place in contested:
                self._hold(key, record)
                continue
            seen[place & _MASK].append(place)
            self._count(record, assigned, key)
        return self

    def add(self, other: Observer) -> None:
        """Take over what another, forked from this process, saw in records after these."""
        found, theirs = self._found, other._found
        found.failures += theirs.failures
        found.left.update(theirs.left)
        found.first_version += theirs.first_version
        for name, unit in theirs.units.items():
            self._unit(name, unit.bucket).add(unit)
        for stage in other._stages.values():
            mine = self._at(stage.threshold)
            mine.inside.add(stage.inside)
            mine.outside.add(stage.outside)
        for shard, more in zip(self._seen, other._seen, strict=True):
            shard.extend(more)
        for key, runs in other._held.items():
            for run in runs.values():
                self._hold(key, run)
            # Of these runs all but the first have been counted as repeated there.
            found.left["repeated"] -= len(runs) - 1

    def contested(self) -> frozenset[int]:
        """Hashes of the ids that came more than once."""
        twice: set[int] = set()
        for shard in self._seen:
            if len(set(shard)) < len(shard):
                twice.update(one for one, other in pairwise(sorted(shard)) if one == other)
        return frozenset(twice)

    def finish(self) -> Observed:
        """What was found, in an order that is that of the records no longer."""
        self._settle()
        for threshold, stage in self._stages.items():
            for inside, cell in ((True, stage.inside), (False, stage.outside)):
                if cell.deploys:
                    self._found.cells[threshold, inside] = cell
        self._found.failures.sort()
        return self._found

    def _settle(self) -> None:
        """Count what was held: of each deploy its first run, of each run its end."""
        for key, runs in self._held.items():
            first = min(runs.values(), key=lambda run: (_start(run), run.run_id))
            if assigned := first.assignment:
                self._count(first, assigned, key)

    def _hold(self, key: str, record: Record) -> None:
        runs = self._held.setdefault(key, {})
        if runs:
            self._found.left["repeated"] += 1
        other = runs.get(record.run_id)
        if other is None or _finality(record) > _finality(other):
            runs[record.run_id] = record

    def _left_out(self, record: Record, assigned: Assigned) -> Reason | None:
        if assigned.flag != self._flag:
            return "flag"
        at, result = record.at, record.result
        if result is None:
            at += RUNNING_S
        if at < EARLIEST:
            return "undated"
        if at > self._now:
            return "later" if record.at > self._now else "running"
        if record.command in CONTINUES:
            return "continued"
        if result == "leased" or record.cause == "leased":
            return "leased"
        if self._known and record.key in self._known:
            return "counted"
        if at <= self._since and not self._fails(record):
            return "counted"
        unit = assigned.unit
        if assigned.reason != "SPLIT" or not unit:
            return "static" if assigned.reason == "STATIC" else "not-drawn"
        return self._misplaced(record, assigned, unit)

    def _misplaced(self, record: Record, assigned: Assigned, unit: str) -> Reason | None:
        stage = self._by_percent.get(assigned.percent) or self._stage(assigned.percent)
        if stage is None:
            return "percent"
        if self._by_app:
            if unit != record.app:
                return "other-unit"
        elif self._by_deploy and unit != (record.deploy or record.key):
            return "other-unit"
        known = self._units.get(unit)
        place = bucket(self._question.draw, unit) if known is None else known.bucket
        if assigned.bucket is None:
            assigned.bucket = place
        elif assigned.bucket != place:
            return "other-draw"
        variant = assigned.variant
        if variant != ("inside" if place < stage.threshold else "outside") and variant:
            return "contradiction"
        return None

    def _stage(self, percent: float | None) -> _Stage | None:
        threshold = threshold_of(percent)
        if threshold is None:
            return None
        stage = self._by_percent[percent] = self._at(threshold)
        return stage

    def _at(self, threshold: int) -> _Stage:
        return self._stages.setdefault(threshold, _Stage(threshold, Cell(), Cell()))

    def _fails(self, record: Record) -> bool:
        """A failure that the state does not have counts however late it comes."""
        return happened(self._question.event, record) or record.why == "app"

    def _count(self, record: Record, assigned: Assigned, key: str) -> None:
        stage = self._by_percent[assigned.percent]
        unit, place, threshold = assigned.unit or "", assigned.bucket or 0, stage.threshold
        inside = place < threshold
        result = record.result
        failed = result not in DONE
        event = failed if self._any_failure else happened(self._question.event, record)
        at = record.at if result is not None else record.known_at
        (stage.inside if inside else stage.outside).count(record, failed, event, at)
        if not self._by_deploy:
            known = self._units.get(unit) or self._unit(unit, place)
            known.count(inside, event, at, key, threshold)
        if record.v == 1:
            self._found.first_version += 1
        if failed or event:
            control = failed and record.cause == "app"
            if event or control:
                failure = Failure(at, key, unit, threshold, inside, event, control)
                self._found.failures.append(failure)

    def _unit(self, unit: str, place: int) -> Unit:
        return self._units.setdefault(unit, Unit(place))


@dataclass(frozen=True, slots=True)
class _Stage:
    """A percentage in the records, with its two cohorts."""

    threshold: int
    inside: Cell
    outside: Cell


def _assigned(record: Record) -> Assigned | None:
    return record.assignment if record.v in VERSIONS else None


def _unassigned(record: Record) -> Reason:
    if record.v not in VERSIONS:
        return "version"
    return "by-hand" if record.v == 1 and bytes(record.decision) != b"null" else "unassigned"


def _start(record: Record) -> float:
    return record.at if record.result is None else record.at - record.duration_s


def _finality(record: Record) -> tuple[bool, float, str]:
    return record.result is not None, record.at, record.result or ""
