"""What a flags file that is in order should still not be like: `rollout check --strict`. Pure.

The rules, by the name under which a finding is reported:

    owner     a flag without an owner                                       error
    expiry    a flag without an expiry, or past it (its last day is UTC)    error
              ... or one that is more than a year away                      warning
    finished  100 % for over 30 days: the flag should go                    warning
    idle      0 % for over 30 days: nobody uses it                          warning
    values    inside and outside are the same                               error
    lists     a text is both always inside and always outside               error
    text      a name or a listed text with invisible signs or blanks
              around it                                                     error
    attribute an attribute that looks like a slip of another one            warning
    salt      its salt, bucketing or bucket_by is not that of the base:
              everybody is drawn anew                                       error
    shared    two flags draw alike without both saying so by their salt     error
              ... or both do, and one of them is new since the base         warning
    jump      a rise by more than the largest step allowed                  error

Lowering is never a jump: going back must always be possible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from typing import Literal, TypeAlias

import msgspec

from rollout.bucketing import Draw
from rollout.file.flagfile import FlagFile
from rollout.file.splice import FlagText, flag_texts
from rollout.flag import Flag, Ramp, Step, arrow_text, share_text, time_text, value_text
from rollout.ramps.ramp import jumps
from rollout.wording import did_you_mean, printable, show, some

STANDING_DAYS = 30
_LONGEST = timedelta(days=366)

Rule: TypeAlias = Literal[
    "file", "owner", "expiry", "finished", "idle", "values", "lists", "text", "attribute", "salt",
    "shared", "jump",
]  # fmt: skip
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
        places = f" (named in {', '.join(some(self.places))})" if self.places else ""
        return f"{self.line}:{self.column}: {level}{self.message}; {self.fix}{places}"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules look at beside the file itself.

    `base` are the flags to compare with, None without any; `max_step` is a threshold;
    `complete` are the flags that were at 100 % all the time since STANDING_DAYS ago, `idle`
    those at 0 %; `places` tells for the former where the code names them.
    """

    now: datetime
    base: Mapping[str, Flag] | None = None
    max_step: int | None = None
    complete: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    places: Mapping[str, tuple[str, ...]] = {}


class Subject(msgspec.Struct, frozen=True):
    """One flag for the rules to look at: in its file, and as it was in the base, if it was.

    `names` are the attributes that the flags of the file use, and how many do.
    """

    flag: Flag
    text: FlagText
    before: Flag | None
    facts: Facts
    names: Counter[str]

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
    names = Counter(name for flag in file.flags.values() for name in _attributes(flag))
    subjects = [
        Subject(flag, texts[key], base.get(key), facts, names) for key, flag in file.flags.items()
    ]
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
        return
    left = date.fromisoformat(expires) - it.facts.now.astimezone(UTC).date()
    if left < timedelta(0):
        fix = "remove the flag, or agree with its owner on a later day"
        yield it.find("expiry", "expires", f"it expired on {expires}", fix)
    elif left > _LONGEST:
        message = f"it expires on {expires}, in more than a year"
        fix = "write the day on which it should be gone, within a year"
        yield it.find("expiry", "expires", message, fix, level="warning")


def _standing(it: Subject) -> Iterator[Finding]:
    key = it.flag.key
    if key in it.facts.complete:
        message = f"at 100 % for over {STANDING_DAYS} days"
        fix = "remove this flag, and the code that asks for it"
        places = it.facts.places.get(key, ())
        yield it.find("finished", "", message, fix, level="warning", places=places)
    if key in it.facts.idle:
        message = f"nobody is inside for over {STANDING_DAYS} days"
        yield it.find("idle", "", message, "roll it out, or remove it", level="warning")


def _values(it: Subject) -> Iterator[Finding]:
    pairs = [(each.name, each.value) for each in it.flag.variants]
    pairs = pairs or [("inside", it.flag.inside), ("outside", it.flag.outside)]
    for (name, value), (other, same) in combinations(pairs, 2):
        if value == same:
            message = f"{name} and {other} are both {value_text(value)}"
            what = "variants" if it.flag.variants else "inside"
            yield it.find("values", what, message, "make them differ, or remove the flag")


def _lists(it: Subject) -> Iterator[Finding]:
    for (winner, _, first), (other, _, second) in combinations(it.flag.always, 2):
        for name in first.keys() & second.keys():
            for text in sorted(first[name] & second[name]):
                message = f"{name} {show(text)} is both always {other} and always {winner}"
                what = "variants" if it.flag.variants else f"always_{other}"
                fix = "remove it from one of the two"
                yield it.find("lists", what, f"{message}, which wins", fix)


def _texts(it: Subject) -> Iterator[Finding]:
    flag = it.flag
    yield from _legible(it, "bucket_by", "bucket_by", flag.bucket_by)
    yield from _legible(it, "salt", "salt", flag.salt)
    for variant, _, lists in flag.always:
        what = "variants" if flag.variants else f"always_{variant}"
        for name, texts in lists.items():
            for text in (name, *sorted(texts)):
                yield from _legible(it, what, f"{what}: {show(name)}", text)


def _legible(it: Subject, what: str, where: str, text: str) -> Iterator[Finding]:
    if text != text.strip() or not text.isprintable():
        signs = ", ".join(dict.fromkeys(f"U+{ord(c):04X}" for c in text if not c.isprintable()))
        wrong = f"invisible signs ({signs})" if signs else "blanks around it"
        message = f'{where}: "{printable(text)}" has {wrong}'
        yield it.find("text", what, message, "write it without, or as it is if units have them")


def _slips(it: Subject) -> Iterator[Finding]:
    for name in sorted(_attributes(it.flag)):
        known = [other for other in it.names if _is_rather(other, name, it)]
        if hint := did_you_mean(name, known):
            uses = [variant for variant, _, lists in it.flag.always if name in lists]
            what = "variants" if it.flag.variants else f"always_{(uses or ['inside'])[-1]}"
            what = "bucket_by" if name == it.flag.bucket_by else what
            message = f"the attribute {show(name)} looks like a slip of another"
            yield it.find("attribute", what, message, hint, level="warning")


def _is_rather(other: str, name: str, it: Subject) -> bool:
    """Whether `other` is the better known of two names."""
    if other == name:
        return False
    return other == it.flag.bucket_by or it.names[other] > it.names[name]


def _attributes(flag: Flag) -> set[str]:
    return {flag.bucket_by, *(name for _, _, lists in flag.always for name in lists)}


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


_RULES = (_owned, _expiry, _standing, _values, _lists, _texts, _slips, _drawn_anew, _jump)


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
            fix = "remove its salt, unless that is intended"
        else:
            fix = f"remove its salt, or write salt: {show(it.flag.salt)} in both if intended"
        yield it.find("shared", "salt", message, fix, level="warning" if meant else "error")
