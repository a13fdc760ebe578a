"""Who was healthy and is not any more: as a table, and off the simulated platform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import anyio
import pytest

from deploy.api.machine import Check, Exit, Fleet, Machine
from deploy.errors import AppFailed, Meaning
from deploy.local.runtime import CheckStatus
from deploy.orchestrator.shared_list import SharedList
from deploy.orchestrator.watch import RELAPSE_S, Watch, relapse
from tests.deploy.orchestrator.bench import Bench, on_bench
from tests.worlds.fleets import group, machine
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.world import APP
from tests.worlds.stage import Hit

CRITICAL = (Check("http", "critical", "HTTP 503"),)
HEALTHY = machine(exits=(Exit(1, at_ms=5),))  # of the time before it was seen to be healthy
JOB = machine("m2", group("worker", services=[], restart={"policy": "no"}))
ROWS: Sequence[tuple[str, Machine, Machine | None, bool]] = [
    ("as it was", HEALTHY, HEALTHY, False),
    ("a check turns critical", HEALTHY, replace(HEALTHY, checks=CRITICAL), True),
    ("its checks have no result any more", HEALTHY, replace(HEALTHY, checks=()), True),
    ("it is stopped", HEALTHY, replace(HEALTHY, state="stopped"), True),
    ("it failed to start again", HEALTHY, replace(HEALTHY, state="failed"), True),
    ("it crashed, and runs again", HEALTHY, replace(HEALTHY, exits=(Exit(3, at_ms=9),)), True),
    ("it ended with 0 where it is to serve", HEALTHY, replace(HEALTHY, exits=(Exit(0, 9),)), True),
    (
        "it was restarted by request",
        HEALTHY,
        replace(HEALTHY, exits=(Exit(0, 9, requested=True),)),
        False,
    ),
    (
        "it fell asleep",
        HEALTHY,
        replace(
            HEALTHY,
            state="stopped",
            exits=(Exit(0, 9, requested=True),),
            config={**HEALTHY.config, "services": [{"autostop": "stop"}]},
        ),
        False,
    ),
    ("it did its work and ended", JOB, replace(JOB, state="stopped", exits=(Exit(0, 9),)), False),
    ("it crashed at its work", JOB, replace(JOB, exits=(Exit(1, 9),)), True),
    ("another version", HEALTHY, replace(HEALTHY, version="v9", checks=CRITICAL), False),
    (
        "its host is lost",
        HEALTHY,
        replace(HEALTHY, host_status="unreachable", checks=CRITICAL),
        False,
    ),
    ("it is not listed", HEALTHY, None, False),
]


@pytest.mark.parametrize(
    ("what", "before", "now", "is_sick"), ROWS, ids=lambda each: str(each)[:40]
)
def test_a_machine_has_turned_sick(
    what: str, before: Machine, now: Machine | None, is_sick: bool
) -> None:
    async def story(bench: Bench) -> None:
        watch = Watch(SharedList(bench.tools))
        watch.add(before)
        found = watch.sick(Fleet.of([now] if now else []))
        assert bool(found) is is_sick, what

    on_bench(story)


def test_who_was_never_healthy_is_not_watched_and_who_is_changed_by_us_is_forgotten() -> None:
    async def story(bench: Bench) -> None:
        watch = Watch(SharedList(bench.tools))
        sick = Fleet.of([replace(HEALTHY, checks=CRITICAL)])
        assert not watch
        assert watch.sick(sick) == []
        watch.add(HEALTHY)
        assert watch.ids == {HEALTHY.id}
        assert watch.sick(sick) != []
        watch.forget(HEALTHY.id)
        assert watch.sick(sick) == []

    on_bench(story)


async def _watching(bench: Bench) -> Watch:
    """The machines of the bench, seen to be healthy."""
    watch = Watch(SharedList(bench.tools))
    for one in (await bench.fleet()).managed:
        watch.add(one)
    return watch


def _turn(bench: Bench, name: str, status: CheckStatus) -> None:
    """The checks of a machine have this result from now on."""
    for result in bench.world.platform.apps[APP].machines[bench.id(name)].checks.values():
        result.status = status


def test_one_look_decides_while_all_are_well_and_who_stays_sick_is_believed_after_3_s() -> None:
    async def story(bench: Bench) -> None:
        watch = await _watching(bench)
        began_s = anyio.current_time()
        await watch.confirm()
        assert len(bench.calls("list")) == 2  # one of them is the test's
        assert anyio.current_time() - began_s < 1.0
        _turn(bench, "web-1", "critical")
        with pytest.raises(AppFailed, match="machine web-1 was healthy and is not any more"):
            await watch.confirm()
        assert anyio.current_time() - began_s >= RELAPSE_S

    on_bench(story)


def test_a_look_just_taken_decides_as_well_where_it_shows_all_to_be_well() -> None:
    async def story(bench: Bench) -> None:
        watch = await _watching(bench)
        fleet = await bench.fleet()
        lists = len(bench.calls("list"))
        await watch.confirm(fleet)
        assert len(bench.calls("list")) == lists
        _turn(bench, "web-1", "critical")
        with pytest.raises(AppFailed, match="machine web-1 was healthy and is not any more"):
            await watch.confirm(await bench.fleet())

    on_bench(story)


def test_a_stumble_that_is_over_within_3_s_is_forgiven() -> None:
    async def story(bench: Bench) -> None:
        watch = await _watching(bench)
        _turn(bench, "web-1", "critical")

        async def recover() -> None:
            await anyio.sleep(RELAPSE_S / 2)
            _turn(bench, "web-1", "passing")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recover)
            await watch.confirm()

    on_bench(story)


def test_a_list_that_lags_behind_is_not_believed_before_the_machine_was_read() -> None:
    async def story(bench: Bench) -> None:
        (one, _) = (await bench.fleet()).managed
        watch = await _watching(bench)
        old = Fleet.of([replace(one, checks=CRITICAL)])
        assert watch.sick(old) != []
        assert watch.sick(await watch.read_again(old)) == []

    on_bench(story)


@pytest.mark.parametrize("fault", ["timed out before", "404"])
@pytest.mark.parametrize("is_sick", [False, True])
def test_where_no_read_settles_it_a_newer_list_decides(is_sick: bool, fault: str) -> None:
    async def story(bench: Bench) -> None:
        (one, _) = (await bench.fleet()).managed
        watch = await _watching(bench)
        if is_sick:
            _turn(bench, one.name, "critical")
        old = Fleet.of([replace(one, checks=CRITICAL)])
        found = watch.sick(await watch.read_again(old))
        assert [each.id for each in found] == ([one.id] if is_sick else [])

    on_bench(story, hits=[Hit("read", BY_NAME[fault], times=99)])


def test_where_no_list_of_now_is_to_be_had_the_one_of_before_decides() -> None:
    async def story(bench: Bench) -> None:
        (one, _) = (await bench.fleet()).managed
        watch = await _watching(bench)
        old = Fleet.of([replace(one, checks=CRITICAL)])
        assert [each.id for each in watch.sick(await watch.read_again(old))] == [one.id]

    silent = BY_NAME["timed out before"]
    on_bench(story, hits=[Hit("read", silent, times=99), Hit("list", silent, times=99, nth=2)])


def test_a_look_that_takes_long_is_no_relapse_by_itself() -> None:
    async def story(bench: Bench) -> None:
        (one, _) = (await bench.fleet()).managed
        watch = await _watching(bench)
        _turn(bench, one.name, "critical")

        async def recover() -> None:
            await anyio.sleep(31)  # while the first read of it has no answer for 30 s
            _turn(bench, one.name, "passing")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recover)
            await watch.confirm(await bench.fleet())

    on_bench(story, hits=[Hit("read", BY_NAME["timed out before"], times=1)])


def test_a_relapse_is_the_apps_failure_and_names_the_first_and_how_many_more() -> None:
    sick = [replace(machine(f"m{n}"), checks=CRITICAL) for n in (1, 2, 3)]
    error = relapse(sick)
    assert error.meaning is Meaning.APP
    assert error.machine_id == "m1"
    said = "machine web-1 was healthy and is not any more, and 2 more: check http is critical"
    assert str(error) == f"{said}: HTTP 503"
    restarted = replace(machine("m1"), exits=(Exit(3, at_ms=9),))
    assert str(relapse([restarted])).endswith("not any more: it was restarted")
