"""The release command: once per deploy, before anything changes."""

from __future__ import annotations

import anyio
import pytest

from deploy.events import Result
from deploy.orchestrator.one_off import RELEASE_COMMAND
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.stage import NEW, OLD, WEB, Death, Hit, Stage, Told, on_stage


def _toml(command: str, timeout: str = "2m") -> str:
    return (
        WEB
        + f'\n[deploy]\n  release_command = "{command}"\n  release_command_timeout = "{timeout}"\n'
    )


SLOW = "registry.test/hello:2-slow"
GOOD, BAD, ENDLESS = _toml("exit0 migrate"), _toml("exit1 migrate"), _toml("ever", "30s")


def _runs(told: Told) -> list[object]:
    """The machines that a run made for the release command."""
    return [call for call in told.of("create") if call.name.startswith("release-command")]


def _helpers(stage: Stage) -> list[str]:
    return [m.name for m in stage.world.machines() if m.config.group == RELEASE_COMMAND]


@pytest.mark.parametrize("retries", [0, 3])
def test_it_runs_once_before_anything_changes_and_its_machine_goes_at_the_end(
    retries: int,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(retries=retries)
        assert (told.exit_code, stage.images) == (0, [NEW] * 2)
        (created,) = told.of("create")
        config = created.json["config"]
        assert config["env"]["RELEASE_COMMAND"] == "1"
        assert config["init"]["cmd"] == ["exit0", "migrate"]
        assert not config.get("mounts")
        assert not config.get("services")
        ended = next(
            at
            for at, e in told.events
            if getattr(e, "group", "") == RELEASE_COMMAND and getattr(e, "phase", "") == "done"
        )
        assert ended <= told.of("update")[0].sent_s
        assert _helpers(stage) == []

    on_stage(play, toml=GOOD)


@pytest.mark.parametrize("retries", [0, 3])
def test_a_non_zero_exit_stops_with_nothing_changed_and_is_not_retried(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(retries=retries)
        assert told.exit_code == 1
        assert "exit code 1" in told.end.message
        assert "exit1 migrate" in told.end.message
        assert told.of("update") == []
        assert len(_runs(told)) == 1
        assert told.passes() == 1
        assert stage.images == [OLD] * 2
        assert {machine.runs for machine in told.end.machines} == {"old"}

    on_stage(play, toml=BAD)


def test_one_that_does_not_end_in_its_time_is_a_failure() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        began_s = anyio.current_time()
        told = await stage.deploy()
        assert told.exit_code == 1
        assert "30 s" in told.end.message
        assert 30 <= anyio.current_time() - began_s < 70
        assert told.of("update") == []

    on_stage(play, toml=ENDLESS)


def test_it_can_be_skipped() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(runs_release_command=False)
        assert (told.exit_code, told.of("create")) == (0, [])

    on_stage(play, toml=BAD)


def test_an_app_that_is_already_there_does_not_run_it_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        assert (await stage.deploy()).exit_code == 0
        again = await stage.deploy()
        assert (again.exit_code, again.writes) == (0, [])

    on_stage(play, toml=GOOD)


def test_a_first_deploy_runs_it_before_the_first_machine() -> None:
    async def play(stage: Stage) -> None:
        told = await stage.deploy()
        assert told.exit_code == 0
        assert [call.name.split("-")[0] for call in told.of("create")] == ["release", "web", "web"]

    on_stage(play, toml=GOOD)


@pytest.mark.parametrize("fault", ["503 before", "reply lost", "429", "refused"])
def test_a_hiccup_of_its_creation_does_not_run_it_twice(fault: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(hits=[Hit("create", BY_NAME[fault])])
        assert (told.exit_code, stage.images) == (0, [NEW] * 2)
        assert len([c for c in told.of("create") if c.was_carried_out]) == 1

    on_stage(play, toml=GOOD)


def test_resume_does_not_run_it_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        killed = await stage.deploy(dies=Death("update", 1))
        assert killed.has_died
        told = await stage.resume()
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)
        assert told.of("create") == []
        assert _helpers(stage) == []

    on_stage(play, toml=GOOD)


@pytest.mark.parametrize("command", ["deploy", "rollback"])
def test_one_that_was_killed_with_its_deploy_is_shown_and_then_removed(command: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        killed = await stage.deploy(dies=Death("wait", 0), toml=ENDLESS)
        assert killed.has_died
        assert len(_helpers(stage)) == 1
        await anyio.sleep(20)  # until its leases are over
        shown = await stage.status()
        assert "ran the release command of deploy" in shown
        assert "the next deploy removes it" in shown
        told = await stage.deploy() if command == "deploy" else await stage.rollback()
        assert told.exit_code == 0, told.end
        assert _helpers(stage) == []
        assert "release command" not in await stage.status()

    on_stage(play, toml=GOOD)


def test_a_deploy_over_one_that_died_is_not_unchanged_where_it_has_run_the_command() -> None:
    """The machine is on the release already, and has yet to come up."""

    async def play(stage: Stage) -> None:
        await stage.settle(1)
        killed = await stage.deploy(SLOW, dies=Death("update"))
        assert killed.has_died
        await anyio.sleep(15)  # until its leases are over
        told = await stage.deploy(SLOW, wait_timeout_s=120.0)
        assert (told.of("update"), len(_runs(told))) == ([], 1)
        assert (told.exit_code, told.end.result) == (0, Result.DONE)
        assert "nothing to do" not in told.end.message

    on_stage(play, toml=GOOD)


def test_two_first_deploys_do_not_end_each_others_commands() -> None:
    async def play(stage: Stage) -> None:
        killed = await stage.deploy(dies=Death("wait", 0), toml=ENDLESS)
        assert killed.has_died
        first = await stage.deploy()
        assert first.exit_code == 0
        assert len(_helpers(stage)) == 1  # there were no leases that would have kept it away
        assert (await stage.deploy("registry.test/hello:3")).exit_code == 0
        assert _helpers(stage) == []

    on_stage(play, toml=GOOD)


def test_rollback_and_scale_do_not_run_it() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        await stage.deploy()
        back = await stage.rollback()
        assert (back.exit_code, _runs(back)) == (0, [])
        up = await stage.scale("web", 3)
        assert (up.exit_code, _runs(up)) == (0, [])

    on_stage(play, toml=GOOD)
