"""(Flag, unit, context, now) -> Decision, in this order, the first that applies:

    not enabled                               outside   DISABLED
    always_outside, then always_inside                  TARGETING_MATCH
    no unit, at 100 or 0 percent                        STATIC
    no unit, or one that is not text          outside   ERROR
    bucket below the threshold or not                   SPLIT

Empty text is no unit. Pure: the time is an argument, and no input makes it raise. A flag
is compiled into a function once, so that a decision is little more than a hash:
bench/RESULTS.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

from mmh3 import mmh3_32_uintdigest as digest

from rollout import bucketing
from rollout.flag import (
    EVERYBODY,
    Context,
    Decision,
    ErrorCode,
    Flag,
    Outcome,
    Reason,
    Value,
    Variant,
    share_text,
    time_text,
)
from rollout.wording import show

_LARGEST_INT = 2**53
"""Beyond it, languages that read numbers as doubles see another one."""

NOTHING_ELSE: Context = MappingProxyType({})


class Decide(Protocol):
    """A flag compiled: what it is worth for a unit, the value of the flag's bucket_by.

    `context` holds what else is known, for always_inside and always_outside.
    """

    def __call__(self, unit: Any, context: Context = NOTHING_ELSE, /) -> Decision: ...


def evaluate(flag: Flag, context: Context, now: datetime) -> Decision:
    """What `flag` is worth in `context` at `now` (with an offset; only a ramp looks at it)."""
    return compile_flag(flag, now)(context.get(flag.bucket_by), context)


def compile_flag(flag: Flag, now: datetime) -> Decide:
    """The same for many units: all that does not depend on them is done here, once.

    The result holds for as long as no step of the flag's ramp begins.
    """
    threshold = flag.threshold_at(now)
    if not flag.enabled:
        return _disabled(flag, threshold)
    split = _split(flag, threshold, _cause(flag, now))
    if flag.always_outside or flag.always_inside:
        return _listed(flag, threshold, split)
    return split


def _disabled(flag: Flag, threshold: int) -> Decide:
    outcome = _outcome(flag, threshold, "outside", "DISABLED", "the flag is off")

    def decide(unit: Any, _: Context = NOTHING_ELSE, /) -> Decision:
        return Decision(flag.outside, _usable(unit) or None, None, outcome)

    return decide


def _listed(flag: Flag, threshold: int, otherwise: Decide) -> Decide:
    lists: tuple[tuple[Variant, Value, Mapping[str, frozenset[str]]], ...] = (
        ("outside", flag.outside, flag.always_outside),
        ("inside", flag.inside, flag.always_inside),
    )

    def decide(unit: Any, context: Context = NOTHING_ELSE, /) -> Decision:
        for variant, value, attributes in lists:
            for name, texts in attributes.items():
                text = _usable(unit) if name == flag.bucket_by else _text(context.get(name))
                if text is None:
                    cause = f"{name} is not text but {type(context.get(name)).__name__}"
                    return _failed(flag, threshold, cause, "INVALID_CONTEXT")
                if text and text in texts:
                    cause = f"{name} {show(text)} is always {variant}"
                    outcome = _outcome(flag, threshold, variant, "TARGETING_MATCH", cause)
                    return Decision(value, _usable(unit) or None, None, outcome)
        return otherwise(unit)

    return decide


def _cause(flag: Flag, now: datetime) -> str:
    """Why units are split where they are at `now`."""
    cause = f"rollout is at {share_text(flag.threshold_at(now))}"
    if isinstance(flag.rollout, int):
        return cause
    step = flag.rollout.current(now)
    cause += (
        f" since {time_text(step.at)}" if step else f" until {time_text(flag.rollout.steps[0].at)}"
    )
    return f"{cause}, paused" if flag.rollout.paused else cause


def _split(flag: Flag, threshold: int, cause: str) -> Decide:
    inside = _outcome(flag, threshold, "inside", "SPLIT", cause)
    outside = _outcome(flag, threshold, "outside", "SPLIT", cause)
    value_inside, value_outside = flag.inside, flag.outside
    # None for empty text, which is no unit: the concatenation fails, at no price for others.
    heads: Any = (None, *bucketing.heads(flag.draw)[1:])
    draw, limit, encode = flag.draw, bucketing.limit(threshold), str.encode

    # The hot path, held to bucketing.bucket by property tests; 190 ns where the hash
    # alone takes 40. What each trick saves: heads made beforehand, instead of a call of
    # bucketing.hash32, 470 ns; comparing the hash, so that the bucket is computed only
    # for who reads it, 70; a Struct instead of a named tuple, 210.
    def decide(unit: Any, _: Context = NOTHING_ELSE, /) -> Decision:
        try:
            data = encode(unit)
            hash32 = digest(heads[len(data)] + data)
        except (IndexError, TypeError, UnicodeEncodeError):
            if not _usable(unit):
                return _no_unit(flag, threshold, unit, cause)
            hash32 = bucketing.hash32(draw, unit)  # longer than any head is made for
        if hash32 < limit:
            return Decision(value_inside, unit, hash32, inside)
        return Decision(value_outside, unit, hash32, outside)

    return decide


def _no_unit(flag: Flag, threshold: int, unit: object, cause: str) -> Decision:
    if unit is None or unit == "":
        if threshold in (0, EVERYBODY):
            variant: Variant = "inside" if threshold else "outside"
            outcome = _outcome(flag, threshold, variant, "STATIC", f"{cause}, whoever asks")
            return Decision(getattr(flag, variant), None, None, outcome)
        missing = (
            f"{flag.bucket_by} is empty" if unit == "" else f"the context has no {flag.bucket_by}"
        )
        return _failed(flag, threshold, missing, "TARGETING_KEY_MISSING")
    if isinstance(unit, str):
        wrong = f"{flag.bucket_by} {show(unit)} is not text that UTF-8 can carry"
    else:
        wrong = f"{flag.bucket_by} is not text but {type(unit).__name__}"
    return _failed(flag, threshold, wrong, "INVALID_CONTEXT")


def _failed(flag: Flag, threshold: int, cause: str, code: ErrorCode) -> Decision:
    outcome = _outcome(flag, threshold, "outside", "ERROR", cause, code)
    return Decision(flag.outside, None, None, outcome)


def _usable(unit: object) -> str:
    """The unit, if it is one, or else nothing."""
    if not isinstance(unit, str):
        return ""
    try:
        unit.encode()
    except UnicodeEncodeError:
        return ""
    return unit


def _text(given: object) -> str | None:
    """What a list has for this attribute, nothing if it is not given, None if there is no text.

    A number is its shortest decimal text, as JSON has it, and a boolean its word.
    """
    if isinstance(given, str):
        return given
    if given is None:
        return ""
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, float):
        return str(int(given)) if given.is_integer() else repr(given)
    if isinstance(given, int) and abs(given) <= _LARGEST_INT:
        return str(given)
    return None


def _outcome(
    flag: Flag,
    threshold: int,
    variant: Variant,
    reason: Reason,
    cause: str,
    error_code: ErrorCode = "",
) -> Outcome:
    about: dict[str, bool | int | float | str] = {
        "bucketBy": flag.bucket_by,
        "percent": threshold / 1000,
    }
    if reason == "DISABLED":
        about["off"] = True
    said = {"owner": flag.owner, "expires": flag.expires, "description": flag.description}
    about |= {name: text for name, text in said.items() if text}
    return Outcome(flag.key, variant, reason, flag.bucket_by, threshold, cause, error_code, about)
