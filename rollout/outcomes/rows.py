"""The rows of the SELECT (sql.py) -> what is analysed, as if the records had been read. Pure.

Every row is judged again where it can be: a bucket has to be the unit's own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from rollout.bucketing import bucket
from rollout.errors import InvalidValue
from rollout.outcomes.observed import (
    WORDS,
    Cell,
    Failure,
    Observed,
    Reason,
    Unit,
    threshold_of,
)
from rollout.outcomes.question import Question
from rollout.outcomes.sql import COLUMNS
from rollout.wording import show


class _Row(msgspec.Struct, array_like=True, gc=False):
    """In the order of `sql.COLUMNS`."""

    kind: str
    unit: str | None = None
    bucket: int | None = None
    deploy: str | None = None
    percent: float | None = None
    inside: int | None = None
    known: float | None = None
    deploys: int | None = None
    events: int | None = None
    cause: str | None = None
    last: float | None = None
    retries: int | None = None
    mended: int | None = None
    millis: int | None = None


def observed(rows: Iterable[Sequence[Any]], question: Question, source: str) -> Observed:
    """What the rows say, in the columns of the SELECT; raises InvalidValue for what is no row."""
    reader = _Reader(question)
    for number, row in enumerate(rows, 1):
        try:
            reader.take(msgspec.convert(row, _Row, strict=False))
        except (msgspec.ValidationError, ValueError) as error:
            wrong = re.sub(r"\$\[(\d+)\]", lambda place: f"$.{COLUMNS[int(place[1])]}", str(error))
            raise InvalidValue(
                f"{source}: row {number} is not a row of the SELECT: {wrong}",
                hint="give what rollout outcomes FLAG --sql ENGINE selects, with its column names",
            ) from None
    reader.found.failures.sort()
    return reader.found


class _Reader:
    def __init__(self, question: Question) -> None:
        self.found = Observed([], {}, {}, Counter())
        self._question = question
        self._places: dict[str, int] = {}

    def take(self, row: _Row) -> None:
        if row.kind == "left":
            if row.cause not in WORDS:
                raise ValueError(f"{show(str(row.cause))} is not a reason")
            self.found.left[row.cause] += row.deploys or 0
            return
        threshold = threshold_of(row.percent)
        if threshold is None or row.inside not in (0, 1):
            raise ValueError("it has no percentage, or no side")
        key = (threshold, row.inside == 1)
        match row.kind:
            case "percentage":
                self.found.cells.setdefault(key, Cell(causes={})).add(_cell(row))
            case "cause":
                causes = {row.cause or "unknown": row.deploys or 0}
                self.found.cells.setdefault(key, Cell(causes={})).add(Cell(causes=causes))
            case "unit" | "failure":
                self._of_a_unit(row, threshold)
            case _:
                raise ValueError(f"{show(row.kind)} is not a kind")

    def _of_a_unit(self, row: _Row, threshold: int) -> None:
        unit = row.unit or ""
        place = self._bucket(unit)
        if (reason := _misplaced(row, place, threshold)) is not None:
            # A failure of a unit that has a row of its own is left out there already.
            if row.kind == "unit" or self._question.bucket_by == "deploy":
                self.found.left[reason] += row.deploys or 0
        elif row.kind == "failure":
            self.found.failures.append(_failure(row, threshold))
        else:
            self.found.units.setdefault(unit, Unit(place)).add(_unit(row, place, threshold))

    def _bucket(self, unit: str) -> int:
        if unit not in self._places:
            self._places[unit] = bucket(self._question.draw, unit)
        return self._places[unit]


def _misplaced(row: _Row, place: int, threshold: int) -> Reason | None:
    if not row.unit or row.bucket not in (None, place):
        return "other-draw"
    return "contradiction" if (place < threshold) != (row.inside == 1) else None


def _failure(row: _Row, threshold: int) -> Failure:
    inside, counted, control = row.inside == 1, row.events == 1, row.cause == "app"
    at, key, unit = row.known or 0.0, row.deploy or "", row.unit or ""
    return Failure(at, key, unit, threshold, inside, counted, control)


def _unit(row: _Row, place: int, threshold: int) -> Unit:
    deploys, events = row.deploys or 0, row.events or 0
    sums = (deploys, events, 0, 0) if row.inside == 1 else (0, 0, deploys, events)
    return Unit(place, row.known or 0.0, row.deploy or "", threshold, *sums)


def _cell(row: _Row) -> Cell:
    return Cell(
        deploys=row.deploys or 0,
        events=row.events or 0,
        retries=row.retries or 0,
        mended=row.mended or 0,
        millis=row.millis or 0,
        first=float("inf") if row.known is None else row.known,
        last=float("-inf") if row.last is None else row.last,
        causes={},
    )
