"""A ledger as text and back, so that records to come need no old ones. Pure.

Numbers are written so that they come back to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from rollout.errors import InvalidValue
from rollout.flag.guard import Guard
from rollout.outcomes.coins import Interval
from rollout.outcomes.evidence import Evidence
from rollout.outcomes.ledger import Day, Ledger
from rollout.outcomes.observed import Cell, Unit
from rollout.outcomes.question import Question

VERSION: Final = 1


class _Row(msgspec.Struct):
    threshold: int
    inside: bool
    cell: Cell


class _Test(msgspec.Struct):
    logs: list[float]
    peak: float


class State(msgspec.Struct, kw_only=True):
    """What a state file holds. `until` is the Unix time up to which records are counted."""

    tidegate_outcomes: int
    flag: str
    bucket_by: str
    salt: str
    bucketing: str
    event: str
    stages: tuple[int, ...]
    advance: float
    budget: float
    until: float
    coins: int
    coins_inside: int
    control_coins: int
    skipped: int
    first_version: int
    known: list[str]
    days: list[Day]
    cells: list[_Row]
    units: dict[str, Unit]
    bounds: dict[str, tuple[int, int]]
    control_bounds: dict[str, tuple[int, int]]
    tests: dict[str, _Test]


_COUNTS: Final = ("coins", "coins_inside", "control_coins", "skipped", "first_version")


def dump(ledger: Ledger) -> bytes:
    """The ledger as JSON; the same ledger gives the same bytes."""
    question, guard = ledger.question, ledger.guard
    cells = sorted(ledger.cells.items(), key=lambda pair: pair[0])
    counts: dict[str, Any] = {name: getattr(ledger, name) for name in _COUNTS}
    state = State(
        tidegate_outcomes=VERSION,
        flag=question.flag,
        bucket_by=question.bucket_by,
        salt=question.draw.salt,
        bucketing=question.draw.generation,
        event=str(question.event),
        stages=guard.stages,
        advance=guard.advance,
        budget=guard.budget,
        until=question.now,
        known=sorted(ledger.known),
        days=ledger.days,
        cells=[_Row(threshold, inside, cell) for (threshold, inside), cell in cells],
        units=ledger.units,
        bounds=dict(ledger.bounds),
        control_bounds=dict(ledger.control_bounds),
        tests={name: _Test(test.logs, test.peak) for name, test in _named(ledger).items()},
        **counts,
    )
    return msgspec.json.encode(state, order="deterministic") + b"\n"


def load(data: bytes, question: Question, guard: Guard, source: str) -> Ledger:
    """The ledger of a state, ready for what comes after it.

    Raises InvalidValue if it is none, one of another flag or other settings, or one of later.
    """
    try:
        state = msgspec.json.decode(data, type=State)
    except msgspec.DecodeError as error:
        raise InvalidValue(
            f"{source} is not a state: {error}", hint="delete it, and give all records once more"
        ) from None
    if difference := _difference(state, question, guard):
        raise InvalidValue(
            f"{source} was made with another {difference}",
            hint="delete it, and give all records once more",
        )
    if state.until > question.now:
        raise InvalidValue(
            f"{source} has counted what came after --at", hint="leave --at out, or give a later one"
        )
    ledger = Ledger(question._replace(since=state.until, known=frozenset(state.known)), guard)
    for name in _COUNTS:
        setattr(ledger, name, getattr(state, name))
    ledger.known = set(state.known)
    ledger.days = state.days
    ledger.cells = {(row.threshold, row.inside): row.cell for row in state.cells}
    ledger.units = state.units
    ledger.bounds = {unit: Interval(*bounds) for unit, bounds in state.bounds.items()}
    ledger.control_bounds = {
        unit: Interval(*bounds) for unit, bounds in state.control_bounds.items()
    }
    for name, evidence in _named(ledger).items():
        test = state.tests.get(name)
        if test is None or len(test.logs) != len(evidence.logs):
            raise InvalidValue(
                f"{source} is not a state: its test {name} is not whole",
                hint="delete it, and give all records once more",
            )
        evidence.logs, evidence.peak = test.logs, test.peak
    return ledger


def _named(ledger: Ledger) -> Mapping[str, Evidence]:
    tests = ledger.tests
    named = {name: getattr(tests, name) for name in tests._fields if name != "advance"}
    return named | {f"advance {stage}": test for stage, test in tests.advance.items()}


def _difference(state: State, question: Question, guard: Guard) -> str:
    if state.tidegate_outcomes != VERSION:
        return "version of tidegate"
    pairs = (
        ("flag", state.flag, question.flag),
        ("bucket_by", state.bucket_by, question.bucket_by),
        ("salt", state.salt, question.draw.salt),
        ("bucketing", state.bucketing, question.draw.generation),
        ("event", state.event, str(question.event)),
        ("stages", state.stages, guard.stages),
        ("advance", state.advance, guard.advance),
        ("budget", state.budget, guard.budget),
    )
    return next((name for name, was, is_now in pairs if was != is_now), "")
