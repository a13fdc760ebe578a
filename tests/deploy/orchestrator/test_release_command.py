"""The release command on a machine of its own: once, before anything changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec
import pytest

from deploy.errors import AppFailed, CallFailed, NotInTime
from deploy.events import MachineMoved, Noticed, Phase
from deploy.local.requests import CreateMachine
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.one_off import RELEASE_COMMAND
from deploy.orchestrator.release_command import (
    ReleaseCommand,
    ReleaseCommandRun,
    machine_of,
)
from tests.deploy.orchestrator.bench import DEPLOY_ID, Bench, on_bench, release_for
from tests.worlds.fleets import group, release
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.world import APP, Scenario
from tests.worlds.stage import Hit

Story = Callable[[Bench, ReleaseCommandRun], Awaitable[None]]


def play(story: Story, word: str = "exit0", *, timeout_s: float = 60.0, **options: Any) -> None:
    """With an image of which every machine does what `word` says; `run` is to be called."""
    wanted = release_for(image=f"registry.test/hello:{word}")
    spec = ReleaseCommand(command="migrate --all 'a b'", timeout_s=timeout_s)

    async def main(bench: Bench) -> None:
        await story(bench, ReleaseCommandRun(bench.tools, bench.memory, spec))

    on_bench(main, release=wanted, scenario=Scenario(machines=1), **options)


def _machines(bench: Bench) -> list[Any]:
    return [one for one in bench.world.machines() if one.config.group == RELEASE_COMMAND]


# -- its machine -------------------------------------------------------------------------


def test_its_machine_has_the_environment_and_nothing_that_serves() -> None:
    spec = ReleaseCommand(command="migrate --all 'a b'", guest={"cpus": 2})
    config = spec.machine(release(group(env={"A": "1"}, mounts=[{"path": "/data"}]))).config
    assert config["env"] == {"A": "1", "RELEASE_COMMAND": "1"}
    assert config["init"] == {"cmd": ["migrate", "--all", "a b"]}
    assert config["guest"] == {"cpus": 2}
    assert config["restart"] == {"policy": "no"}
    assert not {"services", "checks", "mounts"} & config.keys()
    assert "guest" not in ReleaseCommand(command="x").machine(release()).config


def test_without_groups_there_is_only_its_own_variable() -> None:
    config = ReleaseCommand(command="x").machine(release_for(0)).config
    assert config["env"]["RELEASE_COMMAND"] == "1"


# -- running it --------------------------------------------------------------------------


def test_it_runs_once_however_often_it_is_asked_for() -> None:
    async def story(bench: Bench, command: ReleaseCommandRun) -> None:
        for _ in range(3):
            await command.run(await bench.fleet())
        assert len(bench.calls("create")) == 1
        (machine,) = _machines(bench)
        assert machine.name == f"release-command-{DEPLOY_ID[-6:]}"
        phases = [event.phase for event in bench.of(MachineMoved)]
        assert phases == [Phase.CREATING, Phase.STARTING, Phase.DONE]
        await command.clean_up()
        assert _machines(bench) == []

    play(story)


def test_one_that_an_earlier_run_of_this_deploy_made_is_waited_for_and_not_made_again() -> None:
    async def story(bench: Bench, command: ReleaseCommandRun) -> None:
        _make(bench, DEPLOY_ID)
        fleet = await bench.fleet()
        assert machine_of(fleet, DEPLOY_ID) is not None
        await command.run(fleet)
        assert bench.calls("create") == []

    play(story)


def test_one_of_another_deploy_is_none_of_ours() -> None:
    async def story(bench: Bench, command: ReleaseCommandRun) -> None:
        _make(bench, "0dddddddddother", name="theirs")
        await command.run(await bench.fleet())
        assert len(_machines(bench)) == 2
        await command.clean_up()
        assert [one.name for one in _machines(bench)] == ["theirs"]

    play(story)


@pytest.mark.parametrize("fault", ["reply lost", "503 after"])
def test_after_a_lost_answer_its_machine_is_found_by_its_name(fault: str) -> None:
    async def story(bench: Bench, command: ReleaseCommandRun) -> None:
        before = await bench.fleet()
        with pytest.raises(CallFailed) as caught:
            await command.run(before)
        assert caught.value.meaning.is_hiccup
        await command.run(before)  # a list that does not show it yet
        assert len(_machines(bench)) == 1

    play(story, hits=[Hit("create", BY_NAME[fault])])


def test_a_name_that_is_somebody_elses_machine_is_not_adopted() -> None:
    async def story(bench: Bench, command: ReleaseCommandRun) -> None:
        bench.world.create(f"release-command-{DEPLOY_ID[-6:]}", {"image": "x"})
        with pytest.raises(CallFailed, match="unique machine name"):
            await command.run(await bench.fleet())

    play(story)


def test_a_bad_exit_is_the_apps_failure_and_is_kept_to_be_looked_at() -> None:
    async def story(bench: Bench, command: ReleaseCommandRun) -> None:
        with pytest.raises(AppFailed, match="exit code 1") as caught:
            await command.run(await bench.fleet())
        assert "`migrate --all 'a b'`" in caught.value.message
        assert "--skip-release-command" in caught.value.hint
        assert caught.value.machine_id == _machines(bench)[0].id

    play(story, "exit1")


def test_one_that_does_not_end_fails_when_its_time_is_over() -> None:
    async def story(bench: Bench, command: ReleaseCommandRun) -> None:
        began_s = anyio.current_time()
        with pytest.raises(AppFailed, match="no end after 25 s"):
            await command.run(await bench.fleet())
        assert 25 <= anyio.current_time() - began_s < 40

    play(story, "steady", timeout_s=25.0)


@pytest.mark.parametrize("operation", ["wait", "read"])
def test_a_failed_read_does_not_fail_it(operation: str) -> None:
    async def story(bench: Bench, command: ReleaseCommandRun) -> None:
        await command.run(await bench.fleet())

    play(story, hits=[Hit(operation, BY_NAME["503 before"], times=3)])


def test_waiting_for_it_is_cut_by_a_halt() -> None:
    async def story(bench: Bench, command: ReleaseCommandRun) -> None:
        async def halt() -> None:
            await anyio.sleep(5)
            bench.halt.set(NotInTime("over"))

        fleet = await bench.fleet()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(halt)
            with pytest.raises(Cut):
                await command.run(fleet)

    play(story, "steady", timeout_s=600.0)


def test_a_machine_that_cannot_be_removed_is_said_with_how_to_remove_it() -> None:
    async def story(bench: Bench, command: ReleaseCommandRun) -> None:
        await command.clean_up()
        assert bench.calls("destroy") == []  # it never ran
        await command.run(await bench.fleet())
        await command.clean_up()
        (notice,) = bench.of(Noticed)
        machine_id = _machines(bench)[0].id
        assert notice.hint == f"remove it with: fly machine destroy --force --app sim {machine_id}"

    play(story, hits=[Hit("destroy", BY_NAME["503 before"])])


def _make(bench: Bench, deploy_id: str, *, name: str = "") -> None:
    """Its machine, made by an earlier run."""
    spec = ReleaseCommand(command="migrate")
    made_by = release_for(deploy_id=deploy_id, image="registry.test/hello:exit0")
    machine = spec.machine(made_by)
    asked = {"name": name or machine.name, "config": machine.config}
    request = msgspec.convert(asked, CreateMachine)
    bench.world.platform.create(APP, request, slot=f"earlier/{deploy_id}", owner="earlier")
