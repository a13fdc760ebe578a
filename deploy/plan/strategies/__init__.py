"""The rollout strategies, a file each; this is the list of them."""

from __future__ import annotations

from deploy.plan.release import Release
from deploy.plan.strategies.bluegreen import BLUEGREEN
from deploy.plan.strategies.canary import CANARY
from deploy.plan.strategies.immediate import IMMEDIATE
from deploy.plan.strategies.rolling import ROLLING
from deploy.plan.strategies.strategy import Scene, Strategy

STRATEGIES = {each.name: each for each in (ROLLING, CANARY, BLUEGREEN, IMMEDIATE)}
STRATEGY_NAMES = tuple(STRATEGIES)
DEFAULT = ROLLING.name

__all__ = ["DEFAULT", "STRATEGIES", "STRATEGY_NAMES", "Scene", "Strategy", "strategy_of"]


def strategy_of(release: Release) -> Strategy:
    return STRATEGIES[release.strategy]
