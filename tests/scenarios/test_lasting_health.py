"""Health is a state that lasts: apps that misbehave, on the simulated platform.

`tests/e2e/test_cases.py` has the same apps as real processes.
"""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from deploy.events import Cause, Noticed
from deploy.local.lifecycle import Stop
from deploy.plan.selection import Selection
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.stage import NEW, OLD, UNWATCHED, WEB, Death, Hit, Stage, Told, on_stage

IMAGE = "registry.test/hello:2"
NEWER = "registry.test/hello:3"
UNAVAILABLE = BY_NAME["503 before"]
steady = pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])


def _began(told: Told, operation: str) -> list[float]:
    return sorted(call.sent_s for call in told.of(operation))


@steady
@pytest.mark.parametrize("word", ["late1", "flap", "crash"])
def test_an_app_that_is_healthy_once_and_not_for_long_goes_and_the_old_serves_on(
    word: str, strategy: str
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        began_s = anyio.current_time()
        told = await stage.deploy(f"{IMAGE}-{word}", strategy=strategy)
        assert (told.exit_code, told.end.cause) == (1, Cause.APP), told.end
        assert (stage.images, stage.serving) == ([OLD] * 3, 3)
        assert stage.fewest_serving(since=began_s) >= (2 if strategy == "rolling" else 3)

    on_stage(play)


@pytest.mark.parametrize("word", ["late2", "crash"])
def test_finished_machines_that_turn_sick_stop_a_roll_and_no_more_than_may_be_are_out(
    word: str,
) -> None:
    """With no minimum healthy time: then only the watch over what is done is left."""

    async def play(stage: Stage) -> None:
        await stage.settle(12)
        told = await stage.deploy(f"{IMAGE}-{word}", max_unavailable=1, min_healthy_s=0.0)
        assert (told.exit_code, told.end.cause) == (1, Cause.APP), told.end
        assert (stage.images, stage.serving) == ([OLD] * 12, 12)
        assert len({call.machine for call in told.of("update")}) < 12

    on_stage(play)


@pytest.mark.parametrize("retries", [0, 3])
def test_an_app_that_turns_sick_when_all_is_done_is_not_called_done(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(f"{IMAGE}-late1", retries=retries, min_healthy_s=0.0)
        assert told.exit_code in (1, 3), told.end
        assert told.end.cause is Cause.APP
        assert "web-1" in told.end.message

    on_stage(play)


@steady
@pytest.mark.parametrize("min_healthy_s", [5.0, 20.0, 0.0])
def test_canaries_greens_and_the_first_machine_rolled_have_to_stay_healthy(
    strategy: str, min_healthy_s: float
) -> None:
    """For as long as is asked, 5 s by default, before anything more is touched."""

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        given: dict[str, Any] = {} if min_healthy_s == 5.0 else {"min_healthy_s": min_healthy_s}
        told = await stage.deploy(strategy=strategy, max_unavailable=1, **given)
        assert told.exit_code == 0
        match strategy:
            case "canary":
                took_s = _began(told, "update")[0] - _began(told, "create")[0]
            case "bluegreen":
                took_s = _began(told, "uncordon")[0] - max(_began(told, "update"))
            case _:
                first, second, third = _began(told, "update")
                took_s = second - first
                assert third - second < 10.0  # which is not the first
        assert min_healthy_s <= took_s < min_healthy_s + 10.0

    on_stage(play)


@pytest.mark.parametrize("strategy", ["rolling", "canary"])
@pytest.mark.parametrize("way", ["resume", "deploy"])
def test_what_a_dead_deploy_has_left_serving_has_not_proved_the_release(
    strategy: str, way: str
) -> None:
    """It has to stay healthy first, or the canary that is made in its place."""

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dies = Death("create" if strategy == "canary" else "update")
        await stage.deploy(strategy=strategy, dies=dies)
        await anyio.sleep(20)  # it serves by now, and the leases have run out
        assert (stage.serving, stage.images.count(NEW)) == (len(stage.images), 1)
        began_s = anyio.current_time()
        told = await (stage.resume() if way == "resume" else stage.deploy(strategy=strategy))
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)
        first, second, *_ = _began(told, "update")
        assert first - began_s >= 5.0
        assert second - first >= 5.0

    on_stage(play)


@pytest.mark.parametrize("word", ["nopull", "noimage", "exitzero"])
def test_what_cannot_do_well_is_judged_at_once_also_by_a_first_deploy(word: str) -> None:
    async def play(stage: Stage) -> None:
        began_s = anyio.current_time()
        told = await stage.deploy(f"{IMAGE}-{word}", retries=5, wait_timeout_s=10.0)
        assert anyio.current_time() - began_s < 10.0
        assert told.end.cause is Cause.APP
        assert told.passes() == 1
        reason = {"exitzero": "exited: exit code 0 before its checks passed"}
        assert reason.get(word, "pull image") in told.end.message

    on_stage(play)


def test_what_fails_to_start_and_does_not_say_why_gets_one_more_pass() -> None:
    async def play(stage: Stage) -> None:
        began_s = anyio.current_time()
        told = await stage.deploy(f"{IMAGE}-unbootable", retries=5, wait_timeout_s=300.0)
        assert anyio.current_time() - began_s < 60.0
        assert told.passes() == 2
        assert "no space left on device" in told.end.message

    on_stage(play)


def test_a_good_app_without_checks_can_be_deployed_within_a_short_wait() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(wait_timeout_s=6.0)
        assert (told.exit_code, stage.images) == (0, [NEW] * 2)

    on_stage(play, toml=UNWATCHED)


# -- what is down, and what is only not running --------------------------------------------


@pytest.mark.parametrize("killed", [False, True])
def test_the_fix_for_a_crashed_app_brings_up_again_what_ran_before_it(killed: bool) -> None:
    """Whether the deploy of the app that crashes was over or has to be taken over."""

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dies = {"dies": Death("update", 2)} if killed else {}
        await stage.deploy(f"{IMAGE}-crash", strategy="immediate", retries=0, **dies)
        await anyio.sleep(120)
        assert stage.serving == 0
        told = await stage.deploy(NEWER, strategy="rolling")
        assert told.exit_code == 0, told.end
        assert (stage.images, stage.serving) == ([NEWER] * 3, 3)
        assert "not started" not in told.end.message

    retried = '\n[[restart]]\n  policy = "on-failure"\n  retries = 1\n'
    on_stage(play, toml=WEB + retried)


def test_machines_that_were_stopped_on_purpose_stay_so_and_are_counted() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        for name in ("web-1", "web-2"):
            stage.world.platform.stop(stage.machine(name), Stop("SIGTERM", 5.0))
        await anyio.sleep(10)
        told = await stage.deploy()
        assert told.end.message == f"sim runs {NEW}; 2 of 3 machines are not started"
        assert stage.serving == 1
        stage.world.platform.stop(stage.machine("web-3"), Stop("SIGTERM", 5.0))
        await anyio.sleep(10)
        told = await stage.deploy(NEWER)
        assert told.end.message == (
            f"sim runs {NEWER}; no machine is started, so nothing was tested"
        )
        assert (stage.images, stage.serving) == ([NEWER] * 3, 0)

    on_stage(play)


# -- closing sentences -----------------------------------------------------------------------


def test_what_is_said_at_the_end_is_made_from_the_last_look() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        only = Selection(only_machines=frozenset({"web-2"}))
        told = await stage.deploy(selection=only)
        assert told.end.message == f"1 of 3 machines of sim run {NEW}"
        told = await stage.scale("web", 1)
        assert told.end.message == "sim has 1 machine in group web"
        assert [one.name for one in told.end.machines if one.runs != "gone"] == ["web-1"]

    on_stage(play)


@pytest.mark.parametrize("retries", [0, 3])
def test_machines_that_are_still_stopping_when_all_is_done_are_not_counted(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        image = f"{NEW}-lingers"
        told = await stage.deploy(image=image, retries=retries)
        assert told.exit_code == 0
        told = await stage.scale("web", 1, retries=retries)
        assert told.end.message == "sim has 1 machine in group web"
        assert told.end.leftovers == ()
        assert told.said(Noticed) == []
        assert len([one for one in told.end.machines if one.runs != "gone"]) == 1

    on_stage(play)


def test_a_lost_reply_of_the_last_update_is_no_failure_where_the_last_look_shows_it_done() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit("update", BY_NAME["reply lost"], nth=2)]
        told = await stage.deploy(hits=hits, max_unavailable=1)
        assert told.exit_code == 0, told.end
        assert (stage.images, stage.serving) == ([NEW] * 3, 3)

    on_stage(play)


def test_a_deploy_that_takes_another_over_says_so_once_however_many_passes_it_needs() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await stage.deploy(dies=Death("update", 1))
        await anyio.sleep(20)
        told = await stage.deploy(
            NEWER, hits=[Hit("update", UNAVAILABLE), Hit("mark", UNAVAILABLE)]
        )
        assert told.exit_code == 0
        assert told.passes() > 1
        assert ["taking over" in each.message for each in told.said(Noticed)].count(True) == 1

    on_stage(play)
