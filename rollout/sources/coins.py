"""The rows of the SELECT from a file: CSV with its column names, or JSON lines."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rollout.errors import InvalidValue, SourceProblem
from rollout.outcomes.sql import COLUMNS
from rollout.wording import show


def rows(path: str) -> Iterator[Sequence[Any]]:
    """A row at a time, `-` is standard input; raises SourceProblem, and InvalidValue for JSON
    that is none."""
    try:
        with nullcontext(sys.stdin) if path == "-" else Path(path).open(newline="") as file:
            first = file.readline()
            if first.startswith("{"):
                yield _cells(_json(first, path))
                for line in file:
                    if line.strip():
                        yield _cells(_json(line, path))
                return
            heads = next(csv.reader([first]), [])
            if lacking := [name for name in COLUMNS if name not in heads]:
                raise InvalidValue(
                    f"{show(path)} has no column {lacking[0]}",
                    hint="give what rollout outcomes FLAG --sql ENGINE selects, with column names",
                )
            yield from map(_cells, csv.DictReader(file, fieldnames=heads))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise SourceProblem(
            f"{show(path)} cannot be read: {told}", hint="give a file of CSV or JSON lines"
        ) from None


def _cells(row: dict[str, Any]) -> list[Any]:
    """The columns in their order. Empty cells are nothing, as CSV has no other word for it."""
    return [None if (cell := row.get(name)) == "" else cell for name in COLUMNS]


def _json(line: str, path: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidValue(
            f"{show(path)}: a line is not an object of JSON",
            hint="give CSV with column names, or JSON lines",
        )
    return found
