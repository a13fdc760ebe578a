"""Machine checks: once for each group and run, on one-off machines against its first machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from deploy.api.machine import Fleet
from deploy.errors import AppFailed, CallFailed, NotInTime
from deploy.events import Noticed
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.machine_checks import MachineChecks, one_off
from deploy.orchestrator.one_off import MACHINE_CHECK
from deploy.plan.group import MachineCheck
from tests.deploy.orchestrator.bench import DEPLOY_ID, Bench, on_bench, release_for
from tests.worlds.fleets import group, machine, release
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.world import Scenario
from tests.worlds.stage import Hit

Story = Callable[[Bench, MachineChecks], Awaitable[None]]


def play(story: Story, *words: str, **options: Any) -> None:
    """With one check for each word, which is what the image of its machine does."""
    checks = tuple(
        MachineCheck(init={"cmd": ["probe", word]}, image=f"registry.test/probe:{word}")
        for word in words
    )
    plain = release_for()
    wanted = replace(plain, groups=tuple(replace(g, machine_checks=checks) for g in plain.groups))

    async def main(bench: Bench) -> None:
        await story(
            bench, MachineChecks(bench.tools, bench.memory, run_id="0run1234", timeout_s=25.0)
        )

    on_bench(main, release=wanted, scenario=Scenario(machines=2), **options)


def _left(bench: Bench) -> list[str]:
    return [one.name for one in bench.world.machines() if one.config.group == MACHINE_CHECK]


# -- its machine -------------------------------------------------------------------------


def test_its_machine_is_told_whom_to_try_and_is_none_of_the_app() -> None:
    mine = group(
        env={"A": "1", "FLY_PROCESS_GROUP": "web"},
        init={"cmd": ["serve"], "entrypoint": ["/app"], "swap_size_mb": 256},
        guest={"cpus": 2},
        mounts=[{"path": "/data"}],
    )
    tried = replace(machine("m1"), private_ip="fdaa::1", region="fra")
    check = MachineCheck(init={"cmd": ["probe"]}, stop_config={"signal": "SIGTERM"})
    spec = one_off(release(mine), mine, check, tried, "-x", 5.0)
    assert (spec.group, spec.region, spec.timeout_s) == (MACHINE_CHECK, "fra", 5.0)
    assert spec.config["env"] == {
        "A": "1",
        "FLY_PROCESS_GROUP": MACHINE_CHECK,
        "FLY_TEST_COMMAND": "1",
        "FLY_TEST_MACHINE_IP": "fdaa::1",
    }
    assert spec.config["init"] == {"cmd": ["probe"], "entrypoint": ["/app"], "swap_size_mb": 256}
    assert spec.config["guest"] == {"cpus": 2}
    assert spec.config["stop_config"] == {"signal": "SIGTERM"}
    assert spec.config["dns"] == {"skip_registration": True}
    assert not {"services", "checks", "mounts"} & spec.config.keys()


def test_an_image_of_its_own_has_an_entrypoint_of_its_own() -> None:
    mine = group(init={"entrypoint": ["/app"]})
    for own in ({}, {"entrypoint": ["/bin/sh"]}):
        check = MachineCheck(init={"cmd": ["x"], **own}, image="curl")
        spec = one_off(release(mine), mine, check, machine("m1"), "", 5.0)
        assert spec.config["init"] == {"cmd": ["x"], **own}
        assert spec.config["image"] == "curl"


# -- running them ------------------------------------------------------------------------


def test_they_run_one_after_the_other_and_once_for_the_group() -> None:
    async def story(bench: Bench, checks: MachineChecks) -> None:
        async with anyio.create_task_group() as tasks:
            for name in ("web-1", "web-2"):
                tasks.start_soon(checks.pass_on, bench.id(name), "web")
        await checks.pass_on(bench.id("web-2"), "web")
        first, second = bench.calls("create")
        ends = {f"{DEPLOY_ID[-6:]}-1234-{bench.id(name)[-8:]}" for name in ("web-1", "web-2")}
        assert [first.name, second.name] in (
            [[f"machine-check-{end}-{n}" for n in (1, 2)] for end in ends]
        )
        waited = [call.heard_s or 0.0 for call in bench.calls("wait") if call.is_good]
        assert waited[0] <= second.sent_s
        await checks.clean_up(Fleet())
        assert _left(bench) == []

    play(story, "exit0", "exit0-again")


def test_a_bad_exit_is_the_apps_failure() -> None:
    async def story(bench: Bench, checks: MachineChecks) -> None:
        with pytest.raises(AppFailed, match=r"check of web-1 `probe exit1` failed: exit code 1"):
            await checks.pass_on(bench.id("web-1"), "web")
        assert len(_left(bench)) == 1  # its log can still be read

    play(story, "exit1", "exit0")


def test_one_that_passed_is_not_asked_again_after_a_hiccup_of_the_next() -> None:
    async def story(bench: Bench, checks: MachineChecks) -> None:
        with pytest.raises(CallFailed):
            await checks.pass_on(bench.id("web-1"), "web")
        await checks.pass_on(bench.id("web-2"), "web")
        assert [call.name[-1] for call in bench.calls("create")] == ["1", "2", "2"]

    play(story, "exit0", "exit0-again", hits=[Hit("create", BY_NAME["503 before"], nth=1)])


def test_one_whose_creation_was_not_answered_is_found_and_in_the_end_removed() -> None:
    async def story(bench: Bench, checks: MachineChecks) -> None:
        with pytest.raises(CallFailed):
            await checks.pass_on(bench.id("web-1"), "web")
        assert bench.memory.last_unanswered > 0  # so that the run waits for what may land
        (left,) = (one for one in await bench.fleet() if one.group == MACHINE_CHECK)
        assert checks.is_own(left)
        await checks.clean_up(await bench.fleet())
        assert _left(bench) == []

    play(story, "exit0", hits=[Hit("create", BY_NAME["reply lost"])])


@pytest.mark.parametrize("second", ["429", "409 host full", "timed out before"])
def test_one_that_may_be_there_is_named_whatever_becomes_of_later_requests(second: str) -> None:
    async def story(bench: Bench, checks: MachineChecks) -> None:
        for _ in range(2):
            with pytest.raises(CallFailed):
                await checks.pass_on(bench.id("web-1"), "web")
        await checks.clean_up(Fleet())
        (notice,) = bench.of(Noticed)
        assert "may be left: the answer to its creation was lost" in notice.message

    later = Hit("create", BY_NAME[second])
    play(story, "exit0", hits=[Hit("create", BY_NAME["timed out before"]), later])


def test_a_machine_that_has_gone_already_is_not_said_to_be_left() -> None:
    async def story(bench: Bench, checks: MachineChecks) -> None:
        await checks.pass_on(bench.id("web-1"), "web")
        await checks.clean_up(Fleet())
        await anyio.sleep(5)
        await checks.clean_up(Fleet())
        first, *others = [call.heard for call in bench.calls("destroy")]
        assert first == "200"
        assert set(others) == {"404"}  # more than one: a new one may not be known yet
        assert len(others) > 1
        assert bench.of(Noticed) == []

    play(story, "exit0")


def test_a_machine_that_the_platform_does_not_know_yet_is_removed_all_the_same() -> None:
    async def story(bench: Bench, checks: MachineChecks) -> None:
        await checks.pass_on(bench.id("web-1"), "web")
        (made,) = [m for m in bench.world.machines() if m.config.group == MACHINE_CHECK]
        bench.world.platform.hide("sim", made.id, for_s=2.0)
        await checks.clean_up(Fleet())
        assert [call.heard for call in bench.calls("destroy")][-1] == "200"
        assert made.state in ("destroying", "destroyed")

    play(story, "exit0")


def test_a_removal_that_nobody_answers_is_said_in_time() -> None:
    async def story(bench: Bench, checks: MachineChecks) -> None:
        await checks.pass_on(bench.id("web-1"), "web")
        began_s = anyio.current_time()
        await checks.clean_up(Fleet())
        assert anyio.current_time() - began_s < 10
        (notice,) = bench.of(Noticed)
        assert "is left: no answer in 8 s" in notice.message

    play(story, "exit0", hits=[Hit("destroy", BY_NAME["timed out before"])])


def test_a_machine_that_does_not_run_is_not_tried() -> None:
    async def story(bench: Bench, checks: MachineChecks) -> None:
        await checks.pass_on(bench.id("web-2"), "web")
        assert bench.calls("create") == []
        await checks.pass_on(bench.id("web-1"), "web")
        assert len(bench.calls("create")) == 1

    play_cold(story)


def play_cold(story: Story) -> None:
    """The second machine is stopped."""

    async def stopped(bench: Bench, checks: MachineChecks) -> None:
        await bench.tools.client.stop(bench.id("web-2"), nonce="")
        await anyio.sleep(5)
        await story(bench, checks)

    play(stopped, "exit0")


def test_nothing_begins_for_a_run_that_is_halted_while_it_waits_for_its_turn() -> None:
    async def story(bench: Bench, checks: MachineChecks) -> None:
        async def first() -> None:
            with pytest.raises(Cut):
                await checks.pass_on(bench.id("web-1"), "web")

        async def second() -> None:
            with pytest.raises(Cut):
                await checks.pass_on(bench.id("web-2"), "web")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            tasks.start_soon(second)
            await anyio.sleep(5)
            bench.halt.set(NotInTime("over"))
        assert len(bench.calls("create")) == 1

    play(story, "steady")


def test_a_group_without_checks_or_unknown_asks_nothing() -> None:
    async def story(bench: Bench, checks: MachineChecks) -> None:
        await checks.pass_on(bench.id("web-1"), "web")
        await checks.pass_on(bench.id("web-1"), "elsewhere")
        assert bench.world.story.calls == []

    play(story)
