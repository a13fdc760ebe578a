"""Carrying out one action, by hand, and in whole deploys where the platform answers oddly."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import anyio
import pytest

from deploy.errors import CallFailed, DeployError, LeaseLost
from deploy.orchestrator.one_off import RELEASE_COMMAND, remove
from deploy.plan.actions import (
    Action,
    Cordon,
    Create,
    Destroy,
    Start,
    Stop,
    Uncordon,
    Update,
    Wait,
    where,
)
from deploy.plan.steps import Gate
from tests.deploy.orchestrator.bench import Bench, on_bench
from tests.worlds.simulated.faults import BY_NAME, Kind
from tests.worlds.stage import NEW, OLD, Hit, Stage, on_stage, to

LOST = BY_NAME["reply lost"]
STALE = BY_NAME["stale"]
GONE = Kind(name="gone", status=404, body='{"error":"machine not found"}')


# -- each action ------------------------------------------------------------------------


def test_every_kind_of_action_is_carried_out() -> None:
    async def story(bench: Bench) -> None:
        leases = bench.deployment.leases
        fleet = await bench.deployment.lookout.look()
        await leases.acquire(fleet.managed, app=fleet)
        one = await bench.machine("web-1")
        perform = bench.deployment.actions.perform
        await perform(Cordon(**where(one)), Gate.NONE)
        assert (await bench.machine("web-1")).cordoned
        assert bench.memory.cordons == {one.id: True}
        await perform(Uncordon(**where(one), version=one.version), Gate.NONE)
        assert not (await bench.machine("web-1")).cordoned
        await perform(Wait(**where(one), version=one.version), Gate.HEALTHY)
        machine = bench.world.platform.apps["sim"].machines[one.id]
        bench.world.platform.start(machine)
        await perform(Start(**where(one), version=one.version), Gate.STARTED)
        await perform(Destroy(**where(one)), Gate.NONE)
        assert one.id not in (await bench.fleet()).by_id
        assert not leases.holds(one.id)
        assert one.id in bench.memory.destroyed
        with pytest.raises(TypeError, match="no way"):
            await perform(Action(machine_id="m"), Gate.NONE)

    on_bench(story)


def test_a_lease_that_is_lost_while_a_write_waits_for_its_turn_is_not_used() -> None:
    """One action a second is what the platform takes for each machine (2000967, drawn)."""

    async def story(bench: Bench) -> None:
        leases, perform = bench.deployment.leases, bench.deployment.actions.perform
        one = await bench.machine("web-1")
        await leases.acquire([one], app=await bench.deployment.lookout.look())
        await perform(Cordon(**where(one)), Gate.NONE)

        async def lose() -> None:
            await anyio.sleep(0.5)
            leases.forget(one.id)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lose)
            with pytest.raises(LeaseLost):
                await perform(Cordon(**where(one)), Gate.NONE)
        assert len(bench.calls("cordon")) == 1

    on_bench(story)


def test_destroys_without_a_lease_keep_the_platforms_pace_too() -> None:
    """One a second for each machine: one-off machines, and those on a lost host."""

    async def story(bench: Bench) -> None:
        one, other = await bench.machine("web-1"), await bench.machine("web-2")
        unleased = replace(Destroy(**where(one)), is_unleased=True)
        for _ in range(2):
            await remove(bench.tools, RELEASE_COMMAND, other.id)
            with suppress(DeployError):
                await bench.deployment.actions.perform(unleased, Gate.NONE)
        for machine in (one, other):
            sent_s = [c.sent_s for c in bench.calls("destroy") if c.machine == machine.id]
            assert len(sent_s) >= 2
            gaps_s = [round(later - earlier, 9) for earlier, later in pairwise(sent_s)]
            assert min(gaps_s) >= 1.0

    on_bench(story)


def test_what_was_never_made_needs_no_destroying() -> None:
    async def story(bench: Bench) -> None:
        await bench.deployment.actions.perform(Destroy(name="web-9", group="web"), Gate.NONE)
        assert bench.calls("destroy") == []
        assert bench.memory.destroyed == set()

    on_bench(story)


@pytest.mark.parametrize(("fault", "is_gone"), [(GONE, True), (BY_NAME["503 before"], False)])
def test_one_that_is_not_found_is_destroyed_and_one_that_is_not_answered_for_is_not(
    fault: Kind, is_gone: bool
) -> None:
    async def story(bench: Bench) -> None:
        one = await bench.machine("web-1")
        fleet = await bench.deployment.lookout.look()
        await bench.deployment.leases.acquire([one], app=fleet)
        if is_gone:
            await bench.deployment.actions.perform(Destroy(**where(one)), Gate.NONE)
        else:
            with pytest.raises(DeployError):
                await bench.deployment.actions.perform(Destroy(**where(one)), Gate.NONE)
        assert bench.deployment.leases.holds(one.id) is not is_gone
        assert (one.id in bench.memory.known) is not is_gone
        assert one.id in bench.memory.destroyed  # it may have happened

    on_bench(story, hits=[Hit("destroy", fault)])


def test_a_machine_made_in_this_run_is_found_by_its_name() -> None:
    async def story(bench: Bench) -> None:
        config = bench.memory.release.groups[0].config
        said = {**config, "image": NEW, "metadata": {"fly_process_group": "web"}}
        create = Create(name="web-9", group="web", config=said, launch=False)
        await bench.deployment.actions.perform(create, Gate.NONE)
        await bench.deployment.actions.perform(Destroy(name="web-9", group="web"), Gate.NONE)
        assert [machine.name for machine in bench.world.machines() if machine.name == "web-9"] == []
        assert bench.image("web-1") == OLD

    on_bench(story)


@pytest.mark.parametrize("operation", ["cordon", "uncordon", "start", "destroy"])
def test_no_write_leaves_without_the_lease_of_its_machine(operation: str) -> None:
    async def story(bench: Bench) -> None:
        one = await bench.machine("web-1")
        actions: dict[str, Action] = {
            "cordon": Cordon(**where(one)),
            "uncordon": Uncordon(**where(one)),
            "start": Start(**where(one), version=one.version),
            "destroy": Destroy(**where(one)),
        }
        with pytest.raises(LeaseLost, match=f"{one.id} is not leased"):
            await bench.deployment.actions.perform(actions[operation], Gate.NONE)
        assert bench.calls(operation) == []
        assert not bench.memory.has_written

    on_bench(story)


# -- versions ----------------------------------------------------------------------------


def test_an_update_of_a_machine_that_somebody_changed_is_planned_anew() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        other = stage.id("web-2")

        def changed_meanwhile(call: Any) -> bool:
            machine = stage.machine("web-2")
            if call.machine == other and machine.config.image == OLD and not changed:
                changed.append(machine.version)
                version = type(machine.versions[0])
                machine.versions.appendleft(version("01CHANGED", machine.raw, machine.raw))
            return False

        changed: list[str] = []
        told = await stage.deploy(hits=[Hit("update", LOST, on=changed_meanwhile)])
        assert (told.exit_code, stage.images) == (0, [NEW] * 2)
        sent = [json.loads(c.body)["current_version"] for c in told.of("update", other)]
        assert sent == [changed[0], "01CHANGED"]

    on_stage(play)


def test_an_update_with_an_unknown_outcome_is_read_before_anything_is_written_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        hits = [Hit("update", BY_NAME["503 before"], on=to(stage.id("web-1")))]
        told = await stage.deploy(hits=hits)
        first, second = told.of("update", stage.id("web-1"))
        reads = [
            call
            for call in told.calls
            if call.operation in ("read", "list") and first.sent_s < call.sent_s < second.sent_s
        ]
        assert told.exit_code == 0
        assert reads

    on_stage(play)


@pytest.mark.parametrize(
    ("fault", "cached", "is_in_doubt"), [("503 after", 1, True), ("503 before", 0, False)]
)
def test_two_reads_have_to_say_that_an_update_did_not_happen(
    fault: str, cached: int, *, is_in_doubt: bool
) -> None:
    """Else the place of a machine that is out would go to another (110046820, drawn)."""

    async def story(bench: Bench) -> None:
        fleet = await bench.deployment.lookout.look()
        await bench.deployment.leases.acquire(fleet.managed, app=fleet)
        one = await bench.machine("web-1")
        config = {**one.config, "image": NEW}
        update = Update(**where(one), config=config, current_version=one.version, launch=True)
        with pytest.raises(CallFailed):
            await bench.deployment.actions.perform(update, Gate.NONE)
        await bench.deployment.actions.settle(one.id)
        assert (one.id in bench.memory.doubtful) == is_in_doubt
        assert len(bench.calls("read")) == 3

    stale = [Hit("read", STALE, nth=1)] * cached
    on_bench(story, hits=[Hit("update", BY_NAME[fault]), *stale])


# -- what is gone ------------------------------------------------------------------------


def test_a_machine_that_is_gone_already_counts_as_destroyed() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(strategy="canary", hits=[Hit("destroy", LOST)])
        assert (told.exit_code, told.end.leftovers) == (0, ())
        assert stage.images == [NEW] * 2

    on_stage(play)


def test_a_machine_that_vanishes_in_the_middle_is_not_made_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        gone = stage.id("web-3")

        def vanish(call: Any) -> bool:
            machine = stage.world.platform.apps["sim"].machines[gone]
            if call.machine == gone and not machine.is_gone:
                stage.world.platform._lifecycle.destroy(machine)
            return False

        told = await stage.deploy(hits=[Hit("update", GONE, on=vanish)], retries=2)
        assert told.of("create") == []
        assert {machine.image for machine in stage.fleet.values()} == {NEW}
        assert len(stage.fleet) == 2

    on_stage(play)


@pytest.mark.parametrize("operation", ["start", "stop", "cordon", "uncordon"])
def test_what_asks_for_a_state_may_be_asked_twice(operation: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(strategy="bluegreen", hits=[Hit(operation, LOST, times=2)])
        assert (told.exit_code, stage.images, stage.serving) == (0, [NEW] * 2, 2)

    on_stage(play)


@pytest.mark.parametrize("operation", ["start", "stop"])
def test_who_was_stopped_or_started_is_in_doubt_until_seen_to_serve(operation: str) -> None:
    """`started` says nothing of its checks: a green once went before its blue served again."""

    async def story(bench: Bench) -> None:
        fleet = await bench.deployment.lookout.look()
        await bench.deployment.leases.acquire(fleet.managed, app=fleet)
        one = await bench.machine("web-1")
        perform = bench.deployment.actions.perform
        start = Start(**where(one), version=one.version)
        with pytest.raises(CallFailed):
            await perform(start if operation == "start" else Stop(**where(one)), Gate.HEALTHY)
        assert bench.memory.doubtful == {one.id}
        if operation == "stop":  # what it runs takes a while to end
            await bench.tools.client.wait(one.id, state="stopped", version="", timeout_s=30)
        await perform(start, Gate.HEALTHY)
        assert bench.memory.doubtful == set()

    on_bench(story, hits=[Hit(operation, BY_NAME["502 after"])])
