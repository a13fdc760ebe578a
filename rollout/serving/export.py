"""Flags -> a flagd definition that gives every unit the same answer, or a refusal.

flagd's `fractional` draws by the hash of the flag's key and the targeting key, in the
generation that the provider knows: `DRAWN_BY` says which. That is our bucket for a flag of
that generation whose salt is its key. Another salt has a form only in the second, which
hashes a text that is given in place of the two as it is. See
flagd.dev/reference/custom-operations/fractional-operation. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rollout.bucketing import BUCKETS, Generation
from rollout.errors import ExportRefused
from rollout.flag import Flag, Ramp, Share
from rollout.wording import show

DRAWN_BY: Mapping[Generation, str] = {
    "flagd-3": "openfeature-flagd-core 2.0.0 (Python)",
    "flagd-2": "flagd core 0.16.1 (Go) and @openfeature/flagd-core 4.0.1 (JavaScript)",
}
"""Which providers draw each generation, by trying them; docs/openfeature.md has the table."""

_SCHEMA = "https://flagd.dev/schema/v0/flags.json"
_TARGETING_KEY = "targetingKey"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# flagd reads a name as a path: a dot leads inside, an empty name is everything, and
# what is a number may be a place in a list.
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,15}")

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
    if flag.salt != flag.key and flag.bucketing == "flagd-3":
        return f"its salt is {show(flag.salt)}, and flagd draws by the flag's key"
    for name in (flag.bucket_by, *(name for _, _, lists in flag.always for name in lists)):
        if not _PLAIN_NAME.fullmatch(name):
            return f"flagd takes {show(name)} for a path, not for the name of an attribute"
    if isinstance(flag.rollout, Ramp) and any(step.at.microsecond for step in flag.rollout.steps):
        return "its ramp has a step within a second, and flagd's clock has whole ones"
    return ""


def _definition(flag: Flag) -> dict[str, Any]:
    definition: dict[str, Any] = {
        # Not DISABLED: that is the caller's default, where ours is the value outside.
        "state": "ENABLED",
        "variants": {each.name: each.value for each in flag.variants}
        or {"inside": flag.inside, "outside": flag.outside},
        "defaultVariant": flag.rest,
    }
    if flag.enabled:
        definition["targeting"] = _targeting(flag)
    said = {name: getattr(flag, name) for name in ("owner", "expires", "description")}
    metadata = {"bucketBy": flag.bucket_by} | {key: text for key, text in said.items() if text}
    return definition | {"metadata": metadata}


def _targeting(flag: Flag) -> dict[str, Any]:
    """if, then, else if, then, ..., else: in the order of rollout.evaluate."""
    branches: list[Any] = []
    for variant, _, lists in flag.always:
        if matches := _matches(flag, lists):
            branches += [matches, variant]
    if flag.bucket_by != _TARGETING_KEY:
        is_elsewhere = {"!==": [_var(flag.bucket_by), _var(_TARGETING_KEY)]}
        branches += [{"and": [_is_given(flag.bucket_by), is_elsewhere]}, _UNIT_IS_ELSEWHERE]
    if not isinstance(flag.rollout, Ramp):
        return {"if": [*branches, _split(flag, flag.shares(_EPOCH))]}
    for step in reversed(flag.rollout.steps):
        at_s = int((step.at - _EPOCH).total_seconds())
        branches += [{">=": [_var("$flagd.timestamp"), at_s]}, _split(flag, flag.shares(step.at))]
    return {"if": [*branches, flag.rest]}


def _split(flag: Flag, shares: Sequence[Share]) -> Any:
    begins = [0, *(share.ends for share in shares)]
    weights = [[each.name, each.ends - start] for each, start in zip(shares, begins, strict=False)]
    if whole := [name for name, weight in weights if weight == BUCKETS]:
        return whole[0]  # for all, with or without a unit
    if flag.salt == flag.key:
        return {"fractional": weights}
    salted = {"fractional": [{"cat": [flag.salt, _var(_TARGETING_KEY)]}, *weights]}
    return {"if": [_is_given(_TARGETING_KEY), salted, flag.rest]}


def _matches(flag: Flag, lists: Mapping[str, frozenset[str]]) -> dict[str, Any] | None:
    found = []
    for name, texts in lists.items():
        is_unit = name == flag.bucket_by
        listed: list[str | int] = sorted(texts - {""} if is_unit else texts)
        if listed:
            if not is_unit:
                # A number that is given for an attribute matches its text, as in evaluate.
                listed += sorted(int(text) for text in texts if _INTEGER.fullmatch(text))
            found.append({"in": [_unit(flag) if is_unit else _var(name), listed]})
    return found[0] if len(found) == 1 else {"or": found} if found else None


def _unit(flag: Flag) -> dict[str, Any]:
    """As rollout.targeting finds it: the attribute, or else the targeting key."""
    if flag.bucket_by == _TARGETING_KEY:
        return _var(_TARGETING_KEY)
    return {"if": [_is_given(flag.bucket_by), _var(flag.bucket_by), _var(_TARGETING_KEY)]}


def _is_given(name: str) -> dict[str, Any]:
    return {"and": [{"!==": [_var(name), None]}, {"!==": [_var(name), ""]}]}


def _var(name: str) -> dict[str, Any]:
    return {"var": name}
