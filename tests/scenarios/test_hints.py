"""Law 14: every way in which a run can leave an app, and what it advises then.

`on_stage` follows each command of each hint literally; here every member of
`Left` is brought about, and the words are held.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from deploy.hints import Left
from tests.worlds.following import advice_of
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.stage import BROKEN, NEW, OLD, Death, Hit, Stage, Told, on_stage, to

UNAVAILABLE = BY_NAME["503 before"]
NEWER = "registry.test/hello:3"


async def _half(stage: Stage, **options: Any) -> Told:
    """A deploy that spends its passes on one machine, and is held where it is."""
    hits = [Hit("update", UNAVAILABLE, times=9, on=to(stage.id("web-3")))]
    return await stage.deploy(hits=hits, retries=1, rolls_back=False, **options)


async def nothing(stage: Stage) -> Told:
    await stage.settle(3)
    return await stage.deploy()


async def forward(stage: Stage) -> Told:
    await stage.settle(3)
    return await _half(stage)


async def app_failed(stage: Stage) -> Told:
    await stage.settle(3)
    return await stage.deploy(BROKEN, rolls_back=False)


async def first(stage: Stage) -> Told:
    return await stage.deploy(hits=[Hit("create", UNAVAILABLE, times=9, nth=1)], retries=1)


async def first_app_failed(stage: Stage) -> Told:
    return await stage.deploy(BROKEN, retries=2)


async def back(stage: Stage) -> Told:
    await stage.settle(3)
    await stage.deploy()
    return await stage.rollback(hits=[Hit("update", UNAVAILABLE, times=9, nth=1)], retries=1)


async def back_by_itself(stage: Stage) -> Told:
    await stage.settle(3)
    return await stage.deploy(hits=[Hit("update", UNAVAILABLE, times=99, nth=1)], retries=1)


WAYS: dict[str, tuple[Callable[[Stage], Awaitable[Told]], Left, list[str]]] = {
    "nothing is unfinished": (nothing, Left.NOTHING, []),
    "forward": (forward, Left.FORWARD, ["finishes it", "undoes it"]),
    "the app fails": (app_failed, Left.APP_FAILED, ["undoes it"]),
    "a first deploy, half made": (first, Left.FIRST, ["finishes it"]),
    "a first deploy whose app fails": (first_app_failed, Left.FIRST_APP_FAILED, []),
    "a rollback": (back, Left.BACK, ["goes on with it"]),
    "a deploy that went back": (back_by_itself, Left.BACK, ["goes on with it"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_advised_fits_how_the_app_was_left(way: str) -> None:
    bring_about, _, promises = WAYS[way]

    async def play(stage: Stage) -> None:
        told = await bring_about(stage)
        assert [a.promise for a in advice_of(told.hints) if a.promise] == promises, told.hints

    on_stage(play)


def test_the_table_has_every_way_but_the_one_with_a_scenario_of_its_own() -> None:
    """Being overtaken is tried in test_recovery."""
    assert {left for _, left, _ in WAYS.values()} == set(Left) - {Left.OVERTAKEN}


def test_a_deploy_with_a_file_of_its_own_is_not_finished_by_another_apps_file() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await _half(stage, config_path="fly.staging.toml")
        assert "--config fly.staging.toml" in told.hints
        assert "--app sim" in told.hints

    on_stage(play)


def test_a_bluegreen_that_left_nothing_unfinished_advises_no_rollback() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        assert (await stage.deploy(NEW)).exit_code == 0
        hits = [Hit("create", UNAVAILABLE, times=99)]
        told = await stage.deploy(NEWER, strategy="bluegreen", hits=hits, retries=1)
        assert told.exit_code == 1
        assert advice_of(told.hints) == []
        assert stage.images == [NEW] * 2

    on_stage(play)


@pytest.mark.parametrize(("image", "promises"), [(NEW, 2), (BROKEN, 1)])
def test_status_advises_what_a_run_would(image: str, promises: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await stage.deploy(image, dies=Death("update", 1 if image == NEW else 0))
        assert "is under way" in await stage.status()
        await anyio.sleep(60)
        advised = [advice.promise for advice in advice_of(await stage.status())]
        assert advised == ["finishes it", "undoes it"][-promises:]
        assert sorted(set(stage.images)) == sorted({OLD, image})

    on_stage(play)
