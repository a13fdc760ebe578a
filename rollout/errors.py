"""Everything that can go wrong between a flags file and a decision.

    RolloutError                message, hint, exit code; rendered once, in cli.py
    |-- SourceProblem       2   the text cannot be had
    |   `-- NoSuchSource    2   because there is nothing at that path
    |-- BadFlagFile         1   the text is not a flags file; carries every problem found
    |-- UnknownFlag         1   the file has no such flag
    |-- EditRefused         1   the file cannot be changed as asked; nothing was written
    |-- ExportRefused       1   another evaluator's format cannot say the same
    |-- Eviction            1   a change would throw units out of a cohort
    |-- NotCompared         1   a flag whose outcomes have no two sides
    `-- InvalidValue        2   a value given by the caller: a unit, a percentage, a time

A unit that is missing or unusable during an evaluation is no exception: it is a
Decision with the reason ERROR, because a flag must always have a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rollout.wording import did_you_mean, show

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2


class RolloutError(Exception):
    """What happened, in one line, and what to do next.

    `exit_code` is the code with which the `rollout` command ends on this error.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class SourceProblem(RolloutError):
    """The text of the flags cannot be read from where it should come."""

    exit_code = EXIT_USAGE


class NoSuchSource(SourceProblem):
    """There is no file at the path given."""


class Problem(NamedTuple):
    """One thing that is wrong in a flags file; `line` and `column` count from 1."""

    line: int
    column: int
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.message}; {self.fix}"


class BadFlagFile(RolloutError):
    """The text is not a flags file; `problems` holds all that is wrong, in order of place."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems))
        first = self.problems[0]
        more = len(self.problems) - 1
        rest = f" (and {more} more)" if more else ""
        where = f"{source}:{first.line}:{first.column}"
        super().__init__(f"{where}: {first.message}{rest}", hint=first.fix)


class UnknownFlag(RolloutError, KeyError):
    """The file has no flag of this name."""

    def __init__(self, key: str, known: Iterable[str], source: str) -> None:
        names = list(known)
        listed = ", ".join(names[:10]) + (", ..." if names[10:] else "")
        otherwise = f"the flags are: {listed}" if names else "add it under flags:"
        hint = did_you_mean(key, names, otherwise)
        super().__init__(f"{source} has no flag {show(key)}", hint=hint)
        self.key = key


class EditRefused(RolloutError):
    """The change asked for was not made, and nothing was written."""


class Eviction(RolloutError):
    """A change of the flags would throw units out that are inside now."""


class ExportRefused(RolloutError):
    """A flag has no exact equal in the format asked for."""


class NotCompared(RolloutError):
    """Outcomes are compared between two sides, and the flag has more."""


class InvalidValue(RolloutError, ValueError):
    """A value that the caller gave cannot be used."""

    exit_code = EXIT_USAGE
