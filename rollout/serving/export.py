"""Flags -> a flagd definition that gives every unit the same answer, or a refusal.

flagd's `fractional` in its third generation (providers with flagd-core 2) draws by
the hash of [the flag's key, the targeting key], which is our bucket for a flag whose
salt is its key. Any other salt has no form there: what is given to `fractional` in
place of the two is hashed as it is, and an array means something else. See
flagd.dev/reference/custom-operations/fractional-operation. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rollout.bucketing import BUCKETS, bucket
from rollout.errors import ExportRefused
from rollout.flag import Flag, Ramp
from rollout.wording import show

_SCHEMA = "https://flagd.dev/schema/v0/flags.json"
_TARGETING_KEY = "targetingKey"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# flagd reads a name as a path: a dot leads inside, an empty name is everything, and
# what is a number may be a place in a list.
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

_UNIT_IS_ELSEWHERE = "the unit must be given as the targeting key"
"""A variant that does not exist: flagd answers with an error instead of another cohort."""


def to_flagd(flags: Iterable[Flag]) -> dict[str, Any]:
    """The definition, as JSON has it.

    Raises ExportRefused with the reason for each flag that cannot be expressed exactly.
    """
    found, reasons = {}, []
    for flag in flags:
        if reason := _inexpressible(flag):
            reasons.append(f"{flag.key} ({reason})")
        else:
            found[flag.key] = _definition(flag)
    if reasons:
        raise ExportRefused(
            f"flagd cannot give every unit the same answer for {', '.join(reasons)}",
            hint="name the flags to export, or serve them all with rollout serve",
        )
    return {"$schema": _SCHEMA, "flags": found}


def _inexpressible(flag: Flag) -> str:
    if not flag.enabled:
        return ""
    if flag.salt != flag.key:
        return f"its salt is {show(flag.salt)}, and flagd draws by the flag's key"
    for name in (flag.bucket_by, *flag.always_inside, *flag.always_outside):
        if not _PLAIN_NAME.fullmatch(name):
            return f"flagd takes {show(name)} for a path, not for the name of an attribute"
    if isinstance(flag.rollout, Ramp) and any(step.at.microsecond for step in flag.rollout.steps):
        return "its ramp has a step within a second, and flagd's clock has whole ones"
    return ""


def _definition(flag: Flag) -> dict[str, Any]:
    definition: dict[str, Any] = {
        # Not DISABLED: that is the caller's default, where ours is the value outside.
        "state": "ENABLED",
        "variants": {"inside": flag.inside, "outside": flag.outside},
        "defaultVariant": "outside",
    }
    if flag.enabled:
        definition["targeting"] = _targeting(flag)
    said = {name: getattr(flag, name) for name in ("owner", "expires", "description")}
    metadata = {"bucketBy": flag.bucket_by} | {key: text for key, text in said.items() if text}
    return definition | {"metadata": metadata}


def _targeting(flag: Flag) -> dict[str, Any]:
    """if, then, else if, then, ..., else: in the order of rollout.evaluate."""
    branches: list[Any] = []
    for variant, lists in (("outside", flag.always_outside), ("inside", flag.always_inside)):
        if matches := _matches(flag, lists):
            branches += [matches, variant]
    if flag.bucket_by != _TARGETING_KEY:
        is_elsewhere = {"!==": [_var(flag.bucket_by), _var(_TARGETING_KEY)]}
        branches += [{"and": [_is_given(flag.bucket_by), is_elsewhere]}, _UNIT_IS_ELSEWHERE]
    if not isinstance(flag.rollout, Ramp):
        return {"if": [*branches, _split(flag, flag.rollout)]}
    for step in reversed(flag.rollout.steps):
        at_s = int((step.at - _EPOCH).total_seconds())
        branches += [{">=": [_var("$flagd.timestamp"), at_s]}, _split(flag, step.threshold)]
    return {"if": [*branches, "outside"]}


def _split(flag: Flag, threshold: int) -> dict[str, Any]:
    split = {"fractional": [["inside", threshold], ["outside", BUCKETS - threshold]]}
    if bucket(flag.salt, "") >= threshold:
        return split
    # Empty text is a unit like any other; flagd's fractional takes it for none.
    return {"if": [{"===": [_var(_TARGETING_KEY), ""]}, "inside", split]}


def _matches(flag: Flag, lists: Mapping[str, frozenset[str]]) -> dict[str, Any] | None:
    found = [
        {"in": [_unit(flag) if name == flag.bucket_by else _var(name), sorted(values)]}
        for name, values in lists.items()
        if values
    ]
    return found[0] if len(found) == 1 else {"or": found} if found else None


def _unit(flag: Flag) -> dict[str, Any]:
    """As rollout.targeting finds it: the attribute, or else the targeting key."""
    if flag.bucket_by == _TARGETING_KEY:
        return _var(_TARGETING_KEY)
    return {"if": [_is_given(flag.bucket_by), _var(flag.bucket_by), _var(_TARGETING_KEY)]}


def _is_given(name: str) -> dict[str, Any]:
    return {"!==": [_var(name), None]}


def _var(name: str) -> dict[str, Any]:
    return {"var": name}
