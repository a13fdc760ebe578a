"""Passes until the app is wholly on the release, or wholly as before."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise

import anyio
import msgspec
import pytest

from deploy import retrying
from deploy.api.machine import Fleet
from deploy.api.meaning import call_failed
from deploy.errors import (
    AppFailed,
    DeployError,
    Interrupted,
    LeaseHeld,
    NotInTime,
    Outage,
    Overtaken,
    ShownUndone,
)
from deploy.events import BackingOff, GoingBack, PassStarted
from deploy.local.requests import UpdateMachine
from deploy.orchestrator.deployment import Deployment
from deploy.orchestrator.outcome import Ending, Failure, Outcome
from deploy.orchestrator.passes import Pass
from deploy.plan.intent import BACK
from tests.deploy.orchestrator.bench import ONLY_PASS, Bench, on_bench, release_for
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.world import BROKEN, NEW, OLD, Scenario
from tests.worlds.stage import Hit

HICCUP = call_failed("unavailable", operation="update", status=503)
APP = AppFailed("it exits")
DONE = Outcome(done=1)
NOBODY = Scenario(machines=0)


def failed(error: DeployError) -> Outcome:
    return Outcome(left=1, failures=(Failure(error),))


class Passes:
    """Passes that end as they are told, the last end again and again; keeps which were run."""

    def __init__(self, *ends: Outcome) -> None:
        self._ends = list(ends)
        self.run: list[tuple[int, int]] = []
        self.at_s: list[float] = []

    async def __call__(self, _deployment: Deployment, this: Pass) -> Outcome:
        self.run.append((this.number, this.of))
        self.at_s.append(anyio.current_time())
        return self._ends.pop(0) if len(self._ends) > 1 else self._ends[0]


async def _converge(bench: Bench, passes: Passes, retries: int) -> Outcome:
    chance = random.Random(1)
    return await retrying._converge(
        bench.deployment, passes, retries, chance, retrying.ends_at_once
    )


async def _run(bench: Bench, retries: int = 2, *, rolls_back: bool = True) -> Ending:
    chance = random.Random(1)
    return await retrying.run(
        bench.deployment, retries=retries, rolls_back=rolls_back, chance=chance
    )


# -- one way -----------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 1, 3, 12])
def test_n_means_at_most_n_and_one_passes(retries: int) -> None:
    async def story(bench: Bench) -> None:
        passes = Passes(failed(HICCUP))
        outcome = await _converge(bench, passes, retries)
        assert outcome == failed(HICCUP)
        total = retries + 1
        assert passes.run == [(number, total) for number in range(1, total + 1)]
        told = bench.of(BackingOff)
        assert [event.number for event in told] == list(range(2, total + 1))
        waits = [b - a for a, b in pairwise(passes.at_s)]
        assert waits == pytest.approx([event.delay_s for event in told])
        for number, wait in enumerate(waits):
            assert min(30.0, 2.0**number) / 2 <= wait <= min(30.0, 2.0**number)

    on_bench(story, scenario=NOBODY)


def test_no_pass_follows_one_that_is_complete() -> None:
    async def story(bench: Bench) -> None:
        passes = Passes(failed(HICCUP), DONE)
        assert await _converge(bench, passes, 5) == DONE
        assert len(passes.run) == 2

    on_bench(story, scenario=NOBODY)


def test_what_is_left_without_a_failure_is_worth_another_pass() -> None:
    async def story(bench: Bench) -> None:
        passes = Passes(Outcome(done=1, left=1), DONE)
        assert await _converge(bench, passes, 5) == DONE

    on_bench(story, scenario=NOBODY)


def test_the_wait_is_as_long_as_the_platform_asked_for() -> None:
    async def story(bench: Bench) -> None:
        busy = call_failed("slow", operation="update", status=429, retry_after_s=20.0)
        passes = Passes(failed(busy), DONE)
        await _converge(bench, passes, 3)
        assert passes.at_s[1] - passes.at_s[0] >= 20.0

    on_bench(story, scenario=NOBODY)


@pytest.mark.parametrize(
    "error",
    [APP, LeaseHeld("bob"), Outage("silence"), call_failed("no", operation="update", status=422)],
    ids=lambda error: type(error).__name__,
)
def test_what_no_pass_can_help_ends_it(error: DeployError) -> None:
    async def story(bench: Bench) -> None:
        passes = Passes(Outcome(left=2, failures=(Failure(HICCUP), Failure(error))))
        await _converge(bench, passes, 5)
        assert len(passes.run) == 1

    on_bench(story, scenario=NOBODY)


def test_a_halt_between_two_passes_ends_it_at_once_and_the_last_outcome_stands() -> None:
    async def story(bench: Bench) -> None:
        busy = call_failed("slow", operation="update", status=429, retry_after_s=250.0)
        passes = Passes(failed(busy))

        async def halt() -> None:
            await anyio.sleep(3)
            bench.halt.set(Interrupted("SIGINT"), final=True)

        began_s = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(halt)
            assert await _converge(bench, passes, 5) == failed(busy)
        assert anyio.current_time() - began_s == pytest.approx(3)
        assert len(passes.run) == 1

    on_bench(story, scenario=NOBODY)


@pytest.mark.parametrize(
    ("error", "forward", "back"),
    [(HICCUP, False, False), (APP, True, False), (Outage("silence"), True, True)],
    ids=["hiccup", "app", "outage"],
)
def test_on_the_way_back_a_sick_app_keeps_no_other_machine_from_returning(
    error: DeployError, forward: bool, back: bool
) -> None:
    assert retrying.ends_at_once(error) is forward
    assert retrying.ends_the_way_back(error) is back


# -- there, and back ---------------------------------------------------------------------


def test_a_deploy_that_arrives_goes_nowhere_else() -> None:
    async def story(bench: Bench) -> None:
        ending = await _run(bench)
        assert ending.forward.is_complete
        assert ending.back is None
        assert (bench.image("web-1"), bench.image("web-2")) == (NEW, NEW)
        assert bench.of(GoingBack) == []

    on_bench(story)


def test_a_broken_app_brings_the_machines_back_and_says_why() -> None:
    async def story(bench: Bench) -> None:
        ending = await _run(bench)
        assert isinstance(ending.forward.cause, AppFailed)
        assert ending.back is not None
        assert ending.back.is_complete
        assert (bench.image("web-1"), bench.image("web-2")) == (OLD, OLD)
        (told,) = bench.of(GoingBack)
        assert told.reason == str(ending.forward.cause)
        assert [event.direction for event in bench.of(PassStarted)] == ["forward", "back"]

    on_bench(story, release=release_for(image=BROKEN))


def test_one_that_may_not_roll_back_stays_where_it_failed() -> None:
    async def story(bench: Bench) -> None:
        ending = await _run(bench, rolls_back=False)
        assert ending.back is None
        assert bench.image("web-1") == BROKEN

    on_bench(story, release=release_for(image=BROKEN))


def test_a_run_that_is_to_go_back_makes_no_way_forward() -> None:
    async def story(bench: Bench) -> None:
        bench.memory.began(Fleet.of([await bench.machine("web-1"), await bench.machine("web-2")]))
        bench.memory.goal = BACK
        ending = await _run(bench)
        assert ending.forward.is_complete
        assert ending.back is None
        assert [event.direction for event in bench.of(PassStarted)] == ["back"]

    on_bench(story)


def test_a_deadline_that_passed_is_why_it_goes_back() -> None:
    async def story(bench: Bench) -> None:
        async def halt() -> None:
            while not bench.calls("update"):  # noqa: ASYNC110 - looked at from outside
                await anyio.sleep(0.01)
            bench.halt.set(NotInTime("an hour is over"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(halt)
            ending = await _run(bench)
        assert str(ending.forward.cause) == "an hour is over"
        assert ending.back is not None
        assert ending.back.is_complete
        assert not bench.halt.is_set

    on_bench(story)


def _is_final(bench: Bench) -> None:
    bench.halt.set(Interrupted("SIGINT"), final=True)


def _has_destroyed_an_old_one(bench: Bench) -> None:
    bench.memory.destroying(bench.id("web-1"))


def _has_destroyed_a_new_one(bench: Bench) -> None:
    bench.memory.destroying("m9")


def _has_no_base(bench: Bench) -> None:
    bench.memory.base = None


def _was_empty(bench: Bench) -> None:
    bench.memory.began(Fleet())


@pytest.mark.parametrize(
    ("situation", "cause", "can"),
    [
        (lambda _: None, APP, True),
        (_has_destroyed_a_new_one, APP, True),
        (_is_final, APP, False),
        (_has_destroyed_an_old_one, APP, False),
        (_has_no_base, APP, False),
        (_was_empty, APP, False),
        (lambda _: None, Overtaken("by another"), False),
    ],
    ids=[
        "some old ones are there",
        "one of its own is destroyed",
        "a person wants out",
        "an old one is destroyed",
        "it did not look under leases",
        "a first deploy",
        "another deploy went over it",
    ],
)
def test_what_there_is_to_go_back_to(
    situation: Callable[[Bench], None], cause: DeployError, can: bool
) -> None:
    async def story(bench: Bench) -> None:
        bench.memory.began(await bench.fleet())
        situation(bench)
        assert retrying.can_go_back(bench.deployment, failed(cause)) is can

    on_bench(story)


# -- a pass is confirmed -----------------------------------------------------------------


def test_a_pass_is_complete_only_when_a_last_look_plans_nothing() -> None:
    async def story(bench: Bench) -> None:
        assert (await retrying.confirmed_forward(bench.deployment, ONLY_PASS)).is_complete
        after = [call for call in bench.calls("list") if call.sent_s > _last_update_s(bench)]
        assert after

    on_bench(story, release=release_for(strategy="immediate"))


def test_what_is_shown_undone_is_a_hiccup_that_names_the_machine() -> None:
    undone: list[str] = []

    async def story(bench: Bench) -> None:
        def undo(_: object) -> bool:
            machine = bench.world.platform.apps["sim"].machines[bench.id("web-1")]
            if bench.image("web-2") == NEW and machine.state == "started" and not undone:
                undone.append(machine.id)
                old = {"config": {**machine.raw, "image": OLD}}
                request = msgspec.convert(old, UpdateMachine)
                bench.world.platform.update(machine, request, owner="somebody")
            return False

        hits.append(Hit("list", BY_NAME["503 before"], on=undo))
        outcome = await retrying.confirmed_forward(bench.deployment, ONLY_PASS)
        assert isinstance(outcome.cause, ShownUndone)
        assert outcome.cause.machine_id == undone[0]
        assert outcome.cause.meaning.is_hiccup
        assert (outcome.done, outcome.left) == (2, 1)

    hits: list[Hit] = []
    on_bench(story, hits=hits)


def test_a_look_that_fails_does_not_take_back_what_was_seen() -> None:
    async def story(bench: Bench) -> None:
        def after_the_updates(_: object) -> bool:
            return bench.image("web-1") == bench.image("web-2") == NEW

        hits.append(Hit("list", BY_NAME["503 before"], times=999, on=after_the_updates))
        outcome = await retrying.confirmed_forward(bench.deployment, ONLY_PASS)
        assert outcome.is_complete

    hits: list[Hit] = []
    on_bench(story, release=release_for(strategy="immediate"), hits=hits)


def test_a_pass_that_did_nothing_is_not_looked_at_again() -> None:
    async def story(bench: Bench) -> None:
        await retrying.confirmed_forward(bench.deployment, ONLY_PASS)
        lists = len(bench.calls("list"))
        assert (await retrying.confirmed_forward(bench.deployment, ONLY_PASS)).done == 0
        seen: Sequence[object] = bench.calls("list")[lists:]
        assert len(seen) == 2  # before the leases and under them

    on_bench(story)


def _last_update_s(bench: Bench) -> float:
    return max(call.sent_s for call in bench.calls("update"))
