"""One run from its first event to its last: the composition root, as a whole."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from deploy.api.client import connect
from deploy.api.machine import Fleet
from deploy.events import Event, GoingBack, Noticed, PassStarted, Planned, Result, RunFinished
from deploy.orchestrator.release_command import ReleaseCommand
from deploy.plan.base import Base
from deploy.plan.planners import towards_nothing, towards_release
from deploy.plan.release import Release
from deploy.plan.stamps import INTENT
from deploy.retries import asked_for
from deploy.run import App, Settings, Task, run
from tests.contract.clocks import BACKENDS, run_on
from tests.deploy.orchestrator.bench import release_for
from tests.deploy.orchestrator.test_memory import taken_up
from tests.worlds.simulated.faults import BY_NAME, Answer, Kind
from tests.worlds.simulated.world import ADDRESS, APP, BROKEN, NEW, OLD, Scenario, World
from tests.worlds.stage import Hit, Hits

SLOW = "registry.test/hello:slow"
SILENT = Kind(name="silent", answer=Answer.SILENCE)


@dataclass
class Played:
    """What a run said, and the world that it leaves behind."""

    world: World
    events: list[Event] = field(default_factory=list)
    finished: RunFinished | None = None

    @property
    def end(self) -> RunFinished:
        assert self.finished is not None
        return self.finished

    @property
    def images(self) -> list[str]:
        return sorted(m.image for m in self.world.snapshot().values() if m.group == "web")

    @property
    def marks(self) -> int:
        metadata = (m.config["metadata"] for m in self.world.snapshot().values() if m.group)
        return sum(1 for each in metadata if each.get(INTENT))

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def played(
    check: Callable[[Played], None],
    *,
    release: Release | None = None,
    beside: Callable[[Played], Coroutine[Any, Any, None]] | None = None,
    hits: Sequence[Hit] = (),
    machines: int = 2,
    retries: int = 1,
    task: Mapping[str, Any] | None = None,
    app: App | None = None,
    backend: str = "trio",
    **settings: Any,
) -> None:
    """Run once, `beside` at its side, and look at the world at the moment it ends."""
    said = {"wait_timeout_s": 30.0, "smoke_s": 2.0, "handles_signals": False, **settings}
    chosen = Settings(**said)
    world = World(Scenario(machines=machines))
    aim = {"planner": towards_release(chosen.selection), **(task or {})}

    async def main() -> None:
        async with world:
            told = Played(world)
            transport = world.transport("run1", Hits(hits))
            async with (
                connect(ADDRESS, "local", APP, transport=transport) as client,
                anyio.create_task_group() as tasks,
            ):
                if beside is not None:
                    tasks.start_soon(beside, told)
                told.finished = await run(
                    client,
                    Task(release=release or release_for(), **aim),
                    asked_for(retries),
                    chosen,
                    run_id="run1",
                    chance=random.Random(1),
                    emit=told.events.append,
                    app=app,
                )
                tasks.cancel_scope.cancel()
            assert not [m for m in world.snapshot().values() if m.lease]
            assert told.events[-1] == told.finished
            check(told)

    run_on(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_deploy_ends_with_one_last_event_no_leases_and_no_marks(backend: str) -> None:
    def check(told: Played) -> None:
        assert (told.end.result, told.end.exit_code) == (Result.DONE, 0)
        assert told.images == [NEW, NEW]
        assert told.marks == 0
        assert len(told.of(RunFinished)) == 1
        assert [event.number for event in told.of(PassStarted)] == [1]
        assert len(told.of(Planned)) == 1

    played(check, backend=backend)


def test_a_broken_release_ends_as_before_with_no_marks() -> None:
    def check(told: Played) -> None:
        assert (told.end.result, told.end.exit_code) == (Result.ROLLED_BACK, 1)
        assert told.images == [OLD, OLD]
        assert told.marks == 0

    played(check, release=release_for(image=BROKEN))


def test_one_that_is_left_in_between_keeps_its_marks_for_whoever_finishes_it() -> None:
    def check(told: Played) -> None:
        assert (told.end.result, told.end.exit_code) == (Result.IN_BETWEEN, 3)
        assert told.marks == 1

    played(check, release=release_for(image=BROKEN), rolls_back=False)


def test_a_deadline_turns_the_run_round_and_does_not_cut_the_way_back() -> None:
    def check(told: Played) -> None:
        assert (told.end.result, told.end.exit_code) == (Result.ROLLED_BACK, 1)
        assert "deadline of 8 s" in told.end.message
        assert told.images == [OLD, OLD]
        assert len(told.of(GoingBack)) == 1

    played(check, release=release_for(image=SLOW), deadline_s=8.0, wait_timeout_s=300.0)


def test_a_deadline_that_passes_on_the_way_back_changes_nothing() -> None:
    def check(told: Played) -> None:
        assert (told.end.result, told.end.exit_code) == (Result.ROLLED_BACK, 1)
        assert told.images == [OLD, OLD]
        ((back_s, _),) = [(c.sent_s, c) for c in told.world.story.calls if c.fault]
        assert back_s < 60.0 + 45.0 < back_s + 30.0  # the world's first minute is its own

    # The first update is forward; nobody answers the second, which is on the way back.
    hits = [Hit("update", BY_NAME["timed out before"], nth=1)]
    played(check, release=release_for(image=BROKEN), hits=hits, deadline_s=45.0)


def test_without_waiting_for_health_a_slow_app_is_done_at_once() -> None:
    def check(told: Played) -> None:
        assert (told.end.result, told.end.exit_code) == (Result.DONE, 0)
        assert told.world.snapshot()
        assert not [call for call in told.world.story.calls if call.operation == "wait"]

    played(check, release=release_for(image=SLOW), waits_for_health=False)


def test_a_last_look_that_fails_is_said_and_the_run_is_judged_without() -> None:
    def check(told: Played) -> None:
        assert told.end.exit_code == 0
        assert {one.state for one in told.end.machines} == {"unknown"}
        notices = [event.message for event in told.of(Noticed)]
        assert any("the last look at the app failed" in message for message in notices)

    def is_over(_: object) -> bool:
        return len(updates) >= 2

    updates: list[object] = []

    def count(call: Any) -> bool:
        updates.append(call)
        return False

    hits = [
        Hit("update", BY_NAME["429"], on=count),
        Hit("list", BY_NAME["503 before"], times=9999, on=is_over),
    ]
    played(check, hits=hits, release=release_for(strategy="immediate"), wait_timeout_s=10.0)


def test_a_release_command_runs_before_and_its_machine_goes_after() -> None:
    def check(told: Played) -> None:
        created = [c for c in told.world.story.calls if c.operation == "create"]
        first_update = next(c for c in told.world.story.calls if c.operation == "update")
        assert [call.name for call in created] == ["release-command-bench1"]
        assert created[0].sent_s < first_update.sent_s
        assert {m.name for m in told.world.snapshot().values() if m.group} == {
            *("web-1", "web-2", "console")
        }

    release = release_for(image="registry.test/hello:exit0", strategy="immediate")
    played(check, release=release, release_command=ReleaseCommand(command="migrate"))


def test_an_app_that_is_not_there_is_created() -> None:
    def check(told: Played) -> None:
        assert told.end.exit_code == 0
        created = [c for c in told.world.story.calls if c.operation == "create app"]
        assert [call.json["org_slug"] for call in created] == ["personal"]

    played(check, machines=0, app=App(exists=False, organization="personal"))


# -- a deploy that another run began -----------------------------------------------------


def test_what_a_dead_run_has_left_is_read_again_under_leases() -> None:
    asked: list[int] = []
    empty: frozenset[str] = frozenset()

    async def take_up(_tools: Any, fleet: Any) -> Any:
        asked.append(len(fleet.managed))
        return taken_up(base=Base.of(fleet.managed), goal="back", written=empty)

    def check(told: Played) -> None:
        assert asked == [2]
        assert (told.end.result, told.end.exit_code) == (Result.UNCHANGED, 0)
        assert [event.direction for event in told.of(PassStarted)] == ["back"]
        acquired = [c.sent_s for c in told.world.story.calls if c.operation == "acquire"]
        assert acquired

    before = taken_up(base=Base.of(Fleet()), goal="back", may_hide=True)
    task = {"planner": towards_nothing, "taken_up": before, "take_up": take_up}
    played(check, task=task)


# -- signals -----------------------------------------------------------------------------


async def _once_it_writes(told: Played) -> None:
    calls, begun = told.world.story.calls, ("create", "update")
    while not [c for c in calls if c.operation in begun]:  # noqa: ASYNC110 - from outside
        await anyio.sleep(0.05)
    await anyio.sleep(1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_tidies_up_and_says_so(number: signal.Signals) -> None:
    async def beside(told: Played) -> None:
        await _once_it_writes(told)
        os.kill(os.getpid(), number)

    def check(told: Played) -> None:
        assert (told.end.result, told.end.exit_code) == (Result.INTERRUPTED, 130)
        assert f"interrupted by {number.name}" in told.end.message
        assert told.images == [OLD, OLD]  # the canary is gone again
        assert told.marks == 0
        assert any("once more leaves at once" in event.message for event in told.of(Noticed))

    release = release_for(image=SLOW, strategy="canary")
    played(check, release=release, beside=beside, handles_signals=True, wait_timeout_s=300.0)


def test_a_second_signal_leaves_at_once() -> None:
    left: list[float] = []

    async def beside(told: Played) -> None:
        await _once_it_writes(told)
        os.kill(os.getpid(), signal.SIGINT)
        while not told.of(Noticed):  # noqa: ASYNC110 - from outside; two at once would be one
            await anyio.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep(0.5)

    def leave() -> None:
        left.append(anyio.current_time())

    def check(told: Played) -> None:
        assert told.end.exit_code == 130
        assert len(left) == 1

    played(
        check,
        release=release_for(image=SLOW, strategy="canary"),
        beside=beside,
        handles_signals=True,
        leave_at_once=leave,
        hits=[Hit("destroy", SILENT)],  # what keeps it from being over before the second one
    )
