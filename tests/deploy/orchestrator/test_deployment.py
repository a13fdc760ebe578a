"""A run under way: what is left for it to do, and to undo."""

from __future__ import annotations

from dataclasses import replace

from deploy.api.machine import Fleet
from deploy.plan.actions import Update, Wait
from deploy.plan.base import Base
from deploy.plan.intent import BACK
from tests.deploy.orchestrator.bench import Bench, on_bench
from tests.deploy.orchestrator.test_memory import ids, taken_up


def test_what_is_left_is_planned_from_what_is_remembered() -> None:
    async def story(bench: Bench) -> None:
        fleet = await bench.fleet()
        parts = bench.deployment
        assert [type(action) for action in parts.left(fleet)] == [Update, Update]
        updated = await _updated(bench, fleet)
        bench.memory.settled(bench.id("web-1"))
        assert [type(action) for action in parts.left(updated)] == [Update]
        bench.memory.updating(bench.id("web-1"))
        assert {type(action) for action in parts.left(updated)} == {Update, Wait}

    on_bench(story)


def test_who_does_not_wait_for_health_has_nothing_to_wait_for() -> None:
    async def story(bench: Bench) -> None:
        updated = await _updated(bench, await bench.fleet())
        bench.memory.updating(bench.id("web-1"))
        assert {type(action) for action in bench.deployment.left(updated)} == {Update}

    on_bench(story, waits_for_health=False)


def test_what_is_left_to_undo_is_only_what_may_have_been_written() -> None:
    async def story(bench: Bench) -> None:
        fleet = await bench.fleet()
        bench.memory.began(fleet)
        assert bench.deployment.left_back(fleet) == ()
        updated = await _updated(bench, fleet)
        (undo,) = bench.deployment.left_back(updated)
        assert isinstance(undo, Update)
        assert undo.machine_id == bench.id("web-1")
        assert undo.restores
        bench.memory.written.clear()
        assert bench.deployment.left_back(updated) == ()

    on_bench(story)


def test_what_another_run_left_is_taken_up_by_memory_and_marks() -> None:
    async def story(bench: Bench) -> None:
        fleet = await bench.fleet()
        first = bench.id("web-1")
        found = taken_up(base=Base.of(fleet), goal=BACK, written=ids(first), marked=ids(first))
        bench.deployment.take_up(found, 7.0)
        assert bench.memory.goal == BACK
        assert bench.memory.written == {first}
        assert bench.deployment.marks._carried == {first}

    on_bench(story)


async def _updated(bench: Bench, fleet: Fleet) -> Fleet:
    """The fleet as it is when web-1 has been updated."""
    await bench.deployment.leases.acquire([fleet.by_id[bench.id("web-1")]], app=fleet)
    (update,) = (
        action
        for action in bench.deployment.left(fleet)
        if action.machine_id == bench.id("web-1") and isinstance(action, Update)
    )
    machine = await bench.tools.client.update(
        update.machine_id,
        config=update.config,
        current_version=update.current_version,
        launch=True,
        nonce=bench.deployment.leases.nonce(update.machine_id),
    )
    bench.memory.wrote(machine)
    running = replace(machine, state="started", checks=fleet.by_id[machine.id].checks)
    return Fleet.of([running, *(each for each in fleet if each.id != machine.id)])
