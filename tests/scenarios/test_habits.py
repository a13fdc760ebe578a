"""Deploys on servers with habits of their own, which are no faults."""

from __future__ import annotations

import pytest

from tests.worlds.simulated.habits import Habits
from tests.worlds.stage import NEW, Stage, on_stage


@pytest.mark.parametrize("strategy", ["rolling", "bluegreen"])
@pytest.mark.parametrize(
    "habits",
    [
        Habits(lease_hides_description=True),
        Habits(create_ignores_lease_ttl=True),
        Habits(longest_lease_s=4),
        Habits(refuses_refresh=(409,)),
        Habits(list_lags_s=5),
        Habits(versions_without_config=True),
        Habits(drops_unknown_keys=True),
    ],
    ids=lambda habits: next(key for key in habits.__slots__ if getattr(habits, key)),
)
def test_a_deploy_ends_wholly_new_whatever_the_habit(habits: Habits, strategy: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(strategy=strategy)
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)

    on_stage(play, habits=habits)
