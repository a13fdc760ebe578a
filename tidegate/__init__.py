"""Tidegate under its own name: what a program that embeds it needs.

    >>> from tidegate import Flags
    >>> Flags.__module__
    'rollout.flags'

The names are those of `rollout`, which other packages are called too. Importing
this costs nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidegate.own import own_rollout

if TYPE_CHECKING:
    from rollout import *  # noqa: F403 - the same names, for type checkers


def __getattr__(name: str) -> Any:
    public = own_rollout()
    if name == "__all__" or name in public.__all__:
        return getattr(public, name)
    raise AttributeError(f"module 'tidegate' has no attribute {name!r}")
