"""Deploys that were killed, undone, overtaken, or met a rival: from any computer."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from deploy.commands.deploy import deploy_app
from deploy.errors import Overtaken, UsageProblem
from deploy.events import Noticed, Result
from deploy.local.requests import UpdateMachine
from deploy.plan.selection import Selection
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.stage import (
    BROKEN,
    NEW,
    OLD,
    WEB,
    Death,
    Hit,
    Stage,
    Told,
    group_of,
    on_stage,
    to,
)

EXITS = BY_NAME["exits"]
FULL = BY_NAME["409 host full"]
UNAVAILABLE = BY_NAME["503 before"]
NEWER = "registry.test/hello:3"


async def _killed(stage: Stage, **options: object) -> Told:
    """A deploy whose process dies; whoever comes next knows nothing of it."""
    told = await stage.deploy(**options)  # type: ignore[arg-type]  # options of an Order
    assert told.has_died, f"it ended before: {told.finished}"
    return told


# -- resume ------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("after", [False, True], ids=["before it arrives", "after it arrived"])
@pytest.mark.parametrize(
    ("strategy", "operation", "nth"),
    [
        ("rolling", "mark", 0),
        ("rolling", "update", 0),
        ("rolling", "update", 2),
        ("canary", "create", 0),
        ("canary", "update", 2),
        ("canary", "destroy", 0),
        ("bluegreen", "create", 2),
        ("bluegreen", "update", 2),
        ("bluegreen", "uncordon", 2),
        ("bluegreen", "cordon", 2),
        ("bluegreen", "stop", 2),
        ("bluegreen", "destroy", 1),
        ("bluegreen", "destroy", 2),
        ("immediate", "update", 2),
    ],
)
def test_a_killed_deploy_is_finished_by_resume(
    strategy: str, operation: str, nth: int, after: bool, retries: int
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await _killed(stage, strategy=strategy, dies=Death(operation, nth, after))
        told = await stage.resume(retries=retries)
        if operation == "mark" and not after:
            assert (told.error, told.finished) == (None, None)  # nothing had begun
            assert stage.images == [OLD] * 3
            return
        assert told.exit_code == 0, told.end
        assert stage.images == [NEW] * 3
        await anyio.sleep(10)  # immediate waits for nobody
        assert stage.serving == 3
        assert stage.marks == []

    on_stage(play)


def test_a_deploy_killed_before_its_first_mark_left_nothing_to_resume() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        await _killed(stage, dies=Death("list", 1))
        told = await stage.resume()
        assert (told.finished, told.error) == (None, None)
        assert told.writes == []

    on_stage(play)


def test_resume_waits_out_the_leases_of_the_run_that_was_killed() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await _killed(stage, dies=Death("update", 1))
        assert stage.leases
        died_s = anyio.current_time()
        told = await stage.resume()
        assert told.exit_code == 0
        assert anyio.current_time() - died_s > 8
        assert stage.leases == []

    on_stage(play)


def test_resume_goes_on_back_where_the_deploy_was_going_back() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit("update", UNAVAILABLE, times=2, on=to(stage.id("web-3")))]
        last = Death("update", 5, after=False)  # 3 and 1 again forward, then 2 back
        await _killed(stage, hits=hits, retries=1, dies=last)
        assert sorted(set(stage.images)) == [OLD, NEW]
        told = await stage.resume()
        assert told.exit_code == 0
        assert (stage.images, stage.serving, stage.marks) == ([OLD] * 3, 3, [])

    on_stage(play)


def test_resume_refuses_another_release_and_changes_nothing() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await _killed(stage, dies=Death("update", 1))
        told = await stage.resume(toml=WEB.replace("/health", "/other"))
        assert isinstance(told.error, UsageProblem)
        assert told.writes == []

    on_stage(play)


def test_resume_with_nothing_unfinished_writes_nothing() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        await stage.deploy()
        told = await stage.resume()
        assert (told.finished, told.error, told.writes) == (None, None, [])

    on_stage(play)


@pytest.mark.parametrize("command", ["resume", "deploy"])
def test_a_first_deploy_that_was_killed_is_finished(command: str) -> None:
    async def play(stage: Stage) -> None:
        await _killed(stage, dies=Death("wait"))
        assert sorted(stage.fleet) == ["web-1"]
        await anyio.sleep(20 if command == "deploy" else 0)  # until its lease is over
        told = await (stage.resume() if command == "resume" else stage.deploy())
        assert told.exit_code == 0
        assert sorted(stage.fleet) == ["web-1", "web-2"]
        assert (stage.serving, stage.marks) == (2, [])

    on_stage(play)


# -- rollback ----------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen", "immediate"])
def test_a_finished_deploy_is_undone_by_rollback(strategy: str, retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await stage.deploy(strategy=strategy)
        await anyio.sleep(60)
        told = await stage.rollback(retries=retries)
        assert told.exit_code == 0, told.end
        assert (stage.images, stage.serving, stage.marks) == ([OLD] * 3, 3, [])

    on_stage(play)


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize(
    ("strategy", "operation"),
    [
        ("rolling", "update"),
        ("canary", "update"),
        ("bluegreen", "update"),
        ("bluegreen", "uncordon"),
        ("bluegreen", "cordon"),
        ("bluegreen", "stop"),
        ("bluegreen", "destroy"),
    ],
)
def test_an_unfinished_deploy_is_undone_by_rollback(
    strategy: str, operation: str, retries: int
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await _killed(stage, strategy=strategy, dies=Death(operation, 1))
        told = await stage.rollback(retries=retries)
        assert told.exit_code == 0, told.end
        assert (stage.images, stage.serving, stage.marks) == ([OLD] * 3, 3, [])

    on_stage(play)


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("ends", ["well", "by a death", "by a fault"])
@pytest.mark.parametrize("word", ["bad", "crash", "exit1", "nopull"])
def test_an_app_that_did_not_serve_is_brought_back_as_it_was(
    word: str, ends: str, retries: int
) -> None:
    sick = f"registry.test/hello:1-{word}"

    async def play(stage: Stage) -> None:
        await stage.settle(2, image=sick)
        dies = Death("update", 1) if ends == "by a death" else None
        image = BROKEN if ends == "by a fault" else NEW
        told = await stage.deploy(image, dies=dies, retries=retries)
        if ends == "by a fault" and retries:
            assert told.exit_code == 1, told.end
        if told.has_died or told.exit_code != 1:  # else it has gone back by itself
            told = await stage.rollback(retries=retries)
            assert told.exit_code == 0, told.end
        assert stage.images == [sick] * 2
        assert stage.marks == []

    on_stage(play)


def test_rollback_keeps_max_unavailable_on_the_way_back() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(4)
        await stage.deploy()
        told = await stage.rollback(max_unavailable=1)
        began_s = told.calls[0].sent_s
        serving = [len(ids) for at, ids in stage.world.story.serving if at > began_s]
        assert told.exit_code == 0
        assert min(serving) >= 3

    on_stage(play)


def test_rollback_brings_cold_machines_back_cold() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3, cold=1)
        await stage.deploy()
        told = await stage.rollback()
        assert told.exit_code == 0
        assert stage.images == [OLD] * 3
        assert stage.serving == 2

    on_stage(play)


@pytest.mark.parametrize("command", ["resume", "rollback"])
@pytest.mark.parametrize("operation", ["create", "update"])
def test_a_cold_machine_whose_stand_in_was_just_made_is_not_started(
    operation: str, command: str
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3, cold=1)
        full = stage.id("web-3")
        hits = [Hit("update", FULL, times=9, on=to(full))]
        await _killed(stage, hits=hits, dies=Death(operation, 3 if operation == "update" else 0))
        began_s = anyio.current_time()
        again = await (stage.resume() if command == "resume" else stage.rollback())
        assert again.exit_code == 0, again.end
        assert stage.images == [NEW if command == "resume" else OLD] * 3
        assert {len(ids) for at, ids in stage.world.story.serving if at > began_s} <= {1, 2}
        assert stage.serving == 2

    on_stage(play)


@pytest.mark.parametrize("retries", [0, 3])
def test_rollback_to_an_earlier_release_by_its_number(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await stage.deploy()
        await stage.deploy(NEWER)
        told = await stage.rollback("1", retries=retries)
        assert told.exit_code == 0, told.end
        assert (stage.images, stage.serving) == ([OLD] * 3, 3)
        (current,) = [past for past in await stage.history() if past.is_current]
        assert (current.number, current.image) == (4, OLD)

    on_stage(play)


@pytest.mark.parametrize("retries", [0, 3])
def test_rollback_takes_away_what_a_scale_made_and_then_the_release_before_it(
    retries: int,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        await stage.deploy()
        await stage.scale("web", 4)
        for image in (NEW, OLD):
            told = await stage.rollback(retries=retries)
            assert told.exit_code == 0, told.end
            assert (stage.images, stage.serving) == ([image] * 2, 2)

    on_stage(play)


def test_rollback_to_uses_a_siblings_version_for_a_newer_machine() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        await stage.deploy()
        await stage.scale("web", 3)
        told = await stage.rollback("1")
        assert told.exit_code == 0
        assert stage.images == [OLD] * 3

    on_stage(play)


def test_rollback_to_a_release_that_nobody_knows_is_refused() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.rollback("77")
        assert isinstance(told.error, UsageProblem)
        assert "history" in told.error.hint
        assert told.writes == []

    on_stage(play)


def test_a_first_deploy_has_nothing_to_go_back_to() -> None:
    async def play(stage: Stage) -> None:
        await stage.deploy()
        told = await stage.rollback()
        assert isinstance(told.error, UsageProblem)
        assert told.writes == []

    on_stage(play)


@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_a_rollback_that_was_killed_is_finished(command: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await stage.deploy()
        told = await stage.rollback(dies=Death("update", 1))
        assert told.has_died
        again = await (stage.resume() if command == "resume" else stage.rollback())
        assert again.exit_code == 0, again.end
        assert (stage.images, stage.serving, stage.marks) == ([OLD] * 3, 3, [])

    on_stage(play)


@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_what_was_put_back_and_has_exited_since_is_brought_up_by_who_goes_on(command: str) -> None:
    """Its old version does not say that it ran; that of the deploy, which it had between, does."""

    async def play(stage: Stage) -> None:
        await stage.settle(3, cold=1, keys={"restart": {"policy": "no"}})
        hits = [
            Hit("update", EXITS, on=lambda call: call.json["config"]["image"] == OLD),
            Hit("start", EXITS, times=9),
        ]
        told = await stage.deploy(BROKEN, hits=hits)
        assert (told.exit_code, stage.images, stage.serving) == (3, [OLD] * 3, 1)
        assert "goes on with it" in told.hints
        again = await (stage.resume() if command == "resume" else stage.rollback())
        assert (again.exit_code, again.end.result) == (0, Result.DONE)
        assert [call.operation for call in again.changes] == ["start"]
        assert (stage.serving, stage.marks) == (2, [])

    on_stage(play)


# -- history -----------------------------------------------------------------------------


def test_history_tells_the_releases_newest_first() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        await stage.deploy()
        await stage.deploy(NEWER)
        past = await stage.history()
        assert [(one.number, one.image, one.machines) for one in past] == [
            (3, NEWER, 2),
            (2, NEW, 2),
            (1, OLD, 2),
        ]
        assert [one.is_current for one in past] == [True, False, False]

    on_stage(play)


def test_history_says_of_each_deploy_who_made_it_and_how_it_ended() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await stage.deploy(BROKEN)
        await _killed(stage, dies=Death("update", 1))
        await anyio.sleep(30)
        await stage.resume()
        stage.deploy_elsewhere(NEWER, release=9)
        await anyio.sleep(60)
        await stage.scale("web", 4)
        past = await stage.history()
        assert [(one.image, one.outcome, one.is_ours) for one in past] == [
            (NEWER, "done", False),
            (NEW, "done", True),
            (BROKEN, "rolled back", True),
            (OLD, "done", True),
        ]
        began = [one.at for one in past if one.at]
        assert (len(began), began) == (4, sorted(began, reverse=True))
        assert [one.is_number_shared for one in past] == [False, True, True, False]

    on_stage(play)


def test_history_tells_an_unfinished_deploy() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await _killed(stage, dies=Death("update", 1))
        await anyio.sleep(30)
        newest, before = await stage.history()
        assert (newest.image, newest.outcome) == (NEW, "unfinished")
        assert (before.image, before.outcome, before.is_current) == (OLD, "done", True)

    on_stage(play)


# -- beside other tools ------------------------------------------------------------------


@pytest.mark.parametrize("is_killed", [False, True])
def test_after_another_tools_deploy_rollback_says_so_and_names_to(is_killed: bool) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        await stage.deploy(dies=Death("update", 1) if is_killed else None)
        await anyio.sleep(60)
        stage.deploy_elsewhere(NEWER, release=9)
        await anyio.sleep(60)
        told = await stage.rollback()
        assert isinstance(told.error, UsageProblem)
        assert "another tool" in told.error.message
        assert "--to" in told.error.hint
        assert told.writes == []
        assert (await stage.rollback("1")).exit_code == 0
        assert stage.images == [OLD] * 2

    on_stage(play)


def test_a_machine_put_back_since_another_tools_deploy_is_not_the_newest_deploy() -> None:
    """Undone, it would be the deploy that made the machine, and the machine would go."""

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        before = stage.machine("web-2").raw
        await anyio.sleep(60)
        stage.deploy_elsewhere(NEWER, release=9)
        await anyio.sleep(60)
        request = msgspec.convert({"config": before}, UpdateMachine)
        stage.world.platform.update(stage.machine("web-2"), request, owner="the platform")
        await anyio.sleep(60)
        told = await stage.rollback()
        assert isinstance(told.error, UsageProblem)
        assert "release 9 was made by another tool" in told.error.message
        assert told.writes == []
        assert len(stage.fleet) == 3

    on_stage(play)


@pytest.mark.parametrize("command", ["resume", "status"])
def test_a_deploy_that_another_tool_went_over_is_not_unfinished(command: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        await _killed(stage, dies=Death("update", 1))
        await anyio.sleep(60)
        stage.deploy_elsewhere(NEWER, release=9)
        await anyio.sleep(60)
        if command == "status":
            assert "unfinished" not in await stage.status()
        else:
            told = await stage.resume()
            assert (told.finished, told.writes) == (None, [])
        assert stage.images == [NEWER] * 2

    on_stage(play)


@pytest.mark.parametrize("operation", ["mark", "update"])
@pytest.mark.parametrize("command", ["resume", "rollback", "status"])
def test_machines_are_not_taken_back_from_a_later_release_of_another_tool(
    command: str, operation: str
) -> None:
    """It stopped half way, as ours did: the mark of ours still counts on another machine."""

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await _killed(stage, dies=Death(operation, 1 if operation == "update" else 0))
        await anyio.sleep(60)
        marked = set(stage.marks)
        other = next(name for name in sorted(stage.fleet) if name not in marked)
        stage.deploy_elsewhere(NEWER, release=9, only=other)
        await anyio.sleep(60)
        before = stage.images
        if command == "status":
            said = await stage.status()
            assert f"foreign9 of {NEWER}, has changed machine {other}" in said
            assert "deploy resume" not in said
            return
        told = await (stage.resume() if command == "resume" else stage.rollback())
        assert isinstance(told.error, Overtaken)
        assert f"foreign9 of {NEWER}, has changed machine {other}" in told.error.message
        assert "deploy --image IMAGE" in told.error.hint
        assert (told.writes, stage.images) == ([], before)

    on_stage(play)


@pytest.mark.parametrize("strategy", ["rolling", "canary"])
@pytest.mark.parametrize("of", ["greens", "a blue"])
def test_what_a_bluegreen_of_another_tool_has_left_cordoned_is_named(
    of: str, strategy: str
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        names = ["web-1"]
        if of == "greens":
            names = ["app-green-1", "app-green-2"]
            for name in names:
                stage.add(name, group_of(stage.toml))
        for name in names:
            stage.world.platform.cordon(stage.machine(name), cordoned=True)
        await anyio.sleep(60)
        told = await stage.deploy(strategy=strategy)
        assert told.exit_code == 0
        assert all(name in told.end.message for name in names), told.end
        assert "cordoned" in told.end.message
        ids = [machine.id for machine in stage.fleet.values() if machine.cordoned]
        assert all(f"fly machine {verb}" in told.end.hint for verb in ("uncordon", "destroy"))
        assert ids
        assert all(each in told.end.hint for each in ids)

    on_stage(play)


def test_a_number_that_two_deploys_have_is_refused_and_an_id_is_taken() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        await stage.deploy(BROKEN)
        await stage.deploy()
        await stage.deploy(NEWER)
        told = await stage.rollback("2")
        assert isinstance(told.error, UsageProblem)
        assert "release 2 is 2 deploys" in told.error.message
        done = next(one.deploy for one in await stage.history() if one.image == NEW)
        assert (await stage.rollback(done)).exit_code == 0
        assert stage.images == [NEW] * 2

    on_stage(play)


# -- others ------------------------------------------------------------------------------


def test_a_plain_deploy_takes_over_an_unfinished_one_and_says_so() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await _killed(stage, dies=Death("update", 1))
        await anyio.sleep(20)
        told = await stage.deploy(NEWER)
        assert told.exit_code == 0
        assert (stage.images, stage.marks) == ([NEWER] * 3, [])
        notices = [notice.message for notice in told.said(Noticed)]
        assert any("taking over" in message and NEW in message for message in notices)

    on_stage(play)


@pytest.mark.parametrize("operation", ["create", "uncordon", "cordon", "stop", "destroy"])
def test_a_plain_deploy_takes_over_a_bluegreen_that_died_on_either_side_of_the_switch(
    operation: str,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await _killed(stage, strategy="bluegreen", dies=Death(operation, 1))
        await anyio.sleep(20)
        told = await stage.deploy(NEWER, strategy="rolling")
        assert told.exit_code == 0, told.end
        assert stage.images == [NEWER] * 3
        assert stage.serving == 3

    on_stage(play)


@pytest.mark.parametrize(("command", "image"), [("resume", NEW), ("rollback", OLD)])
@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_an_unfinished_deploy_is_so_again_when_one_that_took_it_over_is_undone(
    strategy: str, command: str, image: str
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await _killed(stage, strategy=strategy, dies=Death("update", 1))
        await anyio.sleep(20)
        marks, images = stage.marks, stage.images
        undone = await stage.deploy(BROKEN, strategy=strategy)
        assert (undone.exit_code, undone.end.result) == (1, Result.ROLLED_BACK)
        assert (stage.marks, stage.images) == (marks, images)
        told = await (stage.resume() if command == "resume" else stage.rollback())
        assert told.exit_code == 0
        assert (stage.images, stage.serving, stage.marks) == ([image] * 3, 3, [])

    on_stage(play)


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_it_is_so_again_also_where_none_of_its_marks_were_on_what_the_second_selected(
    strategy: str,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await _killed(stage, strategy=strategy, dies=Death("update", 2))
        await anyio.sleep(20)
        marks = stage.marks
        there = {"web-1", "web-2", "web-3"} - set(marks)  # and no green, which may not have begun
        other = max(there, key=stage.id)
        undone = await stage.deploy(BROKEN, selection=Selection(only_machines=frozenset({other})))
        assert undone.exit_code == 1
        assert stage.marks == marks
        assert (await stage.resume()).exit_code == 0
        assert (stage.images, stage.serving, stage.marks) == ([NEW] * 3, 3, [])

    on_stage(play)


def test_of_two_rivals_one_wins_and_the_other_changes_nothing() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        first = await stage.start(deploy_app, {"image": NEW})
        second = await stage.start(deploy_app, {"image": NEWER})
        await first.is_over.wait()
        await second.is_over.wait()
        assert sorted([first.exit_code, second.exit_code]) == [0, 5]
        winner, loser = sorted([first, second], key=lambda told: told.exit_code)
        assert not [call for call in loser.changes if call.was_carried_out]
        assert loser.end.result is Result.LEASED
        assert "until" in loser.end.message
        assert "--wait-for-lease" in loser.end.hint
        assert set(stage.images) == {winner.end.message.split()[-1]}

    on_stage(play)


def test_a_rival_that_may_wait_deploys_when_the_other_is_done() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        first = await stage.start(deploy_app, {"image": NEW})
        await anyio.sleep(2)
        second = await stage.deploy(NEWER, wait_for_lease_s=300.0)
        assert (first.exit_code, second.exit_code) == (0, 0)
        assert stage.images == [NEWER] * 3

    on_stage(play)


@pytest.mark.parametrize("retries", [0, 3])
def test_a_rival_that_has_waited_finds_its_machines_replaced(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        first = await stage.start(deploy_app, {"image": NEW, "strategy": "bluegreen"})
        await anyio.sleep(2)
        second = await stage.deploy(NEWER, retries=retries, wait_for_lease_s=300.0)
        assert (first.exit_code, second.exit_code) == (0, 0)
        assert second.passes() == 1
        assert stage.images == [NEWER] * 3

    on_stage(play)


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_a_deploy_that_another_has_overtaken_leaves_the_app_to_it(strategy: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        cut_off = [Hit("update", BY_NAME["timed out before"])]
        first = await stage.start(
            deploy_app,
            {"image": NEW, "strategy": strategy, "wait_timeout_s": 40.0, "hits": cut_off},
        )
        await anyio.sleep(3)
        now = anyio.current_time()
        first.transport.outage = (now, now + 25)  # long enough for its leases to run out
        await anyio.sleep(16)
        second = await stage.deploy(NEWER, min_healthy_s=0.0)
        assert second.exit_code == 0, second.end
        await first.is_over.wait()
        assert (first.exit_code, first.end.result) == (5, Result.LEASED), first.end
        assert "another deploy" in first.end.message
        assert first.passes("back") == 0
        assert first.unreleased == []
        assert stage.images == [NEWER] * 2
        assert stage.marks == []

    on_stage(play, checks=False)  # a lease that has run out is taken anew


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_one_that_another_tool_overtakes_in_the_middle_ends_as_who_has_lost_its_leases(
    strategy: str,
) -> None:
    """What the other has made does not serve yet, and is not said to be what was there before."""

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        first = await stage.start(
            deploy_app, {"image": "registry.test/hello:2-slow", "strategy": strategy}
        )
        await anyio.sleep(5)
        now = anyio.current_time()
        first.transport.outage = (now, now + 20)  # as for a process that is stopped meanwhile
        await anyio.sleep(19.5)
        stage.deploy_elsewhere("registry.test/hello:3-slow", release=9)
        await first.is_over.wait()
        assert (first.exit_code, first.end.result) == (5, Result.LEASED), first.end
        assert "another deploy, foreign9" in first.end.message
        told = {m.runs for m in first.end.machines if m.state != "destroyed"}
        assert told == {"mixed"}
        assert stage.marks == []

    on_stage(play, checks=False)


def test_one_that_old_lists_led_to_mark_an_app_of_another_deploy_takes_its_mark_off() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(1)
        first = await stage.start(deploy_app, {"image": NEW})
        hits = [
            Hit("acquire", BY_NAME["timed out before"]),
            Hit("list", BY_NAME["stale"], times=2, nth=1),
            Hit("read", BY_NAME["502 before"], times=12),
        ]
        second = await stage.deploy(NEWER, hits=hits)
        assert (first.exit_code, second.exit_code) == (0, 5), second.end
        assert "another deploy" in second.end.message
        assert len(second.of("mark")) == 1
        assert (stage.images, stage.marks) == ([NEW], [])

    on_stage(play)


def test_a_rival_that_waits_too_short_gives_up_with_nothing_changed() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(5)
        first = await stage.start(deploy_app, {"image": "registry.test/hello:slow"})
        first.transport.outage = None
        await anyio.sleep(2)
        second = await stage.deploy(NEWER, wait_for_lease_s=5.0)
        assert second.exit_code == 5
        assert second.changes == []
        await first.is_over.wait()

    on_stage(play)


# -- interrupted, late, cut off -------------------------------------------------------------


def test_a_deadline_ends_the_way_forward_and_the_app_goes_back() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(4)
        told = await stage.deploy("registry.test/hello:slow", deadline_s=60.0, wait_timeout_s=300.0)
        assert told.exit_code == 1
        assert "deadline" in told.end.message
        assert stage.images == [OLD] * 4

    on_stage(play)


def test_an_outage_ends_the_run_and_says_so() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.start(deploy_app, {"image": NEW})
        told.transport.outage = (anyio.current_time(), anyio.current_time() + 600)
        await told.is_over.wait()
        assert told.exit_code == 6
        assert stage.images == [OLD] * 3

    on_stage(play)


def test_an_outage_in_the_middle_leaves_the_app_in_between_and_resume_finishes_it() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.start(deploy_app, {"image": NEW})
        while sorted(set(stage.images)) != [OLD, NEW]:  # noqa: ASYNC110 - looked at from outside
            await anyio.sleep(0.5)
        told.transport.outage = (anyio.current_time(), anyio.current_time() + 900)
        await told.is_over.wait()
        assert told.exit_code == 3
        await anyio.sleep(20)
        resumed = await stage.resume()
        assert (resumed.exit_code, stage.images) == (0, [NEW] * 3)

    on_stage(play, checks=False)


def test_a_shorter_silence_is_a_hiccup() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.start(deploy_app, {"image": NEW})
        await anyio.sleep(3)
        told.transport.outage = (anyio.current_time(), anyio.current_time() + 8)
        await told.is_over.wait()
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)

    on_stage(play)


# -- leases --------------------------------------------------------------------------------


def test_every_lease_is_taken_before_the_first_write_an_arbiter_first_and_released() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(5, cold=1)
        told = await stage.deploy()
        acquired = told.of("acquire")
        ids = sorted(machine.id for machine in stage.fleet.values())
        assert sorted(call.machine for call in acquired) == ids
        assert acquired[0].machine == ids[0]  # the same for every run of the app
        assert (acquired[0].heard_s or 0) <= min(call.sent_s for call in acquired[1:])
        assert max(call.heard_s or 0 for call in acquired) <= told.of("mark")[0].sent_s
        assert {c.machine for c in told.of("release")} == {c.machine for c in acquired}

    on_stage(play)


@pytest.mark.parametrize("image", [NEW, BROKEN])
def test_every_write_carries_the_nonce_that_is_in_force(image: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(image, strategy="bluegreen", wait_timeout_s=20.0)
        for call in told.changes:
            if call.machine and call.was_carried_out:
                assert call.nonce
                assert call.nonce == call.lease_before

    on_stage(play)


def test_a_lease_lost_in_the_middle_stops_writes_to_that_machine() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(4)
        stolen = stage.id("web-4")
        hits = [Hit("refresh", BY_NAME["lease stolen"], on=to(stolen))]
        told = await stage.deploy(hits=hits, max_unavailable=1, retries=0)
        lost_s = next(call.heard_s or 0 for call in told.of("refresh", stolen) if call.fault)
        assert told.exit_code in (3, 5)
        assert not [c for c in told.changes if c.machine == stolen and c.sent_s > lost_s]
        assert stage.fleet["web-4"].image == OLD

    on_stage(play)


def test_a_lost_acquire_reply_is_adopted_by_its_description() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit("acquire", BY_NAME["reply lost"], on=to(stage.id("web-2")))]
        began_s = anyio.current_time()
        told = await stage.deploy(hits=hits)
        assert told.exit_code == 0
        assert len(told.of("acquire", stage.id("web-2"))) == 1
        assert told.of("update")[0].sent_s - began_s < 10  # and not waited out

    on_stage(play)


def test_an_unreachable_machine_is_left_without_a_lease_and_reported() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        lost = stage.id("web-2")
        stage.runtime.lose_host(lost)
        told = await stage.deploy()
        assert told.of("acquire", lost) == []
        assert told.of("update", lost) == []
        assert lost in {machine.machine_id for machine in told.end.machines}
        others = [m for m in stage.fleet.values() if m.id != lost and m.serves]
        assert [machine.image for machine in others] == [NEW] * 3

    on_stage(play)
