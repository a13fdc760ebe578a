"""Machine checks on the legacy path: what fails ends the pass, and leaves no machine of theirs."""

from __future__ import annotations

import pytest

from deploy.events import Result
from tests.scenarios.test_machine_checks import (
    BAD,
    GOOD,
    UNAVAILABLE,
    is_check,
    left_over,
    made,
)
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.stage import NEW, OLD, Hit, Stage, on_stage


def test_nothing_begins_after_one_that_failed() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(retries=0)
        assert told.exit_code == 3
        assert "exit code 1" in told.end.message
        assert sorted(stage.images) == [OLD, OLD, NEW]
        assert left_over(stage) == []

    on_stage(play, toml=BAD)


def test_a_hiccup_of_its_creation_ends_the_pass() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit("create", UNAVAILABLE, on=is_check)]
        told = await stage.deploy(retries=0, hits=hits)
        assert told.exit_code == 3
        assert sorted(stage.images) == [OLD, OLD, NEW]
        assert len(told.changes) == 2  # the update, and the create that failed

    on_stage(play, toml=GOOD)


def test_a_create_that_lands_after_its_pass_has_ended_leaves_no_machine() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        hits = [Hit("create", BY_NAME["reply lost"], on=is_check)]
        told = await stage.deploy(retries=0, hits=hits)
        assert told.exit_code == 3
        assert left_over(stage) == []

    on_stage(play, toml=GOOD)


def test_a_release_whose_check_nobody_has_seen_pass_is_not_done() -> None:
    """Though its only machine runs it, and serves: what finishes it runs the check."""

    async def play(stage: Stage) -> None:
        await stage.settle(1)
        hits = [Hit("create", UNAVAILABLE, on=is_check)]
        told = await stage.deploy(retries=0, hits=hits)
        assert told.exit_code == 3
        assert stage.images == [NEW]
        assert "finishes it" in told.hints

    on_stage(play, toml=GOOD)


@pytest.mark.parametrize("machines", [1, 3])
def test_a_deploy_over_one_whose_check_nobody_has_seen_pass_runs_it(machines: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(machines)
        hits = [Hit("create", UNAVAILABLE, on=is_check)]
        await stage.deploy(retries=0, hits=hits)
        told = await stage.deploy(retries=3)
        assert (told.exit_code, stage.images) == (0, [NEW] * machines)
        assert len(made(told)) == 1
        assert told.end.result is Result.DONE
        again = await stage.deploy(retries=3)
        assert (again.end.result, again.changes) == (Result.UNCHANGED, [])

    on_stage(play, toml=GOOD)
