"""Law 14: every way in which a run can leave an app, and what it advises then.

`on_stage` follows each command of each hint literally; here every member of
`Left` is brought about, and the words are held: what `deploy.hints` decides is
what the run prints.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest

from deploy.commands.deploy import deploy_app
from deploy.events import PathChosen
from deploy.hints import Invocation, Left, ways_out
from deploy.plan.selection import Selection
from tests.worlds.advice import advice_of
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.habits import NO_HABITS
from tests.worlds.simulated.transport import Call
from tests.worlds.stage import BROKEN, NEW, OLD, WEB, WORKER, Death, Hit, Stage, Told, on_stage, to

UNAVAILABLE = BY_NAME["503 before"]
NEWER = "registry.test/hello:3"
SLOW = "registry.test/hello:2-slow"
WEB_ONLY = Selection(process_groups=frozenset({"web"}))
TWO_OF_THREE = Selection(only_machines=frozenset({"web-1", "web-3"}))


async def _half(stage: Stage, image: str = NEW, **options: Any) -> Told:
    """A deploy that spends its passes on one machine, and is held where it is."""
    hits = [Hit("update", UNAVAILABLE, times=9, on=to(stage.id("web-3")))]
    return await stage.deploy(image, hits=hits, retries=1, rolls_back=False, **options)


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


async def of_some_machines(stage: Stage) -> Told:
    await stage.settle(3)
    return await _half(stage, selection=TWO_OF_THREE)


async def of_one_group(stage: Stage) -> Told:
    await stage.settle(3)
    return await _half(stage, selection=WEB_ONLY)


async def update_only(stage: Stage) -> Told:
    await stage.settle(3)
    return await _half(stage, toml=WEB, update_only=True)


async def by_force(stage: Stage) -> Told:
    await stage.settle(3)
    await stage.deploy()
    return await _half(stage, force=True)


async def with_an_environment(stage: Stage) -> Told:
    await stage.settle(3)
    return await _half(stage, env={"commit": "abc123"})


async def a_slow_app(stage: Stage) -> Told:
    await stage.settle(3)
    return await _half(stage, image=SLOW, wait_timeout_s=200.0, max_unavailable=1)


async def scaling(stage: Stage) -> Told:
    await stage.settle(2)
    hits = [Hit("create", UNAVAILABLE, times=9, nth=1)]
    return await stage.scale("web", 4, hits=hits, retries=1, rolls_back=False)


async def back_to_an_earlier(stage: Stage) -> Told:
    await stage.settle(2)
    for image in (NEW, NEWER):
        await stage.deploy(image)
    hits = [Hit("update", UNAVAILABLE, times=9, nth=1)]
    return await stage.rollback("1", hits=hits, retries=1, rolls_back=False)


async def overtaken(stage: Stage) -> Told:
    await stage.settle(2)
    cut_off = [Hit("update", BY_NAME["timed out before"])]
    told = await stage.start(deploy_app, {"image": NEW, "wait_timeout_s": 40.0, "hits": cut_off})
    await anyio.sleep(3)
    now = anyio.current_time()
    told.transport.outage = (now, now + 25)  # long enough for its leases to run out
    await anyio.sleep(16)
    await stage.deploy(NEWER, min_healthy_s=0.0)
    await told.is_over.wait()
    return told


async def unmarked(stage: Stage) -> Told:
    """The platform takes the only marked machine back, and its mark cannot be written again."""
    await stage.settle(1)
    hits = [
        Hit("update", BY_NAME["reverted"], times=9),
        Hit("mark", UNAVAILABLE, times=9, nth=1),
    ]
    told = await stage.deploy(strategy="canary", hits=hits, retries=1, rolls_back=False)
    assert stage.marks == []
    return told


async def back(stage: Stage) -> Told:
    await stage.settle(3)
    await stage.deploy()
    return await stage.rollback(hits=[Hit("update", UNAVAILABLE, times=9, nth=1)], retries=1)


async def back_by_itself(stage: Stage) -> Told:
    await stage.settle(3)
    return await stage.deploy(hits=[Hit("update", UNAVAILABLE, times=99, nth=1)], retries=1)


async def no_way_back(stage: Stage) -> Told:
    """The host of a machine that is on the new release dies."""
    await stage.settle(3)
    first = stage.id("web-1")

    def dies(call: Call) -> bool:
        if call.machine == stage.id("web-3"):
            stage.world.inhabited.lose(first)
        return call.machine == stage.id("web-3")

    hits = [Hit("update", UNAVAILABLE, times=9, on=dies)]
    return await stage.deploy(hits=hits, retries=1, rolls_back=False)


async def stuck(stage: Stage) -> Told:
    await stage.settle(3)
    await stage.deploy()
    stage.world.inhabited.lose(stage.id("web-1"))
    return await stage.rollback(retries=1)


@dataclass(frozen=True)
class Way:
    """Into a state, and what is advised then; `words` those of the command that goes on."""

    into: Callable[[Stage], Awaitable[Told]]
    left: Left
    promises: Sequence[str]
    words: tuple[str, ...] = ("resume",)
    terms: tuple[str, ...] = ("--wait-timeout", "60s")


BOTH = ("finishes it", "undoes it")
TWO_NAMED = ("resume", "--only-machines", "web-1,web-3")
WITH_COMMIT = ("resume", "--env", "commit=abc123")
TO_1 = ("rollback", "--to", "1")
ITS_TIME = ("--max-unavailable", "1", "--wait-timeout", "200s")
WAYS = {
    "nothing is unfinished": Way(nothing, Left.NOTHING, ()),
    "forward": Way(forward, Left.FORWARD, BOTH),
    "some machines": Way(of_some_machines, Left.FORWARD, BOTH, TWO_NAMED),
    "one group": Way(of_one_group, Left.FORWARD, BOTH, ("resume", "--process-groups", "web")),
    "no group goes": Way(update_only, Left.FORWARD, BOTH, ("resume", "--update-only")),
    "what runs already": Way(by_force, Left.FORWARD, BOTH, ("resume", "--force")),
    "an environment": Way(with_an_environment, Left.FORWARD, BOTH, WITH_COMMIT),
    "an app that needs its time": Way(a_slow_app, Left.FORWARD, BOTH, terms=ITS_TIME),
    "scaling": Way(scaling, Left.FORWARD, BOTH, ("scale", "web=4")),
    "a rollback to an earlier release": Way(back_to_an_earlier, Left.FORWARD, BOTH, TO_1),
    "the app fails": Way(app_failed, Left.APP_FAILED, ("undoes it",)),
    "a first deploy, half made": Way(first, Left.FIRST, ("finishes it",)),
    "a first deploy whose app fails": Way(first_app_failed, Left.FIRST_APP_FAILED, ()),
    "a rollback": Way(back, Left.BACK, ("goes on with it",)),
    "a deploy that went back": Way(back_by_itself, Left.BACK, ("goes on with it",)),
    "a dead machine cannot go back": Way(no_way_back, Left.NO_WAY_BACK, ("finishes it",)),
    "a rollback but for a dead machine": Way(stuck, Left.STUCK, ()),
    "its mark is gone": Way(unmarked, Left.UNMARKED, ("",)),
    "another deploy has gone over it": Way(overtaken, Left.OVERTAKEN, ("",)),
}


@pytest.mark.parametrize("name", WAYS)
def test_what_is_advised_fits_how_the_app_was_left(name: str) -> None:
    """And is what `deploy.hints` says, every command of which `on_stage` then follows."""
    way = WAYS[name]

    async def play(stage: Stage) -> None:
        told = await way.into(stage)
        assert [advice.promise for advice in advice_of(told.hints)] == list(way.promises)
        (chosen,) = told.said(PathChosen)
        called = Invocation(app="sim", finish=way.words, terms=way.terms, retries=chosen.retries)
        advised = ways_out(way.left, called)
        assert told.end.hint.startswith(advised), (told.end.hint, advised)

    groups = WORKER if way.into in (of_one_group, update_only) else WEB
    habits = replace(NO_HABITS, unreachable=frozenset({"none of these"}))  # hosts can be lost
    on_stage(play, toml=groups, checks=way.into not in (overtaken, no_way_back), habits=habits)


def test_every_way_to_leave_an_app_is_brought_about_and_followed() -> None:
    """A run that has not told how it ended is asked for `deploy status`, which others advise too:
    see `test_report`. Nor is it a run that finds what another tool has changed: `test_recovery`."""
    assert {way.left for way in WAYS.values()} == set(Left) - {Left.UNKNOWN, Left.CHANGED}


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


def test_resume_refuses_what_was_begun_by_another_command_or_for_less_and_names_the_one() -> None:
    """A bare `deploy resume` must not bring a release to machines that it was not meant for."""

    async def play(stage: Stage) -> None:
        told = await of_some_machines(stage)
        refused = await stage.resume()
        assert refused.exit_code == 2
        assert "--only-machines web-1,web-3" in refused.hints
        assert refused.writes == []
        assert stage.images == [NEW, OLD, OLD], told.end

    on_stage(play)


@pytest.mark.parametrize(
    "into", [scaling, of_some_machines, back_to_an_earlier, with_an_environment]
)
def test_status_names_the_command_that_began_it(into: Callable[[Stage], Awaitable[Told]]) -> None:
    (way,) = [each for each in WAYS.values() if each.into is into]

    async def play(stage: Stage) -> None:
        await into(stage)
        assert f"`deploy {' '.join(way.words)} --app sim" in await stage.status()

    on_stage(play, follows=False)
