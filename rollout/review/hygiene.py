"""What a flags file that is in order should still not be like: `rollout check --strict`. Pure.

The rules, by the name under which a finding is reported:

    owner     a flag without an owner                                       error
    expiry    a flag without an expiry, or past it (its last day is UTC)    error
    finished  100 % for over 30 days: the flag should go                    warning
    salt      its salt, bucketing or bucket_by is not that of the base:
              everybody is drawn anew                                       error
    shared    two flags draw alike without both saying so by their salt     error
              ... or both do, and one of them is new since the base         warning
    jump      a rise by more than the largest step allowed                  error

Lowering is never a jump: going back must always be possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Literal, TypeAlias

import msgspec

from rollout.bucketing import Draw
from rollout.file.flagfile import FlagFile
from rollout.file.splice import FlagText, flag_texts
from rollout.flag import Flag, Ramp, Step, arrow_text, share_text, time_text
from rollout.ramps.ramp import jumps
from rollout.wording import show

FINISHED_DAYS = 30

Rule: TypeAlias = Literal["file", "owner", "expiry", "finished", "salt", "shared", "jump"]
Level: TypeAlias = Literal["error", "warning"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that should be otherwise; `line` and `column` count from 1.

    `places` are lines of code that name the flag, as `path:line`.
    """

    rule: Rule
    level: Level = "error"
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


class Subject(msgspec.Struct, frozen=True):
    """One flag for the rules to look at: in its file, and as it was in the base, if it was."""

    flag: Flag
    text: FlagText
    before: Flag | None
    facts: Facts

    def find(
        self,
        rule: Rule,
        what: str,
        message: str,
        fix: str,
        *,
        level: Level = "error",
        places: tuple[str, ...] = (),
    ) -> Finding:
        """A finding at the value of the key `what`, or at the flag's name if it has none such."""
        line, column = self.text.place(what)
        return Finding(
            rule=rule,
            level=level,
            line=line,
            column=column,
            message=f"{self.flag.key}: {message}",
            fix=fix,
            flag=self.flag.key,
            places=places,
        )


def inspect(file: FlagFile, facts: Facts) -> list[Finding]:
    """All that should be otherwise, in the order of the file."""
    texts = flag_texts(file.text)
    base = facts.base or {}
    subjects = [Subject(flag, texts[key], base.get(key), facts) for key, flag in file.flags.items()]
    found = [finding for subject in subjects for rule in _RULES for finding in rule(subject)]
    found += _shared(subjects)
    return sorted(found, key=lambda finding: (finding.line, finding.column, finding.rule))


def _owned(it: Subject) -> Iterator[Finding]:
    if not it.flag.owner.strip():
        fix = "add owner: with the team that answers for it"
        yield it.find("owner", "owner", "it has no owner", fix)


def _expiry(it: Subject) -> Iterator[Finding]:
    expires = it.flag.expires
    if not expires:
        fix = "add expires: with the last day on which it should exist"
        yield it.find("expiry", "expires", "it has no expiry", fix)
    elif it.facts.now.astimezone(UTC).date() > date.fromisoformat(expires):
        fix = "remove the flag, or agree with its owner on a later day"
        yield it.find("expiry", "expires", f"it expired on {expires}", fix)


def _finished(it: Subject) -> Iterator[Finding]:
    key = it.flag.key
    if key in it.facts.finished:
        message = f"at 100 % for over {FINISHED_DAYS} days"
        fix = "remove this flag, and the code that asks for it"
        places = it.facts.places.get(key, ())
        yield it.find("finished", "", message, fix, level="warning", places=places)


def _drawn_anew(it: Subject) -> Iterator[Finding]:
    if it.before is None:
        return
    for what in ("salt", "bucketing", "bucket_by"):
        was, is_now = getattr(it.before, what), getattr(it.flag, what)
        if was != is_now:
            message = f"{what} was {show(was)} in the base: everybody is drawn anew"
            yield it.find("salt", what, message, f"write {what}: {show(was)}")


def _jump(it: Subject) -> Iterator[Finding]:
    flag, before, most, has_base = it.flag, it.before, it.facts.max_step, it.facts.base is not None
    if most is None or (before is not None and before.rollout == flag.rollout):
        return
    level = before.threshold_at(it.facts.now) if before is not None else 0
    limit = f"more than the {share_text(most)} allowed"
    if isinstance(flag.rollout, Ramp):
        for was, step in _new_jumps(flag.rollout, before, level, most, has_base):
            rise = f"{arrow_text(was, step.threshold)} on {time_text(step.at)}"
            yield it.find("jump", "ramp", f"{rise} is {limit}", "add steps between the two")
    elif has_base and flag.rollout - level > most:
        message = f"{arrow_text(level, flag.rollout)} is {limit}"
        yield it.find("jump", "percent", message, f"go to {share_text(level + most)} first")


def _new_jumps(
    ramp: Ramp, before: Flag | None, level: int, most: int, has_base: bool
) -> Iterator[tuple[int, Step]]:
    """The jumps of a ramp that the one before did not have."""
    old = before.rollout if before else None
    known = jumps(old.planned, level, most) if isinstance(old, Ramp) else []
    # Without a base nothing tells from where the first step rises.
    start = level if has_base else ramp.planned[0].threshold
    return (jump for jump in jumps(ramp.planned, start, most) if jump not in known)


_RULES = (_owned, _expiry, _finished, _drawn_anew, _jump)


def _shared(subjects: Sequence[Subject]) -> Iterator[Finding]:
    first_with: dict[Draw, Subject] = {}
    for it in subjects:
        other = first_with.setdefault(it.flag.draw, it)
        if other is it:
            continue
        meant = all("salt" in each.text.entries for each in (it, other))
        known = it.facts.base is None or None not in (it.before, other.before)
        if meant and known:
            continue
        message = f"it has the salt of {other.flag.key}, so that both have the same units inside"
        if meant:
            fix = "remove its salt, if that is not meant"
        else:
            fix = f"remove its salt; or, if that is meant, write salt: {show(it.flag.salt)} in both"
        yield it.find("shared", "salt", message, fix, level="warning" if meant else "error")
