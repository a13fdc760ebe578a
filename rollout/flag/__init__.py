"""The values that rollout is made of: Flag, Ramp, Context, Decision. All frozen.

A percentage is kept as its *threshold*, the exact integer percent * 1000: a unit
is inside when its bucket is below the threshold. Knows no file and no clock, and hashes nothing.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from rollout.bucketing import BUCKETS, Draw, Generation
from rollout.flag.guard import Guard
from rollout.wording import show

Value: TypeAlias = bool | int | float | str | Mapping[str, Any]
"""What a flag can be worth; an object holds what JSON does, and belongs to the flag."""

Context: TypeAlias = Mapping[str, Any]
"""What is known about the one who asks: attribute name to value, units are text."""

Reason: TypeAlias = Literal["SPLIT", "TARGETING_MATCH", "STATIC", "DISABLED", "ERROR"]
ErrorCode: TypeAlias = Literal["", "TARGETING_KEY_MISSING", "INVALID_CONTEXT"]
EVERYBODY = BUCKETS
"""The threshold of 100 %."""

NOTHING_SAID: Mapping[str, bool | int | float | str] = MappingProxyType({})
NOBODY: Mapping[str, frozenset[str]] = MappingProxyType({})


class Step(msgspec.Struct, frozen=True):
    """From `at` (with an offset) on, the rollout is at `threshold`, 0..100000."""

    at: datetime
    threshold: int


class Ramp(msgspec.Struct, frozen=True):
    """Dated steps, in order of time; before the first the rollout is at 0.

    A ramp that was `paused` has only the steps from before; those `waiting` take no
    effect. One that was paused before it began has a step to 0 in that moment.
    """

    steps: tuple[Step, ...]
    paused: datetime | None = None
    waiting: tuple[Step, ...] = ()

    @property
    def planned(self) -> tuple[Step, ...]:
        """All steps that the file has, those waiting included."""
        return (*self.steps, *self.waiting)

    def current(self, now: datetime) -> Step | None:
        """The step that holds at `now` (with an offset), None before the first."""
        index = bisect_right(self.steps, now, key=attrgetter("at"))
        return self.steps[index - 1] if index else None


class Variant(msgspec.Struct, frozen=True):
    """One of the values of a flag that has more than two.

    `weight` is its share of the units, 0..100000; `always` maps an attribute to the values
    that always have this variant.
    """

    name: str
    weight: int
    value: Value
    always: Mapping[str, frozenset[str]] = NOBODY


class Share(NamedTuple):
    """A variant of a flag and the threshold, 0..100000, below which its buckets end."""

    name: str
    value: Value
    ends: int


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """A flag as flags.yaml states it.

    `bucket_by` names the attribute that is the unit. `rollout` is a threshold
    (0..100000) or a Ramp. `always_inside` and `always_outside` map an attribute
    to the values that are always in or out; outside wins. `expires` is an ISO date.
    `bucketing` is the generation of the hash; `guard` says by which outcomes the percentage
    moves, None by none. `variants` are the values of a flag that has them instead of inside
    and outside; these are then those of the first and the last, the last is what the rest
    has, and `rollout` the share of all others. Who has a guard has no ramp and no variants.
    """

    key: str
    bucket_by: str
    inside: Value
    outside: Value
    rollout: int | Ramp
    salt: str
    bucketing: Generation = "flagd-3"
    enabled: bool = True
    always_inside: Mapping[str, frozenset[str]] = NOBODY
    always_outside: Mapping[str, frozenset[str]] = NOBODY
    variants: tuple[Variant, ...] = ()
    description: str = ""
    owner: str = ""
    expires: str = ""
    guard: Guard | None = None

    def shares(self, now: datetime) -> tuple[Share, ...]:
        """Which variant has which buckets at `now`, in the order of the buckets.

        Behind the first comes the last, so that a first one that grows takes from the last
        alone; those between the two follow, the later ones first.
        """
        if not self.variants:
            inside = Share("inside", self.inside, self.threshold_at(now))
            return inside, Share("outside", self.outside, EVERYBODY)
        first, *between, last = self.variants
        found, ends = [], 0
        for variant in (first, last, *reversed(between)):
            ends += variant.weight
            found.append(Share(variant.name, variant.value, ends))
        return tuple(found)

    @property
    def rest(self) -> str:
        """The variant of those that no other one has: outside, or the last."""
        return self.variants[-1].name if self.variants else "outside"

    @property
    def always(self) -> tuple[tuple[str, Value, Mapping[str, frozenset[str]]], ...]:
        """(variant, its value, its lists) in the order in which they are looked at."""
        if self.variants:
            found = tuple((each.name, each.value, each.always) for each in self.variants)
        else:
            outside = ("outside", self.outside, self.always_outside)
            found = (outside, ("inside", self.inside, self.always_inside))
        return tuple(each for each in found if each[2])

    @property
    def draw(self) -> Draw:
        """What units are drawn with."""
        return Draw(self.salt, self.bucketing)

    def threshold_at(self, now: datetime) -> int:
        """The threshold, 0..100000, that the file gives this flag at `now`."""
        if isinstance(self.rollout, int):
            return self.rollout
        step = self.rollout.current(now)
        return step.threshold if step else 0

    def live_threshold(self, now: datetime) -> int:
        """The threshold that holds at `now`: 0 for a flag that is off."""
        return self.threshold_at(now) if self.enabled else 0


class Outcome(msgspec.Struct, frozen=True):
    """All of a Decision that does not depend on the unit; built once, shared by many.

    `cause` is the part of the explanation that is known beforehand, `about` what
    OpenFeature's metadata say of it.
    """

    flag: str
    variant: str
    reason: Reason
    bucket_by: str
    threshold: int
    cause: str
    error_code: ErrorCode = ""
    about: Mapping[str, bool | int | float | str] = NOTHING_SAID


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What a flag is worth for one unit, and why.

    `value` is the flag's `inside` or its `outside`. `unit` is None when the context
    has no usable one; `hash32`, the hash that decided, is None unless the reason is
    SPLIT. Built for every evaluation, hence the smallest object that can answer all
    the questions below.
    """

    value: Value
    unit: str | None
    hash32: int | None
    outcome: Outcome

    @property
    def bucket(self) -> int | None:
        """Where the unit stands, 0..99999; None unless the reason is SPLIT."""
        hash32 = self.hash32  # bucketing.bucket_of, without the price of the call
        return None if hash32 is None else (hash32 * BUCKETS) >> 32

    @property
    def flag(self) -> str:
        """The flag's key."""
        return self.outcome.flag

    @property
    def variant(self) -> str:
        """Which of the flag's values it is, by its name."""
        return self.outcome.variant

    @property
    def reason(self) -> Reason:
        """OpenFeature's word for how the value came about."""
        return self.outcome.reason

    @property
    def error_code(self) -> ErrorCode:
        """OpenFeature's error code; empty unless the reason is ERROR."""
        return self.outcome.error_code

    @property
    def percent(self) -> str:
        """How far the rollout was, in percent, as exact decimal text: "5", "0.125"."""
        return percent_text(self.outcome.threshold)

    @property
    def why(self) -> str:
        """The cause, for people: "app hello is at 6.343 %, rollout is at 5 %"."""
        if (bucket := self.bucket) is None:
            return self.outcome.cause
        whole, thousandths = divmod(bucket, 1000)
        at = f"{self.outcome.bucket_by} {show(self.unit or '')} is at {whole}.{thousandths:03d} %"
        return f"{at}, {self.outcome.cause}"

    def explain(self, subject: str = "") -> str:
        """One sentence for people: "deploy-retries -> 0 (app hello is at ...)".

        `subject` is what stands before the arrow; the flag's key if not given.
        """
        return f"{subject or self.flag} -> {value_text(self.value)} ({self.why})"


def percent_text(threshold: int) -> str:
    """A threshold as the shortest exact decimal number of percent."""
    whole, thousandths = divmod(threshold, 1000)
    return f"{whole}.{thousandths:03d}".rstrip("0").rstrip(".") if thousandths else str(whole)


def share_text(threshold: int) -> str:
    """The same with its sign: "5 %"."""
    return f"{percent_text(threshold)} %"


def level_text(flag: Flag, now: datetime) -> str:
    """How far a flag is at `now`: "5 %", or the weights of its variants, "10/20.5/69.5 %"."""
    if flag.variants:
        return "/".join(percent_text(each.weight) for each in flag.variants) + " %"
    return share_text(flag.threshold_at(now))


def arrow_text(was: int, is_now: int) -> str:
    """Two thresholds: "1 % -> 5 %"."""
    return f"{share_text(was)} -> {share_text(is_now)}"


def time_text(at: datetime) -> str:
    """A time as flags.yaml writes it: ISO 8601 with its offset, Z for UTC."""
    written = at.isoformat(timespec="auto" if at.second or at.microsecond else "minutes")
    return written.removesuffix("+00:00") + "Z" if written.endswith("+00:00") else written


def value_text(value: Value) -> str:
    """A value as flags.yaml writes it, on one line."""
    if isinstance(value, str):
        return show(value)
    return json.dumps(value, ensure_ascii=False)
