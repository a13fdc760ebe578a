"""What a flags file that is in order should still not be like: `rollout check --strict`. Pure.

The rules, by the name under which a finding is reported:

    owner     a flag without an owner                                       error
    expiry    a flag without an expiry, or past it (its last day is UTC)    error
    finished  100 % for over 30 days: the flag should go                    warning
    salt      its salt or its bucket_by is not that of the base: everybody
              is drawn anew                                                 error
    shared    two flags draw alike without both saying so by their salt     error
              ... or both do, and one of them is new since the base         warning
    jump      a rise by more than the largest step allowed                  error

Lowering is never a jump: going back must always be possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Literal, TypeAlias

import msgspec

from rollout.errors import show
from rollout.file.flagfile import FlagFile
from rollout.file.splice import FlagText, flag_texts
from rollout.flag import Flag, Ramp, percent_text, time_text
from rollout.ramps.ramp import jumps

FINISHED_DAYS = 30
_EVERYBODY = 100_000

Rule: TypeAlias = Literal["file", "owner", "expiry", "finished", "salt", "shared", "jump"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that should be otherwise; `line` and `column` count from 1.

    `places` are lines of code that name the flag, as `path:line`.
    """

    rule: Rule
    level: Literal["error", "warning"]
    line: int
    column: int
    message: str
    fix: str
    flag: str = ""
    places: tuple[str, ...] = ()

    def __str__(self) -> str:
        level = "warning: " if self.level == "warning" else ""
        places = f" (named in {', '.join(self.places)})" if self.places else ""
        return f"{self.line}:{self.column}: {level}{self.message}; {self.fix}{places}"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules look at beside the file itself.

    `base` are the flags to compare with, None without any; `max_step` is a threshold;
    `finished` are the flags that were at 100 % all the time since FINISHED_DAYS ago;
    `places` tells for these where the code names them.
    """

    now: datetime
    base: Mapping[str, Flag] | None = None
    max_step: int | None = None
    finished: frozenset[str] = frozenset()
    places: Mapping[str, tuple[str, ...]] = {}


def inspect(file: FlagFile, facts: Facts) -> list[Finding]:
    """All that should be otherwise, in the order of the file."""
    found: list[Finding] = []
    texts = flag_texts(file.text)
    for key, flag in file.flags.items():
        text = texts[key]
        found += _owned(flag, text, facts.now)
        if key in facts.finished:
            places = facts.places.get(key, ())
            message = f"{key}: at 100 % for over {FINISHED_DAYS} days"
            fix = "remove this flag, and the code that asks for it"
            found.append(
                _at(key, text, "", "finished", message, fix, level="warning", places=places)
            )
        if facts.base is not None:
            found += _drawn_anew(flag, facts.base.get(key), text)
        if facts.max_step is not None:
            found += _jumps(flag, facts, facts.max_step, text)
    found += _shared(file, texts, facts.base)
    return sorted(found, key=lambda finding: (finding.line, finding.column, finding.rule))


def at_everybody(flag: Flag | None, now: datetime) -> bool:
    """Whether the flag is on and at 100 % at `now`."""
    return flag is not None and flag.enabled and flag.threshold_at(now) == _EVERYBODY


def _owned(flag: Flag, text: FlagText, now: datetime) -> Iterator[Finding]:
    if not flag.owner.strip():
        fix = "add owner: with the team that answers for it"
        yield _at(flag.key, text, "owner", "owner", f"{flag.key}: it has no owner", fix)
    if not flag.expires:
        fix = "add expires: with the last day on which it should exist"
        yield _at(flag.key, text, "expires", "expiry", f"{flag.key}: it has no expiry", fix)
    elif now.astimezone(UTC).date() > date.fromisoformat(flag.expires):
        fix = "remove the flag, or agree with its owner on a later day"
        message = f"{flag.key}: it expired on {flag.expires}"
        yield _at(flag.key, text, "expires", "expiry", message, fix)


def _finished(key: str, text: FlagText, places: tuple[str, ...]) -> Finding:
    message = f"{key}: at 100 % for over {FINISHED_DAYS} days"
    fix = "remove this flag, and the code that asks for it"
    return _at(key, text, "", "finished", message, fix, level="warning", places=places)


def _drawn_anew(flag: Flag, before: Flag | None, text: FlagText) -> Iterator[Finding]:
    if before is None:
        return
    for what in ("salt", "bucket_by"):
        was, is_now = getattr(before, what), getattr(flag, what)
        if was != is_now:
            message = f"{flag.key}: {what} was {show(was)} in the base: everybody is drawn anew"
            yield _at(flag.key, text, what, "salt", message, f"write {what}: {show(was)}")


def _jumps(flag: Flag, facts: Facts, most: int, text: FlagText) -> Iterator[Finding]:
    before = (facts.base or {}).get(flag.key)
    if before is not None and before.rollout == flag.rollout:
        return
    level = before.threshold_at(facts.now) if before is not None else 0
    limit = f"more than the {percent_text(most)} % allowed"
    if not isinstance(flag.rollout, Ramp):
        if facts.base is not None and flag.rollout - level > most:
            message = f"{flag.key}: {_arrow(level, flag.rollout)} is {limit}"
            fix = f"go to {percent_text(level + most)} % first"
            yield _at(flag.key, text, "percent", "jump", message, fix)
        return
    steps = (*flag.rollout.steps, *flag.rollout.waiting)
    old = before.rollout if before else None
    known = jumps((*old.steps, *old.waiting), level, most) if isinstance(old, Ramp) else []
    # Without a base nothing tells from where the first step rises.
    start = level if facts.base is not None else steps[0].threshold
    for was, step in jumps(steps, start, most):
        if (was, step) not in known:
            rise = f"{_arrow(was, step.threshold)} on {time_text(step.at)}"
            message = f"{flag.key}: {rise} is {limit}"
            yield _at(flag.key, text, "ramp", "jump", message, "add steps between the two")


def _shared(
    file: FlagFile, texts: Mapping[str, FlagText], base: Mapping[str, Flag] | None
) -> Iterator[Finding]:
    first_with: dict[str, str] = {}
    for key, flag in file.flags.items():
        other = first_with.setdefault(flag.salt, key)
        if other == key:
            continue
        meant = all("salt" in texts[name].entries for name in (key, other))
        new = base is not None and not (key in base and other in base)
        if meant and not new:
            continue
        yield _at(
            key,
            texts[key],
            "salt",
            "shared",
            f"{key}: it has the salt of {other}, so that both have the same units inside",
            f"remove its salt; or, if that is meant, write salt: {show(flag.salt)} in both"
            if not meant
            else "remove its salt, if that is not meant",
            level="warning" if meant else "error",
        )


def _arrow(was: int, is_now: int) -> str:
    return f"{percent_text(was)} % -> {percent_text(is_now)} %"


def _at(
    key: str,
    text: FlagText,
    what: str,
    rule: Rule,
    message: str,
    fix: str,
    *,
    level: Literal["error", "warning"] = "error",
    places: tuple[str, ...] = (),
) -> Finding:
    """A finding at the value of the key `what`, or at the flag's name if it has no such key."""
    line, column = text.place(what)
    return Finding(
        rule=rule,
        level=level,
        line=line,
        column=column,
        message=message,
        fix=fix,
        flag=key,
        places=places,
    )
