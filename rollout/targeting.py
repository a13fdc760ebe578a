"""OpenFeature's evaluation context -> the context that a flag looks at.

The unit is the attribute that the flag's `bucket_by` names; where the context has
none of that name, it is the targeting key. So one context serves flags that are
bucketed by different things, and a program that knows only a targeting key is served
too. Attributes are otherwise taken as they are, `targetingKey` among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.flag import Decision, Reason
from rollout.flags import Flags

TARGETING_KEY = "targetingKey"

REASONS: Mapping[Reason, str] = {
    "SPLIT": "SPLIT",
    "TARGETING_MATCH": "TARGETING_MATCH",
    "STATIC": "STATIC",
    "DISABLED": "STATIC",
    "ERROR": "ERROR",
}
"""Our reasons in the words of the wire, with which the value in the file wins in every client.

Nothing is DISABLED there, for which clients of OFREP take their program's default: a flag
that is off is STATIC, and its metadata say `off`.
"""


def evaluate(flags: Flags, key: str, targeting_key: Any, attributes: Mapping[str, Any]) -> Decision:
    """What the flag `key` is worth now; raises UnknownFlag and nothing else."""
    bucket_by, decide, has_lists = flags.deciding(key)
    unit = targeting_key if bucket_by == TARGETING_KEY else attributes.get(bucket_by)
    if unit is None or unit == "":
        unit = targeting_key
    if has_lists:
        return decide(unit, {**attributes, TARGETING_KEY: targeting_key})
    return decide(unit)


def metadata(decision: Decision) -> dict[str, bool | int | float | str]:
    """What else there is to know about a decision, as OpenFeature's flag metadata."""
    found = {**decision.outcome.about}
    if (bucket := decision.bucket) is not None:
        found["bucket"] = bucket
    return found
