"""Decide, for a unit, what a flag is worth; see ARCHITECTURE.md.

    >>> from rollout import Flags
    >>> flags = Flags.parse('''
    ... version: 1
    ... flags:
    ...   deploy-retries: {bucket_by: app, percent: 5, inside: 5, outside: 0}
    ... ''')
    >>> decision = flags.evaluate("deploy-retries", app="hello")
    >>> decision.value, decision.reason, decision.bucket
    (0, 'SPLIT', 6343)
    >>> decision.explain()
    'deploy-retries -> 0 (app hello is at 6.343 %, rollout is at 5 %)'

`Flags.load(path_or_url)` reads them from where they are kept.
Importing this costs nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollout.errors import (
        BadFlagFile,
        EditRefused,
        InvalidValue,
        NoSuchSource,
        Problem,
        RolloutError,
        SourceProblem,
        UnknownFlag,
    )
    from rollout.flag import Context, Decision, Flag, Ramp, Step, Value, Variant
    from rollout.flags import Flags

__all__ = [
    "BadFlagFile",
    "Context",
    "Decision",
    "EditRefused",
    "Flag",
    "Flags",
    "InvalidValue",
    "NoSuchSource",
    "Problem",
    "Ramp",
    "RolloutError",
    "SourceProblem",
    "Step",
    "UnknownFlag",
    "Value",
    "Variant",
]

_HOMES = {"Flags": "flags"} | dict.fromkeys(
    ("Context", "Decision", "Flag", "Ramp", "Step", "Value", "Variant"), "flag"
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"rollout.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
