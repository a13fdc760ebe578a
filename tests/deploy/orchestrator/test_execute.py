"""Running a schedule: which action may begin, and what is known when all have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import anyio
import pytest

from deploy.api.machine import Fleet
from deploy.api.meaning import call_failed
from deploy.errors import AppFailed, DeployError, NotInTime
from deploy.events import HiccupMet, MachineMoved, Phase
from deploy.orchestrator.execute import Executor, tell_hiccup
from deploy.orchestrator.outcome import Failure, Outcome
from deploy.orchestrator.watch import Watch
from deploy.orchestrator.window import Window, windows
from deploy.plan.actions import Action, Cordon, Wait, Where
from deploy.plan.steps import Gate, Schedule, Step, Track, step
from tests.contract.clocks import BACKENDS
from tests.deploy.orchestrator.bench import Bench, on_bench
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.transport import Call
from tests.worlds.simulated.world import Scenario
from tests.worlds.stage import Hit

SIX = Scenario(machines=6)
REFUSED = BY_NAME["412"]  # a hiccup whose outcome is known


def never(_: DeployError) -> bool:
    return False


async def execute(
    bench: Bench,
    order: Schedule,
    *,
    is_decisive: Callable[[DeployError], bool] = never,
    at_once: int = 64,
    limit: int = 99,
    is_watched: bool = False,
) -> Outcome:
    """Run the order under leases; windows of `limit` places. Who is `healthy` at first may be
    watched."""
    fleet = await bench.deployment.lookout.look()
    await bench.deployment.leases.acquire(fleet.managed, app=fleet)
    bench.memory.began(fleet)
    places = {
        name: Window(limit, window.counted) for name, window in windows(bench.memory, fleet).items()
    }
    executor = Executor(
        bench.tools,
        bench.memory,
        bench.deployment.actions,
        places,
        is_decisive,
        max_concurrent=at_once,
        watch=_watch(bench, fleet) if is_watched else None,
    )
    return await executor.run(order)


def _watch(bench: Bench, fleet: Fleet) -> Watch:
    watch = bench.deployment.watch
    for one in fleet.managed:
        watch.add(one)
    return watch


def cordons(bench: Bench, *slots: int) -> list[Action]:
    return [Cordon(**_at(bench, f"web-{slot}")) for slot in slots]


def _at(bench: Bench, name: str) -> Where:
    return {"machine_id": bench.id(name), "name": name, "group": "web"}


def of(*steps: Step, group: str = "web") -> Track:
    return Track(group, steps)


def asked(bench: Bench, *operations: str) -> list[str]:
    """The names of machines that were written to, in order."""
    by_id = {machine.id: machine.name for machine in bench.world.machines()}
    return [by_id.get(call.machine, call.name) for call in bench.calls(*operations)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_that_is_done_is_counted_and_nothing_is_left(backend: str) -> None:
    async def story(bench: Bench) -> None:
        outcome = await execute(bench, ((of(step(cordons(bench, 1, 2, 3), Gate.NONE)),),))
        assert outcome == Outcome(done=3)
        assert sorted(asked(bench, "cordon")) == ["web-1", "web-2", "web-3"]

    on_bench(story, scenario=SIX, backend=backend)


def test_a_stage_begins_only_when_all_of_the_one_before_is_done() -> None:
    async def story(bench: Bench) -> None:
        first = of(step(cordons(bench, 1, 2), Gate.NONE, required=False))
        outcome = await execute(bench, ((first,), (of(step(cordons(bench, 3), Gate.NONE)),)))
        assert (outcome.done, outcome.left, len(outcome.failures)) == (1, 2, 1)
        assert "web-3" not in asked(bench, "cordon")

    on_bench(story, scenario=SIX, hits=[Hit("cordon", REFUSED)])


@pytest.mark.parametrize(("required", "begins"), [(True, False), (False, True)])
def test_what_a_step_requires_is_done_before_the_next_begins(required: bool, begins: bool) -> None:
    async def story(bench: Bench) -> None:
        first = step(cordons(bench, 1, 2), Gate.NONE, required=required)
        await execute(bench, ((of(first, step(cordons(bench, 3), Gate.NONE)),),))
        assert ("web-3" in asked(bench, "cordon")) is begins

    on_bench(story, scenario=SIX, hits=[Hit("cordon", REFUSED)])


def test_tracks_go_side_by_side_and_one_that_fails_does_not_stop_another() -> None:
    async def story(bench: Bench) -> None:
        failing = of(step(cordons(bench, 1), Gate.NONE), step(cordons(bench, 2), Gate.NONE))
        other = of(step(cordons(bench, 3), Gate.NONE), step(cordons(bench, 4), Gate.NONE))
        outcome = await execute(bench, ((failing, other),))
        assert (outcome.done, outcome.left) == (2, 2)
        second = {"web-2", "web-4"} & set(asked(bench, "cordon"))
        assert len(second) == 1  # of the track that did not fail, whichever went first

    on_bench(story, scenario=SIX, hits=[Hit("cordon", REFUSED)])


def test_one_goes_alone_until_one_has_succeeded() -> None:
    async def story(bench: Bench) -> None:
        everyone = step(cordons(bench, 1, 2, 3, 4), Gate.NONE, first_alone=True)
        await execute(bench, ((of(everyone),),))
        first, second, *rest = bench.calls("cordon")
        assert first.heard_s is not None
        assert second.heard_s is not None
        assert first.heard_s <= second.sent_s  # it failed: the next one goes alone, too
        assert all(call.sent_s >= second.heard_s for call in rest)
        assert rest[0].sent_s == rest[1].sent_s

    on_bench(story, scenario=SIX, hits=[Hit("cordon", REFUSED)])


def test_no_more_go_at_once_than_are_allowed() -> None:
    async def story(bench: Bench) -> None:
        await execute(bench, ((of(step(cordons(bench, 1, 2, 3, 4, 5), Gate.NONE)),),), at_once=2)
        assert _most_at_once(bench.calls("cordon")) == 2

    on_bench(story, scenario=SIX)


def test_what_is_counted_takes_a_place_and_a_place_that_frees_is_taken_at_once() -> None:
    async def story(bench: Bench) -> None:
        counted = step(cordons(bench, 1, 2, 3, 4, 5), Gate.NONE, counted=True)
        assert (await execute(bench, ((of(counted),),), limit=2)).done == 5
        assert _most_at_once(bench.calls("cordon")) == 2

    on_bench(story, scenario=SIX)


def _most_at_once(calls: Iterable[Call]) -> int:
    spans = [(call.sent_s, call.heard_s or 0.0) for call in calls]
    return max(sum(1 for a, b in spans if a <= at < b) for at, _ in spans)


def test_a_machine_that_nobody_settled_keeps_its_place() -> None:
    async def story(bench: Bench) -> None:
        bench.memory.updating(bench.id("web-1"))  # an update that may land at any time
        counted = step(cordons(bench, 1, 2, 3), Gate.NONE, counted=True, required=False)
        outcome = await execute(bench, ((of(counted),),), limit=1)
        assert asked(bench, "cordon") == ["web-1"]
        assert (outcome.done, outcome.left, len(outcome.failures)) == (0, 3, 1)

    on_bench(story, scenario=SIX, hits=[Hit("cordon", REFUSED)])


@pytest.mark.parametrize("decides", [True, False])
def test_a_decisive_failure_begins_nothing_new_and_another_does_not_stop_the_rest(
    decides: bool,
) -> None:
    async def story(bench: Bench) -> None:
        counted = step(cordons(bench, 1, 2, 3), Gate.NONE, counted=True, required=False)
        outcome = await execute(bench, ((of(counted),),), limit=1, is_decisive=lambda _: decides)
        assert (outcome.done, bench.halt.is_set) == ((0, True) if decides else (2, False))
        assert len(asked(bench, "cordon")) == (1 if decides else 3)
        if decides:
            assert bench.halt.reason is outcome.cause

    on_bench(story, scenario=SIX, hits=[Hit("cordon", REFUSED)])


SICK_AT_63 = Scenario(machines=3, old="registry.test/hello:late63")  # s; a bench begins at 60


@pytest.mark.parametrize("guarded", [True, False])
def test_before_a_step_that_takes_away_what_is_old_a_look_has_to_show_all_that_is_new_well(
    guarded: bool,
) -> None:
    async def story(bench: Bench) -> None:
        await anyio.sleep(5)  # all three are sick now, and were healthy
        order = ((of(step(cordons(bench, 1), Gate.NONE, guarded=guarded)),),)
        outcome = await execute(bench, order, is_watched=True)
        assert asked(bench, "cordon") == ([] if guarded else ["web-1"])
        if guarded:
            assert isinstance(outcome.cause, AppFailed)
            assert "was healthy and is not any more, and 2 more" in str(outcome.cause)

    on_bench(story, scenario=SICK_AT_63)


def test_a_guarded_step_is_taken_where_all_are_well() -> None:
    async def story(bench: Bench) -> None:
        order = ((of(step(cordons(bench, 1), Gate.NONE, guarded=True)),),)
        outcome = await execute(bench, order, is_watched=True)
        assert outcome == Outcome(done=1)

    on_bench(story, scenario=SIX)


@pytest.mark.parametrize(("limit", "fails"), [(1, True), (2, True), (3, False)])
def test_who_turns_sick_counts_against_the_window_and_ends_the_pass_beyond_it(
    limit: int, fails: bool
) -> None:
    """Of three that were done all turn sick, while another group takes its time."""

    async def story(bench: Bench) -> None:
        version = (await bench.machine("worker-1")).version
        slow = Wait(machine_id=bench.id("worker-1"), group="worker", version=version)
        outcome = await execute(
            bench,
            ((of(step([slow], Gate.HEALTHY), group="worker"),),),
            limit=limit,
            is_decisive=lambda error: isinstance(error, AppFailed),
            is_watched=True,
        )
        assert isinstance(outcome.cause, AppFailed) is fails
        assert bench.halt.is_set is fails

    on_bench(story, scenario=replace(SICK_AT_63, groups=2), smoke_s=15.0)


def test_after_a_halt_what_waits_for_a_place_does_not_begin() -> None:
    async def story(bench: Bench) -> None:
        async def halt() -> None:
            while not bench.calls("cordon"):  # noqa: ASYNC110 - looked at from outside
                await anyio.sleep(0.0005)
            bench.halt.set(NotInTime("over"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(halt)
            order = ((of(step(cordons(bench, 1, 2, 3), Gate.NONE)),),)
            outcome = await execute(bench, order, at_once=1)
        assert outcome == Outcome(done=1, left=2)  # a write under way is never cut

    on_bench(story, scenario=SIX)


def test_a_wait_that_is_cut_is_no_failure_and_not_done() -> None:
    async def story(bench: Bench) -> None:
        async def halt() -> None:
            await anyio.sleep(5)
            bench.halt.set(NotInTime("over"))

        wait = Wait(**_at(bench, "web-1"), version="01NEVER")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(halt)
            outcome = await execute(bench, ((of(step([wait], Gate.HEALTHY)),),))
        assert outcome == Outcome(left=1)
        assert [e.detail for e in bench.of(MachineMoved)][-1] == "not waited for"

    on_bench(story, hits=[Hit("wait", BY_NAME["timed out before"], times=99)])


@pytest.mark.parametrize(
    ("fault", "phase", "hiccups"),
    [("412", Phase.WAITING, 1), ("503 before", Phase.WAITING, 1), ("409 leased", Phase.FAILED, 0)],
)
def test_a_failure_is_shown_and_a_hiccup_is_told_with_whether_it_is_known_what_happened(
    fault: str, phase: Phase, hiccups: int
) -> None:
    async def story(bench: Bench) -> None:
        await execute(bench, ((of(step(cordons(bench, 1), Gate.NONE)),),))
        assert bench.of(MachineMoved)[-1].phase is phase
        told = bench.of(HiccupMet)
        assert len(told) == hiccups
        if told:
            assert (told[0].operation, told[0].name, told[0].number) == ("cordon", "web-1", 1)
            assert told[0].outcome_known is (fault == "412")

    on_bench(story, scenario=SIX, hits=[Hit("cordon", BY_NAME[fault])])


def test_only_a_hiccup_is_told_and_one_without_an_action_as_a_look() -> None:
    async def story(bench: Bench) -> None:
        tell_hiccup(bench.tools, bench.memory, Failure(AppFailed("it exits")))
        assert bench.of(HiccupMet) == []
        error = call_failed("busy", operation="", status=429)
        tell_hiccup(bench.tools, bench.memory, Failure(error))
        tell_hiccup(bench.tools, bench.memory, Failure(NotInTime("late", machine_id="m1")))
        told = [(e.operation, e.machine_id, e.number) for e in bench.of(HiccupMet)]
        assert told == [("look", "", 1), ("wait", "m1", 2)]

    on_bench(story, scenario=Scenario(machines=0))


def test_a_machine_that_was_out_before_stays_out_after_a_failure() -> None:
    async def story(bench: Bench) -> None:
        fleet = await bench.deployment.lookout.look()
        await bench.deployment.leases.acquire(fleet.managed, app=fleet)
        bench.memory.began(fleet)
        window = Window(1, frozenset(m.id for m in fleet.managed), {bench.id("web-1")})
        executor = Executor(
            *(bench.tools, bench.memory, bench.deployment.actions, {"web": window}, never),
            max_concurrent=9,
        )
        counted = step(cordons(bench, 1, 2), Gate.NONE, counted=True, required=False)
        await executor.run(((of(counted),),))
        assert asked(bench, "cordon") == ["web-1"]
        assert window.out == {bench.id("web-1")}

    on_bench(story, scenario=SIX, hits=[Hit("cordon", REFUSED)])
