"""(Flag, Context, now) -> Decision, in this order, the first that applies:

    not enabled                           outside   DISABLED
    always_outside, then always_inside              TARGETING_MATCH
    no unit, or one that is not text      outside   ERROR
    bucket below the threshold or not               SPLIT

Pure: the time is an argument, and no input makes it raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias

from mmh3 import mmh3_32_uintdigest as digest

from rollout import bucketing
from rollout.bucketing import BUCKETS
from rollout.errors import show
from rollout.flag import (
    Context,
    Decision,
    ErrorCode,
    Flag,
    Outcome,
    Ramp,
    Reason,
    Step,
    Variant,
    percent_text,
)

Decide: TypeAlias = Callable[[Context], Decision]


def evaluate(flag: Flag, context: Context, now: datetime) -> Decision:
    """What `flag` is worth in `context` at `now` (with an offset; only a ramp looks at it)."""
    return compile_flag(flag, now)(context)


def compile_flag(flag: Flag, now: datetime) -> Decide:
    """The same for many contexts: all that does not depend on them is done here, once.

    The result holds for as long as no step of the flag's ramp begins.
    """
    step = flag.rollout.current(now) if isinstance(flag.rollout, Ramp) else None
    if not flag.enabled:
        return _disabled(flag, _outcome(flag, step, "outside", "DISABLED", "the flag is off"))
    split = _split(flag, step)
    if flag.always_outside or flag.always_inside:
        return _listed(flag, step, split)
    return split


def _disabled(flag: Flag, outcome: Outcome) -> Decide:
    def decide(context: Context) -> Decision:
        return Decision(outcome, _usable(context.get(flag.bucket_by)), None)

    return decide


def _listed(flag: Flag, step: Step | None, otherwise: Decide) -> Decide:
    lists: tuple[tuple[Variant, Mapping[str, frozenset[str]]], ...] = (
        ("outside", flag.always_outside),
        ("inside", flag.always_inside),
    )

    def decide(context: Context) -> Decision:
        for variant, attributes in lists:
            for name, values in attributes.items():
                value = context.get(name)
                if isinstance(value, str) and value in values:
                    cause = f"{name} {show(value)} is always {variant}"
                    outcome = _outcome(flag, step, variant, "TARGETING_MATCH", cause)
                    return Decision(outcome, _usable(context.get(flag.bucket_by)), None)
        return otherwise(context)

    return decide


def _split(flag: Flag, step: Step | None) -> Decide:
    cause = f"rollout is at {percent_text(_threshold(flag, step))} %"
    if isinstance(flag.rollout, Ramp):
        steps = flag.rollout.steps
        cause += f" since {_time(step.at)}" if step else f" until {_time(steps[0].at)}"
    inside = _outcome(flag, step, "inside", "SPLIT", cause)
    outside = _outcome(flag, step, "outside", "SPLIT", cause)
    threshold, salt, bucket_by = outside.threshold, flag.salt, flag.bucket_by
    heads = bucketing.heads(salt)

    def decide(context: Context) -> Decision:
        # The hot path. It repeats the line of bucketing.bucket, because a call of
        # that would cost as much as the hash; a property test holds the two together.
        try:
            unit = context[bucket_by]
            data = unit.encode()
            bucket = (digest(heads[len(data)] + data) * BUCKETS) >> 32
        except (LookupError, AttributeError, TypeError, UnicodeEncodeError):
            unit = context.get(bucket_by)
            if (usable := _usable(unit)) is None:
                return _no_unit(flag, step, unit)
            bucket = bucketing.bucket(salt, usable)
        return Decision(inside if bucket < threshold else outside, unit, bucket)

    return decide


def _no_unit(flag: Flag, step: Step | None, unit: object) -> Decision:
    code: ErrorCode = "INVALID_CONTEXT"
    if unit is None:
        cause, code = f"the context has no {flag.bucket_by}", "TARGETING_KEY_MISSING"
    elif isinstance(unit, str):
        cause = f"{flag.bucket_by} {show(unit)} is not text that UTF-8 can carry"
    else:
        cause = f"{flag.bucket_by} is not text but {type(unit).__name__}"
    return Decision(_outcome(flag, step, "outside", "ERROR", cause, code), None, None)


def _usable(unit: object) -> str | None:
    """The unit, if it is one."""
    if not isinstance(unit, str):
        return None
    try:
        unit.encode()
    except UnicodeEncodeError:
        return None
    return unit


def _outcome(
    flag: Flag,
    step: Step | None,
    variant: Variant,
    reason: Reason,
    cause: str,
    error_code: ErrorCode = "",
) -> Outcome:
    value = flag.inside if variant == "inside" else flag.outside
    threshold = _threshold(flag, step)
    return Outcome(flag.key, variant, value, reason, flag.bucket_by, threshold, cause, error_code)


def _threshold(flag: Flag, step: Step | None) -> int:
    if isinstance(flag.rollout, int):
        return flag.rollout
    return step.threshold if step else 0


def _time(at: datetime) -> str:
    return at.isoformat(timespec="minutes" if not at.second else "seconds")
