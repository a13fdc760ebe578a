"""(Flag, unit, context, now) -> Decision, in this order, the first that applies:

    not enabled                               outside   DISABLED
    always_outside, then always_inside                  TARGETING_MATCH
    no unit, and one variant has everybody              STATIC
    no unit, or one that is not text          outside   ERROR
    the variant that has the bucket                     SPLIT

With `variants` the last one stands for outside, and the lists are looked at in their order.

Empty text is no unit. Pure: the time is an argument, and no input makes it raise. A flag
is compiled into a function once, so that a decision is little more than a hash:
bench/RESULTS.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

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
    Share,
    percent_text,
    share_text,
    time_text,
)
from rollout.wording import show

_LARGEST_INT = 2**53
"""Beyond it, languages that read numbers as doubles see another one."""

Shares: TypeAlias = tuple[Share, ...]

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
    shares = flag.shares(now)
    if not flag.enabled:
        return _disabled(flag, shares)
    decide = _split(flag, shares, now) if len(shares) == 2 else _weighted(flag, shares)
    return _listed(flag, shares, decide) if flag.always else decide


def _disabled(flag: Flag, shares: Shares) -> Decide:
    outcome = _outcome(flag, shares, flag.rest, "DISABLED", "the flag is off")

    def decide(unit: Any, _: Context = NOTHING_ELSE, /) -> Decision:
        return Decision(flag.outside, _usable(unit) or None, None, outcome)

    return decide


def _listed(flag: Flag, shares: Shares, otherwise: Decide) -> Decide:
    lists = flag.always

    def decide(unit: Any, context: Context = NOTHING_ELSE, /) -> Decision:
        for variant, value, attributes in lists:
            for name, texts in attributes.items():
                text = _usable(unit) if name == flag.bucket_by else _text(context.get(name))
                if text is None:
                    cause = f"{name} is not text but {type(context.get(name)).__name__}"
                    return _failed(flag, shares, cause, "INVALID_CONTEXT")
                if text and text in texts:
                    cause = f"{name} {show(text)} is always {variant}"
                    outcome = _outcome(flag, shares, variant, "TARGETING_MATCH", cause)
                    return Decision(value, _usable(unit) or None, None, outcome)
        return otherwise(unit)

    return decide


def _cause(flag: Flag, now: datetime) -> str:
    """Why units are split where they are at `now`."""
    cause = f"rollout is at {share_text(flag.threshold_at(now))}"
    if isinstance(flag.rollout, int):
        return cause
    step = flag.rollout.current(now)
    begins = time_text(step.at if step else flag.rollout.steps[0].at)
    cause += f" {'since' if step else 'until'} {begins}"
    return f"{cause}, paused" if flag.rollout.paused else cause


def _split(flag: Flag, shares: Shares, now: datetime) -> Decide:
    (first, value_inside, threshold), (last, value_outside, _) = shares
    cause = _cause(flag, now)
    inside = _outcome(flag, shares, first, "SPLIT", cause)
    outside = _outcome(flag, shares, last, "SPLIT", cause)
    limit = bucketing.limit(threshold)
    # None for empty text, which is no unit: the concatenation fails, at no price for others.
    heads: Any = (None, *bucketing.heads(flag.draw)[1:])
    otherwise = _drawn(flag, shares, [inside, outside], cause)

    # The hot path, held to bucketing.bucket by property tests; 190 ns where the hash
    # alone takes 40. What each trick saves: heads made beforehand, instead of a call of
    # bucketing.hash32, 470 ns; comparing the hash, so that the bucket is computed only
    # for who reads it, 70; a Struct instead of a named tuple, 210. Each call copies
    # the names it takes from outside, hence so few.
    def decide(unit: Any, _: Context = NOTHING_ELSE, /) -> Decision:
        try:
            data = str.encode(unit)
            hash32 = digest(heads[len(data)] + data)
        except (IndexError, TypeError, UnicodeEncodeError):
            return otherwise(unit)  # longer than any head is made for, or no unit
        if hash32 < limit:
            return Decision(value_inside, unit, hash32, inside)
        return Decision(value_outside, unit, hash32, outside)

    return decide


def _weighted(flag: Flag, shares: Shares) -> Decide:
    begins = [0, *(share.ends for share in shares)]
    outcomes = [
        _outcome(flag, shares, share.name, "SPLIT", f"{share.name} has {_span(start, share.ends)}")
        for start, share in zip(begins, shares, strict=False)
    ]
    return _drawn(flag, shares, outcomes, "it has all the weight")


def _drawn(flag: Flag, shares: Shares, outcomes: Sequence[Outcome], cause: str) -> Decide:
    """Who has the bucket, for any unit and any number of shares, without the tricks."""
    limits = [bucketing.limit(share.ends) for share in shares]

    def decide(unit: Any, _: Context = NOTHING_ELSE, /) -> Decision:
        if not (usable := _usable(unit)):
            return _no_unit(flag, shares, unit, cause)
        hash32 = bucketing.hash32(flag.draw, usable)
        index = bisect_right(limits, hash32)
        return Decision(shares[index].value, usable, hash32, outcomes[index])

    return decide


def _span(start: int, end: int) -> str:
    return f"{percent_text(start)} to {share_text(end)}"


def _no_unit(flag: Flag, shares: Shares, unit: object, cause: str) -> Decision:
    if unit is None or unit == "":
        begins = [0, *(share.ends for share in shares)]
        for start, share in zip(begins, shares, strict=False):
            if share.ends - start == EVERYBODY:
                outcome = _outcome(flag, shares, share.name, "STATIC", f"{cause}, for every unit")
                return Decision(share.value, None, None, outcome)
        by = flag.bucket_by
        missing = f"{by} is empty" if unit == "" else f"the context has no {by}"
        return _failed(flag, shares, missing, "TARGETING_KEY_MISSING")
    if isinstance(unit, str):
        wrong = f"{flag.bucket_by} {show(unit)} is not text that UTF-8 can carry"
    else:
        wrong = f"{flag.bucket_by} is not text but {type(unit).__name__}"
    return _failed(flag, shares, wrong, "INVALID_CONTEXT")


def _failed(flag: Flag, shares: Shares, cause: str, code: ErrorCode) -> Decision:
    outcome = _outcome(flag, shares, flag.rest, "ERROR", cause, code)
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
    shares: Shares,
    variant: str,
    reason: Reason,
    cause: str,
    error_code: ErrorCode = "",
) -> Outcome:
    weights = {each.name: each.weight for each in flag.variants}
    threshold = weights.get(variant, shares[0].ends)
    about: dict[str, bool | int | float | str] = {
        "bucketBy": flag.bucket_by,
        "percent": threshold / 1000,
    }
    if reason == "DISABLED":
        about["off"] = True
    said = {"owner": flag.owner, "expires": flag.expires, "description": flag.description}
    about |= {name: text for name, text in said.items() if text}
    return Outcome(flag.key, variant, reason, flag.bucket_by, threshold, cause, error_code, about)
