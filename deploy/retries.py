"""`--deploy-retries`: "auto" or a number -> how many retries, and why.

The one place where a deploy asks the rollout flag. The flag fails safe: when
it cannot be read or makes no sense, `auto` is 0 and the run says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from deploy.errors import UsageProblem
from deploy.events import FlagDecision

FLAG = "deploy-retries"
AUTO = "auto"
_LARGEST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """The answer: `count` 0 is the legacy path. `warning` tells of a flag that cannot be used.

    `assigned` is what the flag says, also where the number was given by hand: a rollout is
    judged by it. `is_open`: nobody can know before the deploy begins.
    """

    count: int
    sentence: str
    decision: FlagDecision | None = None
    assigned: FlagDecision | None = None
    warning: str = ""
    warning_hint: str = ""
    is_open: bool = False

    @property
    def path(self) -> str:
        if self.is_open:
            return "unknown"
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
    """A number given by the person who deploys: no flag has a say in it."""
    return _retries(count, f"{FLAG}: {count} (asked for)")


def refuse_missing(source: str | None) -> None:
    """Raise UsageProblem for a flags file, given as an option, that does not exist."""
    if source and ":" not in source and not Path(source).exists():
        raise UsageProblem(
            f"--flags: {source} does not exist", hint="name a flags file, or leave --flags out"
        )


def as_assigned(retries: Retries, flag: Retries) -> Retries:
    """The same, knowing what the flag would have said."""
    return replace(retries, assigned=flag.assigned)


def foretold(source: str | None, *, context: Mapping[str, str], now: datetime) -> Retries:
    """What the flag will say of the next deploy, as far as that can be known.

    Where every deploy is drawn by itself it cannot, while the rollout is on its way: then
    the flag finds no unit to draw.
    """
    from rollout import Flags, RolloutError

    known = from_flag(source, context=context, now=now)
    try:
        flag = Flags.load(source)[FLAG]
    except RolloutError:
        return known
    is_open = known.decision is not None and known.decision.reason == "ERROR"
    if flag.bucket_by != "deploy" or not is_open:
        return known
    at = f"the rollout is at {flag.live_threshold(now) / 1000:g} %"
    sentence = f"{FLAG}: {AUTO} -> known when it begins (every deploy is drawn by itself, {at})"
    return Retries(count=0, sentence=sentence, is_open=True)


def from_flag(source: str | None, *, context: Mapping[str, str], now: datetime) -> Retries:
    """What the flag says for this app at `now`, which has an offset.

    `source` is a path or URL, None for the flags that come with the program.
    Never raises: the answer carries a warning about what cannot be used.
    """
    from rollout import Flags, RolloutError

    try:
        flags = Flags.load(source)
        answer = flags.evaluate_at(now, FLAG, context)
    except RolloutError as problem:
        unread = FlagDecision(flag=FLAG, reason="ERROR", error=problem.message)
        return _unusable(unread, problem.hint)
    count = _count(answer.value)
    decision = FlagDecision(
        flag=answer.flag,
        source=flags.source,
        unit=answer.unit or "",
        bucket=answer.bucket,
        percent=float(answer.percent),
        variant=answer.variant,
        reason=answer.reason,
        value=count,
    )
    if count is None:
        worth = f"flag {FLAG} in {flags.source} is worth {answer.value!r}"
        error = f"{worth}, which is not a number of retries"
        hint = f"inside and outside must be whole numbers from 0 to {_LARGEST}"
        return _unusable(replace(decision, error=error), hint)
    return _retries(count, answer.explain(f"{FLAG}: {AUTO}"), decision)


def _count(value: object) -> int | None:
    """A flag's value as a number of retries, None where it is not one."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST:
        return value
    return None


def _retries(count: int, why: str, decision: FlagDecision | None = None) -> Retries:
    sentence = f"{why}: {'retrying' if count else 'legacy'} path"
    decided = replace(decision, sentence=sentence) if decision else None
    return Retries(count=count, sentence=sentence, decision=decided, assigned=decided)


def _unusable(decision: FlagDecision, hint: str) -> Retries:
    none = _retries(0, f"{FLAG}: {AUTO} -> 0 (the flag cannot be used)", decision)
    return replace(none, warning=decision.error, warning_hint=hint)
