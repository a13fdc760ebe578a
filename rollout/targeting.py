"""OpenFeature's evaluation context -> the context that a flag looks at.

The unit is the attribute that the flag's `bucket_by` names; where the context has
none of that name, it is the targeting key. So one context serves flags that are
bucketed by different things, and a program that knows only a targeting key is served
too. Attributes are otherwise taken as they are, `targetingKey` among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.flag import Decision
from rollout.flags import Flags

TARGETING_KEY = "targetingKey"


def evaluate(flags: Flags, key: str, targeting_key: Any, attributes: Mapping[str, Any]) -> Decision:
    """What the flag `key` is worth now; raises UnknownFlag and nothing else."""
    bucket_by = flags[key].bucket_by
    context = {**attributes, TARGETING_KEY: targeting_key}
    if context.get(bucket_by) in (None, ""):
        context[bucket_by] = targeting_key
    return flags.evaluate(key, **context)


def reason(decision: Decision) -> str:
    """The word for the wire, with which the value in the file wins in every client.

    Not DISABLED, for which clients of OFREP take their program's default: a flag that is
    off is STATIC, and its metadata say `off`.
    """
    return "STATIC" if decision.reason == "DISABLED" else decision.reason


def metadata(flags: Flags, decision: Decision) -> dict[str, bool | int | float | str]:
    """What else there is to know about a decision, as OpenFeature's flag metadata."""
    flag = flags[decision.flag]
    found: dict[str, bool | int | float | str] = {
        "bucketBy": flag.bucket_by,
        "percent": decision.outcome.threshold / 1000,
    }
    if decision.bucket is not None:
        found["bucket"] = decision.bucket
    if decision.reason == "DISABLED":
        found["off"] = True
    for name in ("owner", "expires", "description"):
        if text := getattr(flag, name):
            found[name] = text
    return found
