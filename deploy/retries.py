"""`--deploy-retries`: "auto" or a number -> how many retries, and why.

The one place where a deploy asks the rollout flag. The flag fails safe: when
it cannot be read or makes no sense, `auto` is 0 and the run says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.errors import UsageProblem

FLAG = "deploy-retries"
AUTO = "auto"
_LARGEST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """The answer: `count` 0 is the legacy path. `warning` tells of a flag that cannot be used."""

    count: int
    sentence: str
    decision: Mapping[str, Any] | None = None
    warning: str = ""
    warning_hint: str = ""

    @property
    def path(self) -> str:
        return "retrying" if self.count else "legacy"


def parse_setting(text: str) -> int | None:
    """The number that was asked for, None for auto. Raises UsageProblem for anything else."""
    if text == AUTO:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) and int(text) <= _LARGEST:
        return int(text)
    raise UsageProblem(
        f"--deploy-retries is {text!r}",
        hint=f"give a whole number from 0 to {_LARGEST}, or auto to ask the flag",
    )


def asked_for(count: int) -> Retries:
    """A number given by the person who deploys never reads a flag."""
    return _retries(count, f"{FLAG}: {count} (asked for)")


def refuse_missing(source: str | None) -> None:
    """Raise UsageProblem for a flags file, given as an option, that does not exist."""
    if source and ":" not in source and not Path(source).exists():
        raise UsageProblem(
            f"--flags: {source} does not exist", hint="name a flags file, or leave --flags out"
        )


def from_flag(source: str | None, *, context: Mapping[str, str], now: datetime) -> Retries:
    """What the flag says for this app at `now`, which has an offset.

    `source` is a path or URL, None for the flags that come with the program.
    Never raises: what cannot be used is told in the answer.
    """
    from rollout import Flags, RolloutError

    try:
        flags = Flags.load(source)
        decision = flags.evaluate_at(now, FLAG, context)
    except RolloutError as problem:
        return _unusable(problem.message, problem.hint)
    record = {
        "flag": decision.flag,
        "source": flags.source,
        "unit": decision.unit,
        "bucket": decision.bucket,
        "percent": decision.percent,
        "reason": decision.reason,
        "value": decision.value,
    }
    value = decision.value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        return _unusable(
            f"flag {FLAG} in {flags.source} is worth {value!r}, which is no number of retries",
            f"inside and outside must be whole numbers from 0 to {_LARGEST}",
            record,
        )
    return _retries(value, decision.explain(f"{FLAG}: {AUTO}"), record)


def _retries(count: int, sentence: str, record: Mapping[str, Any] | None = None) -> Retries:
    path = "retrying" if count else "legacy"
    return Retries(count=count, sentence=f"{sentence}: {path} path", decision=record)


def _unusable(message: str, hint: str, record: Mapping[str, Any] | None = None) -> Retries:
    return Retries(
        count=0,
        sentence=f"{FLAG}: {AUTO} -> 0 (the flag cannot be used): legacy path",
        decision=record or {"flag": FLAG, "reason": "ERROR", "error": message},
        warning=message,
        warning_hint=hint,
    )
