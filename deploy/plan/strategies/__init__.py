"""The rollout strategies, a file each; this is the list of them.

A strategy is loaded when it is asked for: the command line wants their names alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.plan.strategies.strategy import Strategy

STRATEGY_NAMES = ("rolling", "canary", "bluegreen", "immediate")
DEFAULT = STRATEGY_NAMES[0]


def strategy_named(name: str) -> Strategy:
    """The STRATEGY of the file of that name, which is one of STRATEGY_NAMES."""
    found: Strategy = import_module(f"{__name__}.{name}").STRATEGY
    return found
