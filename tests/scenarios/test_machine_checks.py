"""Machine checks: the first new machine of each group is tried from a machine of its own."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from deploy.commands.deploy import deploy_app
from deploy.events import Cause, MachineMoved, Noticed, Result
from deploy.orchestrator.one_off import MACHINE_CHECK
from deploy.plan.steps import Gate
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.transport import Call
from tests.worlds.stage import NEW, OLD, WEB, WORKER, Death, Hit, Stage, Told, on_stage

UNAVAILABLE = BY_NAME["503 before"]


def checked_by(*words: str, of: str = WEB) -> str:
    """Each word is what the command of one check does: `exit0`, `exit1`, or runs for ever."""
    return of + "".join(f'\n[[machine_checks]]\n  command = ["{word}", "probe"]' for word in words)


GOOD, BAD, ENDLESS = checked_by("exit0"), checked_by("exit1"), checked_by("ever")


def is_check(call: Call) -> bool:
    return call.name.startswith("machine-check-")


def made(told: Told) -> list[Call]:
    """The creates of the machines of its checks."""
    return [call for call in told.of("create") if is_check(call)]


def left_over(stage: Stage) -> list[str]:
    return [m.name for m in stage.world.machines() if m.config.group == MACHINE_CHECK]


def _env(call: Call) -> dict[str, str]:
    env: dict[str, str] = call.json["config"]["env"]
    return env


def _passed_s(told: Told) -> float:
    """When its first check had passed."""
    return next(
        at
        for at, e in told.events
        if isinstance(e, MachineMoved) and (e.group, e.phase) == (MACHINE_CHECK, "done")
    )


# -- that pass -----------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_it_runs_once_against_the_first_new_machine_before_the_others_follow(
    strategy: str, retries: int
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(strategy=strategy, retries=retries)
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)
        (one,) = made(told)
        config = one.json["config"]
        assert config["image"] == NEW
        assert config["init"]["cmd"] == ["exit0", "probe"]
        assert config["metadata"]["fly_process_group"] == MACHINE_CHECK
        assert config["restart"] == {"policy": "no"}
        assert not {"services", "checks", "mounts"} & config.keys()
        assert left_over(stage) == []
        ended_s = _passed_s(told)
        if strategy == "bluegreen":
            assert told.of("uncordon")[0].sent_s >= ended_s
        else:
            updates = [call.sent_s for call in told.of("update") if call.sent_s < ended_s]
            assert len(updates) == (1 if strategy == "rolling" else 0)

    on_stage(play, toml=GOOD)


def test_it_is_told_the_private_address_of_the_machine_that_it_tries() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy()
        (one,) = made(told)
        first = told.of("update")[0].machine
        tried = next(m for m in stage.world.machines() if m.id == first)
        assert _env(one)["FLY_TEST_MACHINE_IP"] == tried.private_ip != ""
        assert _env(one)["FLY_TEST_COMMAND"] == "1"
        assert _env(one)["FLY_PROCESS_GROUP"] == MACHINE_CHECK
        assert first[-8:] in one.name

    on_stage(play, toml=GOOD)


def test_every_group_is_tried_by_the_checks_that_are_for_it() -> None:
    own = '\n  [[http_service.machine_checks]]\n    command = ["exit0", "web only"]'

    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy()
        assert told.exit_code == 0
        groups = {machine.id: name for name, machine in stage.fleet.items()}
        tried = [
            (next(name for id_, name in groups.items() if id_[-8:] in call.name)[:3], argument)
            for call in made(told)
            for argument in call.json["config"]["init"]["cmd"][1:]
        ]
        assert sorted(tried) == [("web", "probe"), ("web", "web only"), ("wor", "probe")]

    on_stage(play, toml=checked_by("exit0", of=WORKER + own))


def test_a_first_deploy_tries_the_first_machine() -> None:
    async def play(stage: Stage) -> None:
        told = await stage.deploy()
        assert told.exit_code == 0
        names = [call.name.partition("-")[0] for call in told.of("create")]
        assert names == ["web", "machine", "web"]
        assert left_over(stage) == []

    on_stage(play, toml=GOOD)


@pytest.mark.parametrize("options", [{"strategy": "immediate"}, {"waits_for_health": False}])
def test_nobody_is_tried_where_nobody_is_waited_for(options: dict[str, Any]) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(**options)
        assert (told.exit_code, made(told)) == (0, [])

    on_stage(play, toml=BAD)


def test_a_rollback_tries_nobody() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        assert (await stage.deploy()).exit_code == 0
        back = await stage.rollback()
        assert (back.exit_code, made(back), stage.images) == (0, [], [OLD] * 2)

    on_stage(play, toml=GOOD)


def test_an_app_that_is_already_there_is_not_tried_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        assert (await stage.deploy()).exit_code == 0
        again = await stage.deploy()
        assert (again.exit_code, again.writes) == (0, [])

    on_stage(play, toml=GOOD)


def test_the_plan_says_that_they_run() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        for toml, gate in ((GOOD, Gate.TRIED), (WEB, Gate.HEALTHY)):
            _, order = await stage.plan(toml=toml)
            assert {one.gate for stage_ in order for track in stage_ for one in track.steps} == {
                gate
            }

    on_stage(play, toml=GOOD)


# -- that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_one_that_fails_is_the_apps_failure_and_is_not_retried(strategy: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        before = {machine.id for machine in stage.fleet.values()}
        told = await stage.deploy(strategy=strategy)
        assert (told.exit_code, told.end.result) == (1, Result.ROLLED_BACK)
        assert told.end.cause is Cause.APP
        assert "exit code 1" in told.end.message
        assert "exit1 probe" in told.end.message
        assert (told.passes(), len(made(told))) == (1, 1)
        assert (stage.images, stage.serving) == ([OLD] * 3, 3)
        touched = {call.machine for call in told.of("update")} & before
        assert len(touched) == (1 if strategy == "rolling" else 0)
        assert left_over(stage) == []

    on_stage(play, toml=BAD)


def test_the_second_check_is_not_made_after_the_first_has_failed() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(1)
        told = await stage.deploy()
        assert told.exit_code == 1
        assert [call.json["config"]["init"]["cmd"][0] for call in made(told)] == ["exit1"]

    on_stage(play, toml=checked_by("exit1", "exit0"))


def test_one_that_does_not_end_in_its_time_fails_and_its_machine_goes() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(wait_timeout_s=20.0)
        assert told.exit_code == 1
        assert "no end after 20 s" in told.end.message
        assert left_over(stage) == []

    on_stage(play, toml=ENDLESS)


@pytest.mark.parametrize(
    ("word", "says", "passes"),
    [("missing", "image not found", 1), ("unbootable", "no space left", 2)],
)
def test_an_image_that_is_not_there_is_the_apps_failure_and_a_host_that_is_full_is_not(
    word: str, says: str, passes: int
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy()
        assert told.exit_code == 1
        assert says in told.end.message
        assert (told.passes(), len(made(told))) == (passes, passes)
        assert left_over(stage) == []

    on_stage(play, toml=checked_by(word))


# -- hiccups -------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
@pytest.mark.parametrize("fault", ["503 before", "503 after", "reply lost", "429", "refused"])
def test_a_hiccup_of_its_creation_is_retried_and_never_makes_two(strategy: str, fault: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        hits = [Hit("create", BY_NAME[fault], on=is_check)]
        told = await stage.deploy(strategy=strategy, hits=hits)
        assert (told.exit_code, stage.images) == (0, [NEW] * 2)
        assert told.passes() > 1
        names = [call.name for call in made(told) if call.was_carried_out]
        assert len(names) == len(set(names)) == (2 if _tries_the_next(strategy, fault) else 1)
        assert left_over(stage) == []
        if strategy == "canary":
            assert told.of("update")[0].sent_s >= _passed_s(told)

    on_stage(play, toml=GOOD)


def _tries_the_next(strategy: str, fault: str) -> bool:
    """Of two greens the second is tried at once; the first create was carried out all the same."""
    return strategy == "bluegreen" and fault in ("503 after", "reply lost")


@pytest.mark.parametrize("operation", ["wait", "read"])
def test_a_hiccup_while_it_is_watched_does_not_fail_it(operation: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        hits = [Hit(operation, UNAVAILABLE, times=2, on=_is_about_check(stage))]
        told = await stage.deploy(hits=hits)
        assert (told.exit_code, told.passes()) == (0, 1)
        assert [call for call in told.of(operation) if call.fault]

    on_stage(play, toml=GOOD)


@pytest.mark.parametrize(("retries", "then"), [(3, "registry.test/hello:3"), (3, NEW), (0, NEW)])
def test_a_machine_that_cannot_be_removed_is_named_and_the_next_run_removes_it(
    retries: int, then: str
) -> None:
    """Also where that has nothing else to do."""

    async def play(stage: Stage) -> None:
        await stage.settle(2)
        hits = [Hit("destroy", UNAVAILABLE)]
        told = await stage.deploy(hits=hits)
        assert told.exit_code == 0
        (left,) = left_over(stage)
        (machine_id,) = [m.id for m in stage.world.machines() if m.name == left]
        hint = f"remove it with: fly machine destroy --force --app sim {machine_id}"
        assert hint in [notice.hint for notice in told.said(Noticed)]
        assert f"{machine_id} (stopped) ran a machine check of deploy" in await stage.status()
        again = await stage.deploy(then, retries=retries)
        assert (again.exit_code, again.end.result) == (0, Result.DONE)
        assert left_over(stage) == []
        assert bool(again.of("update")) == (then != NEW)

    on_stage(play, toml=GOOD, follows=False)


def test_one_that_may_have_been_made_is_named_where_no_last_look_can_be_had() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        hits = [Hit("create", BY_NAME["reply lost"], times=9)]
        told = await stage.start(deploy_app, {"image": NEW, "hits": hits, "retries": 3})
        while not left_over(stage):  # noqa: ASYNC110 - looked at from outside
            await anyio.sleep(0.05)
        told.transport.outage = (anyio.current_time(), anyio.current_time() + 600)
        await told.is_over.wait()
        (left,) = left_over(stage)
        assert [notice.message for notice in told.said(Noticed) if left in notice.message] == [
            f"machine {left} may be left: the answer to its creation was lost"
        ]

    on_stage(play, toml=GOOD, checks=False, follows=False)


# -- runs that end early -------------------------------------------------------------------


@pytest.mark.parametrize("command", ["deploy", "resume", "rollback"])
@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_one_that_was_killed_with_its_run_is_shown_and_the_next_run_removes_it(
    command: str, strategy: str
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        death = Death("create", {"rolling": 0, "canary": 1, "bluegreen": 2}[strategy])
        killed = await stage.deploy(toml=ENDLESS, strategy=strategy, dies=death)
        assert killed.has_died
        assert len(left_over(stage)) == 1
        await anyio.sleep(20)  # until its leases are over
        shown = await stage.status()
        assert "ran a machine check of deploy" in shown
        assert "the next deploy removes it" in shown
        told = await getattr(stage, command)()
        assert told.exit_code == 0, told.end
        assert stage.images == [OLD if command == "rollback" else NEW] * 2
        assert left_over(stage) == []
        assert len(made(told)) == (0 if command == "rollback" else 1)

    on_stage(play, toml=GOOD)


def _is_about_check(stage: Stage) -> Any:
    def is_about(call: Call) -> bool:
        return call.machine in {
            m.id for m in stage.world.machines() if m.config.group == MACHINE_CHECK
        }

    return is_about
