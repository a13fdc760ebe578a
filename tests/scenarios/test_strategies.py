"""Canary and bluegreen when something goes wrong on either side of the switch."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import pytest

from deploy.events import Cause, Result
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.stage import (
    BROKEN,
    NEW,
    OLD,
    VOLUME,
    WEB,
    WORKER,
    Hit,
    Stage,
    Told,
    on_stage,
    to,
)

UNAVAILABLE = BY_NAME["503 before"]
REFUSED = BY_NAME["refused"]


def _first(told: Told, operation: str) -> float:
    return told.of(operation)[0].sent_s


def _last(told: Told, operation: str) -> float:
    return max(call.heard_s or 0.0 for call in told.of(operation))


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("count", [1, 10])
def test_bluegreen_never_leaves_the_app_with_fewer_machines(count: int, retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(count)
        blues = {machine.id for machine in stage.fleet.values()}
        told = await stage.deploy(strategy="bluegreen", retries=retries)
        assert told.exit_code == 0, told.end
        assert stage.images == [NEW] * count
        assert not blues & {machine.id for machine in stage.fleet.values()}
        began_s = told.calls[0].sent_s
        serving = [len(ids) for at, ids in stage.world.story.serving if at > began_s]
        assert min(serving) >= count
        assert _last(told, "uncordon") <= _first(told, "cordon")
        assert _last(told, "cordon") <= _first(told, "stop")
        assert _last(told, "stop") <= _first(told, "destroy")

    on_stage(play)


def test_bluegreen_with_no_machines_makes_the_first_ones() -> None:
    async def play(stage: Stage) -> None:
        told = await stage.deploy(strategy="bluegreen")
        assert (told.exit_code, stage.images, stage.serving) == (0, [NEW] * 2, 2)
        assert told.of("cordon") == []

    on_stage(play)


def test_bluegreen_drains_before_it_stops() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(strategy="bluegreen")
        for stopped in told.of("stop"):
            (cordoned,) = told.of("cordon", stopped.machine)
            assert stopped.sent_s - (cordoned.heard_s or 0) >= 1.0

    on_stage(play)


def test_blues_drain_also_when_the_pass_that_switched_could_not_cordon_them() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        hits = [Hit("cordon", UNAVAILABLE, times=2)]
        told = await stage.deploy(strategy="bluegreen", hits=hits)
        assert told.exit_code == 0
        for destroyed in told.of("destroy"):
            assert [c for c in told.of("stop", destroyed.machine) if c.is_good]

    on_stage(play)


def test_a_green_that_is_not_healthy_never_gets_traffic_and_blue_keeps_it() -> None:
    def went_back(stage: Stage, told: Told) -> None:
        assert (told.exit_code, told.end.result) == (1, Result.ROLLED_BACK)
        assert stage.images == [OLD] * 3

    unhealthy_green(went_back, retries=2)


def unhealthy_green(ended: Callable[[Stage, Told], None], *, retries: int) -> None:
    """The green of a broken release comes up; `ended` says how that ends."""

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(
            BROKEN, strategy="bluegreen", retries=retries, wait_timeout_s=20.0
        )
        assert told.of("uncordon") == []
        assert told.of("cordon") == []
        assert stage.serving == 3
        ended(stage, told)

    on_stage(play)


def test_green_creation_fails_until_spent() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit("create", UNAVAILABLE, times=99, nth=1)]
        told = await stage.deploy(strategy="bluegreen", hits=hits, retries=2)
        assert (told.exit_code, told.passes()) == (1, 3)
        assert (stage.images, stage.serving) == ([OLD] * 3, 3)
        assert told.of("cordon") == []

    on_stage(play)


def test_green_creation_fails_once() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(strategy="bluegreen", hits=[Hit("create", REFUSED)])
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)
        assert len([call for call in told.of("create") if call.was_carried_out]) == 3

    on_stage(play)


def test_uncordon_fails_until_spent() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit("uncordon", UNAVAILABLE, times=99, nth=1)]
        told = await stage.deploy(strategy="bluegreen", hits=hits, retries=2)
        assert (told.exit_code, told.end.result) == (1, Result.ROLLED_BACK)
        assert (stage.images, stage.serving) == ([OLD] * 3, 3)
        assert told.of("stop") == []
        assert not [machine for machine in stage.fleet.values() if machine.cordoned]

    on_stage(play)


def test_after_the_switch_blue_is_brought_back_until_the_first_destroy() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit("stop", UNAVAILABLE, times=99, on=to(stage.id("web-3")))]
        told = await stage.deploy(strategy="bluegreen", hits=hits, retries=1)
        assert told.exit_code == 1
        assert (stage.images, stage.serving) == ([OLD] * 3, 3)
        assert not [machine for machine in stage.fleet.values() if machine.cordoned]

    on_stage(play)


@pytest.mark.parametrize("retries", [0, 2])
def test_a_clean_up_failure_does_not_fail_a_finished_switch(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        left = stage.id("web-2")
        hits = [Hit("destroy", UNAVAILABLE, times=99, on=to(left))]
        told = await stage.deploy(strategy="bluegreen", hits=hits, retries=retries)
        assert (told.exit_code, told.end.result) == (0, Result.DONE)
        assert any(left in leftover for leftover in told.end.leftovers)
        assert f"destroy --force --app sim {left}" in told.end.hint
        assert sum(1 for m in stage.fleet.values() if m.image == NEW and m.serves) == 3

    on_stage(play)


@pytest.mark.parametrize("operation", ["unmark", "release"])
def test_a_tagging_failure_does_not_fail_a_finished_switch(operation: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        hits = [Hit(operation, UNAVAILABLE, times=99)]
        told = await stage.deploy(strategy="bluegreen", hits=hits)
        assert (told.exit_code, told.end.result) == (0, Result.DONE)
        assert stage.images == [NEW] * 2

    on_stage(play, checks=operation != "release")


def test_all_stopped_blues_are_updated_where_they_are_and_stay_stopped() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3, cold=3)
        told = await stage.deploy(strategy="bluegreen")
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)
        assert told.of("create") == []
        assert {machine.state for machine in stage.fleet.values()} <= {"created", "stopped"}

    on_stage(play)


def test_bluegreen_switches_what_runs_and_updates_what_does_not() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3, cold=1)
        cold = stage.id("web-3")
        told = await stage.deploy(strategy="bluegreen")
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)
        assert stage.id("web-3") == cold
        assert stage.serving == 2

    on_stage(play)


@pytest.mark.parametrize("strategy", ["bluegreen", "canary"])
def test_a_group_that_cannot_prove_the_release_keeps_every_group_as_it_was(strategy: str) -> None:
    cannot_prove(strategy, retries=2, exit_code=1)


def cannot_prove(strategy: str, *, retries: int, exit_code: int) -> None:
    """One of two groups never gets what it has to prove the release with."""
    both = WORKER + '\n[checks.work]\n  type = "http"\n  port = 9\n  processes = ["worker"]\n'

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        old = {machine.id for machine in stage.fleet.values()}
        hits = [Hit("create", UNAVAILABLE, times=99, on=lambda call: "worker" in call.name)]
        told = await stage.deploy(strategy=strategy, hits=hits, retries=retries)
        assert told.exit_code == exit_code
        assert not [call for call in told.changes if call.machine in old]
        assert stage.serving >= 6

    on_stage(play, toml=both)


# -- canary ----------------------------------------------------------------------------


def test_a_canary_tries_first_is_kept_through_the_roll_and_then_goes() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(strategy="canary")
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)
        (bird,) = told.of("create")
        assert "canary" in bird.name
        assert (bird.heard_s or 0) < _first(told, "update")
        assert _last(told, "update") < _first(told, "destroy")

    on_stage(play)


def test_a_sick_canary_stops_the_deploy_with_no_machine_touched() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(BROKEN, strategy="canary", wait_timeout_s=20.0)
        assert (told.exit_code, told.end.result) == (1, Result.ROLLED_BACK)
        assert told.of("update") == []
        assert (stage.images, stage.serving) == ([OLD] * 3, 3)

    on_stage(play)


def test_a_canary_that_cannot_be_removed_is_left_over_and_named() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(
            strategy="canary", hits=[Hit("destroy", UNAVAILABLE, times=99)], retries=1
        )
        assert told.exit_code == 0
        (leftover,) = told.end.leftovers
        assert "canary" in leftover

    on_stage(play)


# -- what is refused, and what stays within bounds ---------------------------------------


@pytest.mark.parametrize("strategy", ["canary", "bluegreen"])
def test_mounts_are_refused_before_anything_changes(strategy: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(strategy=strategy)
        assert told.exit_code == 2
        assert told.writes == []

    on_stage(play, toml=WEB + VOLUME)


def test_bluegreen_without_checks_is_refused_before_anything_changes() -> None:
    bare = 'app = "sim"\n[processes]\n  web = "serve"\n'

    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(strategy="bluegreen")
        assert told.exit_code == 2
        assert told.writes == []

    on_stage(play, toml=bare)


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_rolling_keeps_max_unavailable_through_hiccups(limit: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(5)
        hits = [
            Hit("update", BY_NAME["reply lost"], times=2, nth=1),
            Hit("update", UNAVAILABLE, times=2, nth=4),
            Hit("wait", BY_NAME["502 before"], times=3, nth=2),
        ]
        told = await stage.deploy(max_unavailable=limit, hits=hits)
        assert (told.exit_code, stage.images) == (0, [NEW] * 5)
        began_s = told.calls[0].sent_s
        serving = [len(ids) for at, ids in stage.world.story.serving if at > began_s]
        assert min(serving) >= 5 - limit

    on_stage(play)


def test_an_update_that_lands_after_its_pass_takes_a_place_in_the_next() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [
            Hit("update", UNAVAILABLE),
            Hit("update", BY_NAME["carried out late"], nth=1),
        ]
        told = await stage.deploy(f"{NEW}-slow", wait_timeout_s=120.0, hits=hits)
        assert (told.exit_code, stage.serving) == (0, 3)
        began_s = told.calls[0].sent_s
        serving = [len(ids) for at, ids in stage.world.story.serving if at > began_s]
        assert min(serving) >= 2

    on_stage(play)


def test_rolling_is_a_window_that_slides_and_not_batches() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(7)
        told = await stage.deploy(max_unavailable=2)
        updates = sorted(told.of("update"), key=lambda call: call.sent_s)[1:]
        gaps = [b.sent_s - a.sent_s for a, b in itertools.pairwise(updates)]
        assert told.exit_code == 0
        assert len([gap for gap in gaps if gap < 0.001]) <= 2  # begun together: the first two

    on_stage(play)


def test_the_first_serving_machine_goes_alone() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(6)
        told = await stage.deploy(max_unavailable=6)
        first, second, *_ = sorted(told.of("update"), key=lambda call: call.sent_s)
        seen_s = next(
            at
            for at, event in told.events
            if getattr(event, "machine_id", "") == first.machine
            and getattr(event, "phase", "") == "done"
        )
        assert second.sent_s >= seen_s

    on_stage(play)


def test_groups_go_side_by_side() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy()
        groups = [
            stage.world.story.groups[call.machine]
            for call in sorted(told.of("update"), key=lambda call: call.sent_s)[:2]
        ]
        assert told.exit_code == 0
        assert sorted(groups) == ["web", "worker"]

    on_stage(play, toml=WORKER)


def test_immediate_updates_all_at_once_and_waits_for_nothing() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(5)
        began_s = anyio.current_time()
        told = await stage.deploy("registry.test/hello:slow", strategy="immediate")
        assert told.exit_code == 0
        assert told.of("wait") == []
        assert anyio.current_time() - began_s < 20

    on_stage(play)


def test_detached_is_done_without_waiting_for_health() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy("registry.test/hello:slow", waits_for_health=False)
        assert (told.exit_code, told.of("wait")) == (0, [])
        assert stage.images == ["registry.test/hello:slow"] * 3

    on_stage(play)


@pytest.mark.parametrize("how", [{"strategy": "immediate"}, {"waits_for_health": False}])
@pytest.mark.parametrize("word", ["nopull", "exitzero"])
def test_what_was_not_waited_for_and_has_failed_is_named_with_its_cause(
    word: str, how: Mapping[str, Any]
) -> None:
    """If the last look shows it already; and what is advised then is no `resume`."""
    on_stage(failed_unseen(word, how, retries=3, code=1))


def failed_unseen(
    word: str, how: Mapping[str, Any], *, retries: int, code: int
) -> Callable[[Stage], Awaitable[None]]:
    """A deploy that waits for nothing, of an app that fails; the last look comes later."""

    async def play(stage: Stage) -> None:
        await stage.settle(1)
        hits = [Hit("list", BY_NAME["503 before"], nth=2, times=4)]
        image = f"registry.test/hello:2-{word}"
        told = await stage.deploy(image, hits=hits, retries=retries, **how)
        assert (told.exit_code, told.end.cause) == (code, Cause.APP), told.end
        reason = {"nopull": "could not pull image", "exitzero": "exited: exit code 0"}[word]
        assert reason in told.end.message
        assert "resume" not in told.hints

    return play
