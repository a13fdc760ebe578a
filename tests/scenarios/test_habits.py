"""Deploys on servers with habits of their own, which are no faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import anyio
import pytest

from deploy.commands.deploy import deploy_app
from deploy.errors import Miscounted, UsageProblem
from deploy.events import Result
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.habits import NO_HABITS, Habits
from tests.worlds.stage import NEW, OLD, Death, Hit, Stage, on_stage

NEWER = "registry.test/hello:3"
UNFINISHED: Mapping[str, Any] = {
    "retries": 1,
    "rolls_back": False,
    "hits": [Hit("update", BY_NAME["503 before"], nth=2, times=99)],
}


def _name(habits: Habits) -> str:
    return next(
        f"{key}={getattr(habits, key)}"
        for key in habits.__slots__
        if getattr(habits, key) != getattr(NO_HABITS, key)
    )


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
        Habits(odd_machine=True),
        Habits(empty_lists=4),
        Habits(empty_lists=8),
        Habits(refuses_release=(409,)),
        Habits(refuses_release=(412, 412)),
        Habits(paced=1),
        Habits(closes_every=20),
    ],
    ids=_name,
)
def test_a_deploy_ends_wholly_new_whatever_the_habit(habits: Habits, strategy: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(strategy=strategy)
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)

    on_stage(play, habits=habits)


@pytest.mark.parametrize("strategy", ["rolling", "bluegreen"])
def test_where_every_seventh_answer_is_lost_five_retries_are_enough(strategy: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(strategy=strategy, retries=5)
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)

    on_stage(play, habits=Habits(closes_every=7))


@pytest.mark.parametrize("retries", [0, 5])
@pytest.mark.parametrize(
    ("habits", "received"),
    [
        (Habits(redirects_to="http://elsewhere.test/"), "to http://elsewhere.test/"),
        (Habits(content_type="text/html"), "a web page (text/html)"),
        (Habits(list_bytes=9 * 2**20), "over 8 MiB"),
        (Habits(packs="gzip"), "packed"),
    ],
    ids=["redirect", "typed as HTML", "too long", "packed"],
)
def test_an_address_where_nothing_can_be_read_ends_at_once(
    habits: Habits, received: str, retries: int
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        began_s = anyio.current_time()
        told = await stage.deploy(retries=retries)
        assert (told.exit_code, told.end.result) == (4, Result.REFUSED)
        assert received in told.end.message
        assert "FLY_FLAPS_BASE_URL" in told.end.hint
        assert told.writes == []
        assert anyio.current_time() - began_s < 10

    on_stage(play, habits=habits)


def test_nothing_is_created_where_a_list_is_wrongly_empty() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(retries=0)
        assert told.of("create") == []
        assert "0 machines are listed, and the app has 3" in told.end.message
        assert stage.images == [OLD] * 3

    on_stage(play, habits=Habits(empty_lists=6))


@pytest.mark.parametrize("is_killed", [False, True])
def test_where_versions_tell_no_configuration_rollback_says_so_and_changes_nothing(
    is_killed: bool,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await stage.deploy(dies=Death("update", 1) if is_killed else None)
        await anyio.sleep(30)
        before = stage.world.snapshot()
        told = await stage.rollback()
        assert isinstance(told.error, UsageProblem)
        assert "ran before" in told.error.message
        assert "deploy --image IMAGE" in told.error.hint
        assert told.writes == []
        assert stage.world.snapshot() == before
        assert [one.is_ours for one in await stage.history()] == ([True] * (2 if is_killed else 1))

    on_stage(play, habits=Habits(versions_without_config=True))


@pytest.mark.parametrize(
    "command",
    [Stage.resume, Stage.rollback, partial(Stage.rollback, to_release="1"), Stage.history],
    ids=["resume", "rollback", "rollback --to", "history"],
)
def test_a_list_that_stays_wrongly_empty_is_believed_by_no_command(
    command: Callable[[Stage], Awaitable[object]],
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        assert (await stage.deploy(dies=Death("update", 1))).has_died
        await command(stage)
        told = stage.runs[-1]
        assert isinstance(told.error, Miscounted)
        assert told.writes == []

    on_stage(play, habits=Habits(full_lists=2, empty_lists=999))


@pytest.mark.parametrize(("command", "image"), [("resume", NEW), ("rollback", OLD)])
def test_a_deploy_that_died_is_taken_up_although_lists_are_empty_at_first(
    command: str, image: str
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        assert (await stage.deploy(dies=Death("update", 1))).has_died
        told = await (stage.resume() if command == "resume" else stage.rollback())
        assert (told.exit_code, stage.images) == (0, [image] * 3)

    on_stage(play, habits=Habits(full_lists=2, empty_lists=4))


@pytest.mark.parametrize(("command", "image"), [("resume", NEW), ("rollback", OLD)])
def test_a_deploy_that_died_is_taken_up_although_no_list_shows_it_yet(
    command: str, image: str
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dead = await stage.deploy(dies=Death("update", 1))
        assert dead.has_died
        told = await (stage.resume() if command == "resume" else stage.rollback())
        assert (told.exit_code, stage.images) == (0, [image] * 3)

    on_stage(play, habits=Habits(list_lags_s=5))


async def _settle_and_look(stage: Stage) -> None:
    """Lists that lag show how things were when somebody looked."""
    await stage.settle(3)
    await stage.status()
    await anyio.sleep(60)


@pytest.mark.parametrize(
    ("command", "image", "lag_s"),
    [
        ("resume", NEW, 7),
        ("resume", NEW, 15),
        ("rollback", OLD, 7),
        ("rollback", OLD, 15),
        ("deploy", NEWER, 7),
        ("deploy", NEWER, 15),
    ],
)
@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_what_was_left_unfinished_just_now_is_seen_although_lists_lag(
    strategy: str, command: str, image: str, lag_s: float
) -> None:
    """Its leases are given back, so that nothing else keeps the next command waiting."""

    async def play(stage: Stage) -> None:
        await _settle_and_look(stage)
        left = await stage.deploy(strategy=strategy, **UNFINISHED)
        assert left.end.result is Result.IN_BETWEEN
        if command == "deploy":
            told = await stage.deploy(NEWER, strategy=strategy)
        else:
            told = await (stage.resume() if command == "resume" else stage.rollback())
        assert (told.exit_code, stage.images) == (0, [image] * 3)
        assert told.passes() + told.passes("back") == 1

    on_stage(play, habits=Habits(list_lags_s=lag_s))  # the mark is 9 s old


@pytest.mark.parametrize("lag_s", [7, 15, 25])
@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_a_deploy_that_ended_just_now_is_taken_back_although_lists_lag(
    strategy: str, lag_s: float
) -> None:
    """The lists show it as it was under way, or the app as it was before."""

    async def play(stage: Stage) -> None:
        await _settle_and_look(stage)
        assert (await stage.deploy(strategy=strategy)).exit_code == 0
        told = await stage.rollback()
        assert (told.exit_code, stage.images) == (0, [OLD] * 3)

    on_stage(play, habits=Habits(list_lags_s=lag_s))


@pytest.mark.parametrize("image", [NEWER, OLD])
@pytest.mark.parametrize("lag_s", [7, 15, 25])
@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_a_deploy_goes_over_one_that_ended_just_now_although_lists_lag(
    strategy: str, lag_s: float, image: str
) -> None:
    """Where the lists show the app before it, its own image seems to be there already."""

    async def play(stage: Stage) -> None:
        await _settle_and_look(stage)
        assert (await stage.deploy(strategy=strategy)).exit_code == 0
        told = await stage.deploy(image, strategy=strategy)
        assert (told.exit_code, stage.images, told.passes()) == (0, [image] * 3, 1)

    on_stage(play, habits=Habits(list_lags_s=lag_s))


def test_nothing_is_taken_back_while_the_list_shows_what_reads_do_not_find() -> None:
    async def play(stage: Stage) -> None:
        await _settle_and_look(stage)
        assert (await stage.deploy(strategy="bluegreen")).exit_code == 0
        told = await stage.rollback()
        assert isinstance(told.error, Miscounted)
        assert "is not as the list of machines shows it" in str(told.error)
        assert (told.changes, stage.images) == ([], [NEW] * 3)

    on_stage(play, habits=Habits(list_lags_s=40))


@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_a_lease_without_a_name_is_outwaited_where_its_run_is_dead_and_only_there(
    command: str,
) -> None:
    """Who takes a deploy up waits whether a lease is refreshed: a dead run refreshes none."""

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        first = await stage.start(deploy_app, {"image": NEW})
        await anyio.sleep(3)
        kept_out = await getattr(stage, command)()
        assert kept_out.exit_code == 3
        assert kept_out.changes == []
        await first.is_over.wait()
        assert (first.exit_code, stage.images) == (0, [NEW] * 3)
        assert (await stage.deploy(NEWER, dies=Death("update", 1))).has_died
        told = await getattr(stage, command)()
        assert (told.exit_code, len(set(stage.images))) == (0, 1)

    on_stage(play, habits=Habits(lease_hides_description=True), follows=False)


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_who_has_waited_sees_all_that_the_other_did_although_lists_lag(strategy: str) -> None:
    """The other's mark shows long before the rest."""

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        options = {"image": NEW, "strategy": strategy, **UNFINISHED}
        first = await stage.start(deploy_app, options)
        await anyio.sleep(2)
        second = await stage.deploy(NEWER, strategy=strategy, wait_for_lease_s=300.0)
        assert (first.exit_code, second.exit_code, second.passes()) == (3, 0, 1)
        assert stage.images == [NEWER] * 3

    # what the first advised is overtaken by the second
    on_stage(play, habits=Habits(list_lags_s=9), follows=False)
