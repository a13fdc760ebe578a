"""Reading a TOML table key by key, so that every problem in it is named at once.

A reader asks a table for the keys it knows; a key that was not asked for is a
problem in the end, with the nearest known key as a suggestion. A wrong value
is noted and reads as if it were not given, so that reading goes on.
Knows types, ranges and spelling; nothing of what a key means.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from deploy.flytoml.durations import parse_duration_ns

Wire = dict[str, Any]  # JSON in the Machines API's shape

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
_INDEX = re.compile(r"\[[0-9]+\]")
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([kmgt]?)i?b?", re.IGNORECASE)
_LARGEST_SIZE = 2**31 - 1
_LARGEST_INTEGER = 2**63 - 1  # of TOML, and of every JSON decoder on the way
_MOST_UNKNOWN_KEYS = 20
_MOST_TABLES = 1000
_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at one key path, and what to write instead.

    One that is not fatal is a warning: the app can be deployed without it.
    """

    path: str
    what: str
    fix: str
    is_fatal: bool = True

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.fix}"


class Table:
    """One TOML table and the place to note its problems."""

    def __init__(self, values: Mapping[str, Any], path: str, problems: list[Problem]) -> None:
        self.path = path
        self._values = values
        self._problems = problems
        self._known: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._values)

    def names(self) -> list[str]:
        """The keys of a table in which they are free: environment, processes, headers."""
        for key in self._values:
            if not key or "\0" in key:
                self.problem(key, "is not a name", "give it a name that can be printed")
        return [key for key in self._values if key and "\0" not in key]

    def value(self, key: str) -> Any:
        """The value as TOML gave it, None when it is not given."""
        self._known.add(key)
        return self._values.get(key)

    def text(self, key: str, *, one_of: Collection[str] = ()) -> str | None:
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self._mistyped(key, value, "text in quotes")
            return None
        if "\0" in value:
            self.problem(key, "holds a NUL character", "remove it")
            return None
        if one_of and value not in one_of:
            known = f"use one of {', '.join(one_of)}"
            self.problem(key, f"is {shown(value)}", did_you_mean(value, one_of) or known)
            return None
        return value

    def scalar(self, key: str) -> str:
        """A text, a number, true or false as text, written as Fly.io's tools write it."""
        value = self.value(key)
        match value:
            case bool():
                return "true" if value else "false"
            case int():
                return str(self.integer(key, at_least=-_LARGEST_INTEGER))
            case Decimal():
                number = float(value)
                if not math.isfinite(number):
                    self.problem(key, "is not a finite number", "write it in quotes")
                is_short = number.is_integer() and abs(number) < 1e21
                return str(int(number) if is_short else number)
            case _:
                return self.text(key) or ""

    def flag(self, key: str) -> bool | None:
        value = self.value(key)
        if value is None or isinstance(value, bool):
            return value
        self._mistyped(key, value, "true or false")
        return None

    def integer(
        self, key: str, *, at_least: int = 0, at_most: int = _LARGEST_INTEGER
    ) -> int | None:
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            self._mistyped(key, value, "a whole number")
            return None
        if not at_least <= value <= at_most:
            bounds = f"from {at_least} to {at_most}"
            if at_most == _LARGEST_INTEGER:
                bounds = f"{at_least} or more"
            self.problem(key, "is out of range", f"write a whole number, {bounds}")
            return None
        return value

    def port(self, key: str) -> int | None:
        """A port number, which older fly.toml files write in quotes."""
        value = self.value(key)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
            quoted = Table({key: int(value)}, self.path, self._problems)
            return quoted.integer(key, at_least=1, at_most=65535)
        return self.integer(key, at_least=1, at_most=65535)

    def duration_ns(
        self, key: str, *, bare_unit_ns: int | None = None, at_least_ns: int = 1
    ) -> int | None:
        """A duration; a bare number counts in `bare_unit_ns`, or is refused without one."""
        value = self.value(key)
        if value is None or value == "":
            return None
        example = 'write a duration such as "15s" or "1m30s"'
        if isinstance(value, int) and not isinstance(value, bool) and bare_unit_ns is not None:
            duration_ns = value * bare_unit_ns
        elif isinstance(value, str):
            try:
                duration_ns = parse_duration_ns(value)
            except ValueError as error:
                self.problem(key, f"is {shown(value)}, but {error}", example)
                return None
        elif bare_unit_ns is None and isinstance(value, (int, Decimal)):
            self.problem(key, "has no unit", example)
            return None
        else:
            self._mistyped(key, value, "a duration", example)
            return None
        if not at_least_ns <= duration_ns <= _LARGEST_INTEGER:
            self.problem(key, "is out of range", example)
            return None
        return duration_ns

    def size(self, key: str, *, kilo: int, unit_bytes: int) -> int | None:
        """Whole units of `unit_bytes`: a number counts in them, text may say its own ("2gb")."""
        value = self.value(key)
        if value is None or isinstance(value, int):
            return self.integer(key, at_least=1, at_most=_LARGEST_SIZE)
        text = self.text(key)
        if not text:
            return None
        said_size = _SIZE.fullmatch(text)
        size = 0
        if text.isascii() and text.isdigit():
            size = int(text[:12])
        elif said_size is not None:
            size_bytes = Decimal(said_size[1]) * kilo ** "bkmgt".index(said_size[2].lower() or "b")
            size = int(size_bytes) // unit_bytes
        if not 1 <= size <= _LARGEST_SIZE:
            self.problem(key, f"is {shown(text)}", 'write a size such as "512mb" or "2gb"')
            return None
        return size

    def command(self, key: str) -> list[str] | None:
        """A command as words, split as a shell would; None when it is not given."""
        text = self.text(key)
        try:
            return shlex.split(text or "") or None
        except ValueError as error:
            self.problem(key, f"cannot be split into words: {error}", "close the quotation")
            return None

    def texts(self, key: str, *, or_one: bool = False) -> list[str] | None:
        """A list of texts; with `or_one` a single text counts as a list of one."""
        value = self.value(key)
        if value is None:
            return None
        if or_one and isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            self._mistyped(key, value, "a list of texts", 'write ["one", "two"]')
            return None
        if not all(isinstance(item, str) for item in value):
            self.problem(key, "lists something that is not text", 'write ["one", "two"]')
            return None
        if any("\0" in item for item in value):
            self.problem(key, "holds a NUL character", "remove it")
            return None
        return list(value)

    def table(self, key: str) -> Table | None:
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self._mistyped(key, value, "a table", f"write [{self._header(key)}]")
            return None
        return Table(value, self.where(key), self._problems)

    def tables(self, *keys: str) -> list[Table]:
        """The tables of an array under any of these spellings; a single table is one of them."""
        found = []
        for key in keys:
            value = self.value(key)
            if isinstance(value, dict):
                found.append(Table(value, self.where(key), self._problems))
            elif isinstance(value, list) and len(value) > _MOST_TABLES:
                self.problem(key, f"has more than {_MOST_TABLES} entries", "remove some")
            elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
                found += [
                    Table(item, f"{self.where(key)}[{index}]", self._problems)
                    for index, item in enumerate(value)
                ]
            elif value is not None:
                self._mistyped(key, value, "a list of tables", f"write [[{self._header(key)}]]")
        return found

    def require(self, *keys: str, example: str) -> None:
        """One of these keys must be given."""
        if all(self._values.get(key) is None for key in keys):
            self.problem(keys[0], "is missing", f"write {example}")

    def refuse(self, key: str, what: str) -> None:
        """A key of fly.toml that would change the deploy, and that we cannot honour."""
        if self.value(key) not in (None, "", []):
            self.problem(key, f"asks for {what}", "remove it, or deploy with flyctl")

    def leave(self, effect: str, *keys: str) -> None:
        """Keys of fly.toml that are not carried out here, and what they would have done."""
        for key in keys:
            if self.value(key) not in (None, "", [], False, 0):
                path, fix = self.where(key), "remove it, or deploy with flyctl"
                self._problems.append(
                    Problem(path, f"is not carried out: it would {effect}", fix, is_fatal=False)
                )

    def skip(self, *keys: str) -> None:
        """These are keys of fly.toml that are not about a deploy."""
        self._known.update(keys)

    def end(self) -> None:
        """Every known key has been asked for: the rest are misspelt or misplaced."""
        unknown = [key for key in self._values if key not in self._known]
        for key in unknown[:_MOST_UNKNOWN_KEYS]:
            self.problem(
                key,
                "is not a key that is known here",
                did_you_mean(key, self._known) or "remove it, or move it to its section",
            )

    def problem(self, key: str, what: str, fix: str) -> None:
        self._problems.append(Problem(self.where(key), what, fix))

    def where(self, key: str) -> str:
        name = key if _BARE_KEY.fullmatch(key) else shown(key)
        return f"{self.path}.{name}" if self.path else name

    def _header(self, key: str) -> str:
        return _INDEX.sub("", self.where(key))

    def _mistyped(self, key: str, value: Any, wanted: str, fix: str = "") -> None:
        self.problem(key, f"is {_kind(value)}", fix or f"write {wanted}")


def said(**values: Any) -> Wire:
    """Only what was given: the platform has its own defaults for the rest."""
    return {key: value for key, value in values.items() if value is not None}


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`did you mean "x"?`, or nothing when no known word is near."""
    if len(word) > _LONGEST_SHOWN:
        return ""
    spelling = {name.lower(): name for name in sorted(known)}
    near = get_close_matches(word.lower(), spelling, n=1)
    return f"did you mean {shown(spelling[near[0]])}?" if near else ""


def shown(text: str) -> str:
    """Somebody else's text, quoted for a terminal: cut short and without control characters."""
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    printable = cut.isprintable()
    return json.dumps(cut, ensure_ascii=not printable)


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case Decimal():
            return "a number with a fraction"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or a time"
