"""What is so on the legacy path alone: it stops where something fails, and leaves it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from deploy.commands.deploy import deploy_app
from tests.scenarios.test_strategies import cannot_prove, failed_unseen, unhealthy_green
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.habits import Habits
from tests.worlds.stage import BROKEN, NEW, OLD, Hit, Stage, Told, on_stage

UNAVAILABLE = BY_NAME["503 before"]
NEWER = "registry.test/hello:3"


def test_it_begins_nothing_after_its_first_failed_call() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(4)
        hits = [Hit("update", UNAVAILABLE, nth=1)]
        told = await stage.deploy(hits=hits, retries=0)
        assert (told.exit_code, told.passes()) == (3, 1)
        assert len(told.of("update")) <= 3  # those that were under way already
        failed_s = next(call.heard_s or 0.0 for call in told.of("update") if call.fault)
        assert not [call for call in told.changes if call.sent_s > failed_s]
        assert sorted(set(stage.images)) == [OLD, NEW]

    on_stage(play)


def test_a_rival_that_has_waited_leases_what_the_other_left_behind() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        sick = {"image": BROKEN, "strategy": "canary", "retries": 0, "wait_timeout_s": 10.0}
        first = await stage.start(deploy_app, sick)
        await anyio.sleep(2)
        second = await stage.deploy(NEWER, retries=0, wait_for_lease_s=300.0)
        (canary,) = [call.answer["id"] for call in first.of("create")]
        assert (first.exit_code, second.exit_code) == (3, 0)
        assert [call.is_good for call in second.of("destroy", canary)] == [True]
        assert second.end.leftovers == ()
        assert stage.images == [NEWER] * 3

    on_stage(play)


def test_a_rollback_brings_the_living_back_before_it_stops_at_the_dead() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await stage.deploy(retries=0)
        dead = stage.id("web-1")
        stage.world.inhabited.lose(dead)
        told = await stage.rollback(retries=0, max_unavailable=1)
        assert (told.exit_code, told.end.leftovers) == (3, (f"web-1 ({dead})",))
        assert stage.images == [NEW, OLD, OLD]

    on_stage(play, habits=Habits(unreachable=frozenset({"none of these"})))


def test_a_green_that_is_not_healthy_stays_and_never_gets_traffic() -> None:
    def stopped(stage: Stage, told: Told) -> None:
        assert told.exit_code == 3
        assert sorted(stage.images) == [OLD] * 3 + [BROKEN] * 3

    unhealthy_green(stopped, retries=0)


@pytest.mark.parametrize("strategy", ["bluegreen", "canary"])
def test_a_group_that_cannot_prove_the_release_keeps_every_group_as_it_was(strategy: str) -> None:
    cannot_prove(strategy, retries=0, exit_code=3)


def test_a_lost_reply_of_the_last_update_is_no_failure_where_the_last_look_shows_it_done() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit("update", BY_NAME["reply lost"], nth=2)]
        told = await stage.deploy(hits=hits, retries=0, max_unavailable=1)
        assert told.exit_code == 0, told.end
        assert (stage.images, stage.serving) == ([NEW] * 3, 3)

    on_stage(play)


@pytest.mark.parametrize("how", [{"strategy": "immediate"}, {"waits_for_health": False}])
@pytest.mark.parametrize("word", ["nopull", "exitzero"])
def test_what_was_not_waited_for_and_has_failed_is_left_as_it_is_and_named(
    word: str, how: Mapping[str, Any]
) -> None:
    on_stage(failed_unseen(word, how, retries=0, code=3))


def test_what_a_create_made_whose_answer_is_lost_is_named_although_lists_lag() -> None:
    """The app counts it before a list shows it."""

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await stage.status()  # lists that lag show how things were when somebody looked
        await anyio.sleep(60)
        lost = Hit("create", BY_NAME["reply lost"], nth=2)
        told = await stage.deploy(strategy="bluegreen", retries=0, hits=[lost])
        listed = {machine.name for machine in told.end.machines}
        assert (told.exit_code, len(listed)) == (3, 6)
        assert listed == {machine.name for machine in stage.fleet.values()}

    on_stage(play, habits=Habits(list_lags_s=15))
