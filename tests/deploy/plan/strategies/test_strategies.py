"""The list of strategies and their files say the same."""

from __future__ import annotations

from pkgutil import iter_modules

from deploy.plan import strategies
from deploy.plan.strategies import STRATEGY_NAMES, strategy_named


def test_every_name_is_a_file_and_every_file_is_listed() -> None:
    files = {module.name for module in iter_modules(strategies.__path__)}
    assert files - {"strategy"} == set(STRATEGY_NAMES)
    assert [strategy_named(name).name for name in STRATEGY_NAMES] == list(STRATEGY_NAMES)
