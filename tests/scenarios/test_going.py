"""Machines that are being destroyed: a process takes its time, and nobody counts it any more."""

from __future__ import annotations

import anyio
import pytest

from deploy.commands.deploy import deploy_app
from tests.worlds.simulated.habits import Habits
from tests.worlds.stage import NEW, OLD, Stage, on_stage

NEWER = NEW.replace("2", "3")
SLOW = Habits(destroys_for_s=30.0)


async def swap(stage: Stage) -> None:
    """A finished bluegreen whose blues are on their way out for a good while."""
    await stage.settle(2)
    told = await stage.deploy(strategy="bluegreen")
    assert told.exit_code == 0
    assert sorted(m.state for m in stage.world.machines()) == ["destroying"] * 2 + ["started"] * 2


def kept(stage: Stage) -> list[str]:
    return sorted(m.config.image or "" for m in stage.world.machines() if m.state == "started")


@pytest.mark.parametrize("retries", [0, 3])
def test_a_rollback_just_after_a_bluegreen_brings_back_the_machines_that_stay(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await swap(stage)
        told = await stage.rollback(retries=retries)
        assert told.end.message.startswith("sim is as it was before deploy ")
        assert told.of("destroy") == []
        assert kept(stage) == [OLD] * 2

    on_stage(play, habits=SLOW)


def test_nothing_is_left_to_resume_just_after_a_bluegreen() -> None:
    async def play(stage: Stage) -> None:
        await swap(stage)
        told = await stage.resume()
        assert (told.finished, told.error, told.changes) == (None, None, [])

    on_stage(play, habits=SLOW)


def test_status_and_history_just_after_a_bluegreen_show_what_stays() -> None:
    async def play(stage: Stage) -> None:
        await swap(stage)
        shown = await stage.status()
        assert "warning" not in shown
        assert "under way" not in shown
        assert "2 machines being destroyed: " in shown
        assert (await stage.history())[0].outcome == "done"

    on_stage(play, habits=SLOW)


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_the_next_deploy_goes_over_what_stays(strategy: str) -> None:
    async def play(stage: Stage) -> None:
        await swap(stage)
        told = await stage.deploy(NEWER, strategy=strategy)
        assert told.exit_code == 0
        assert told.end.leftovers == ()
        assert kept(stage) == [NEWER] * 2

    on_stage(play, habits=SLOW)


def test_scale_gives_no_name_that_is_not_free_yet() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        assert (await stage.scale("web", 1)).exit_code == 0
        assert (await stage.scale("web", 2)).exit_code == 0
        names = {m.name for m in stage.world.machines() if m.state == "started"}
        assert names == {"web-1", "web-3"}

    on_stage(play, habits=SLOW)


@pytest.mark.parametrize("retries", [0, 3])
def test_what_others_are_destroying_of_ours_is_not_told_as_unknown(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        options = {"image": NEW, "strategy": "canary", "retries": retries}
        told = await stage.start(deploy_app, options)
        await anyio.sleep(12)
        (canary,) = (name for name in stage.fleet if "canary" in name)
        stage.world.platform.destroy(stage.machine(canary), force=True)
        await told.is_over.wait()
        assert "destroying" in told.end.message
        assert "unknown" not in {each.runs for each in told.end.machines}

    on_stage(play, habits=SLOW)


def test_a_first_deploy_waits_for_its_names() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2, image=OLD)
        for machine in list(stage.world.machines()):
            stage.world.platform.destroy(machine, force=True)
        told = await stage.deploy(retries=0)
        assert "free once machine" in told.end.message
        await anyio.sleep(40)
        assert (await stage.deploy(retries=0)).exit_code == 0
        assert kept(stage) == [NEW] * 2

    on_stage(play, habits=SLOW)
