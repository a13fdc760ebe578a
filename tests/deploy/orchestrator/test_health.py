"""Waiting for machines on the local platform in its own process, in simulated time."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from deploy.api.client import connect
from deploy.api.patience import Patience
from deploy.errors import AppFailed, DeployError, Meaning, NotInTime, TakenBack
from deploy.local.lifecycle import Stop
from deploy.local.runtime import Ended
from deploy.orchestrator.halt import Cut, Halt
from deploy.orchestrator.health import Expectation, Health, HealthTerms
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.shared_list import SharedList
from deploy.orchestrator.tools import Tools
from deploy.orchestrator.watch import Watch
from deploy.plan.steps import Gate
from tests.contract.clocks import BACKENDS, run_on
from tests.deploy.orchestrator.bench import release_for
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.world import ADDRESS, APP, Scenario, World
from tests.worlds.stage import WEB as CHECKED
from tests.worlds.stage import Hit, Hits, group_of

UNWATCHED = {"image": "registry.test/hello:1"}
backends = pytest.mark.parametrize("backend", BACKENDS)


@dataclass
class Bench:
    """A machine that has just been created, and everything to wait for it with."""

    world: World
    health: Health
    memory: Memory
    halt: Halt
    machine_id: str

    def expect(self, gate: Gate = Gate.HEALTHY, **fields: Any) -> Expectation:
        said = {"machine_id": self.machine_id, "version": self.machine.version} | fields
        return Expectation(gate=gate, **said)

    @property
    def machine(self) -> Any:
        return self.world.platform.apps[APP].machines[self.machine_id]

    def asked(self, operation: str) -> int:
        return sum(1 for call in self.world.story.calls if call.operation == operation)


def play(
    story: Callable[[Bench], Awaitable[None]],
    image: str = "registry.test/hello:1",
    *,
    config: Mapping[str, Any] | None = None,
    hits: Sequence[Hit] = (),
    wait_s: float = 60.0,
    smoke_s: float = 10.0,
    min_healthy_s: float = 5.0,
    backend: str = "trio",
) -> None:
    world = World(Scenario(machines=0))

    async def main() -> None:
        async with world:
            transport = world.transport("run1", Hits(hits))
            async with connect(ADDRESS, "local", APP, transport=transport) as client:
                patience, halt = Patience(60.0, random.Random(1)), Halt()
                tools = Tools(client=client, patience=patience, halt=halt, emit=lambda _: None)
                terms = HealthTerms(
                    wait_timeout_s=wait_s, smoke_s=smoke_s, min_healthy_s=min_healthy_s
                )
                machines = SharedList(tools)
                memory = Memory(release_for())
                health = Health(tools, memory, machines, Watch(machines), terms)
                asked = config or dict(group_of(CHECKED).config)
                machine = world.create("web-1", {**asked, "image": image})
                await story(Bench(world, health, memory, halt, machine.id))

    run_on(backend, main)


async def failure_of(waiting: Awaitable[None]) -> DeployError:
    with pytest.raises(DeployError) as caught:
        await waiting
    return caught.value


@backends
def test_a_healthy_machine_is_waited_for_until_its_checks_pass(backend: str) -> None:
    async def story(bench: Bench) -> None:
        await bench.health.until(bench.expect())
        assert bench.machine.takes_traffic

    play(story, backend=backend)


@pytest.mark.parametrize("gate", [Gate.NONE, Gate.STARTED])
def test_a_lower_gate_waits_for_less(gate: Gate) -> None:
    async def story(bench: Bench) -> None:
        await bench.health.until(bench.expect(gate))
        assert (bench.machine.state == "started") is (gate is Gate.STARTED)
        assert bench.asked("list") == 0

    play(story)


def test_a_failing_check_at_the_deadline_is_the_apps_failure_with_its_output() -> None:
    async def story(bench: Bench) -> None:
        began_s = anyio.current_time()
        failure = await failure_of(bench.health.until(bench.expect()))
        assert isinstance(failure, AppFailed)
        assert "HTTP 500 from /health" in failure.message
        assert "--wait-timeout" in failure.hint
        assert 60 <= anyio.current_time() - began_s < 65

    play(story, "registry.test/hello:bad")


def test_a_machine_that_never_starts_is_the_platforms_failure() -> None:
    async def story(bench: Bench) -> None:
        failure = await failure_of(bench.health.until(bench.expect()))
        assert isinstance(failure, NotInTime)
        assert "starting" in failure.message
        assert failure.meaning.is_hiccup
        assert failure.machine_id == bench.machine_id

    play(story, "registry.test/hello:stuck")


@pytest.mark.parametrize(
    ("word", "reason"), [("exit1", "exit code 1"), ("oom", "out of memory")], ids=["exit", "oom"]
)
@pytest.mark.parametrize("config", [None, UNWATCHED], ids=["checked", "unwatched"])
def test_a_bad_exit_fails_at_once(word: str, reason: str, config: Mapping[str, Any] | None) -> None:
    async def story(bench: Bench) -> None:
        began_s = anyio.current_time()
        failure = await failure_of(bench.health.until(bench.expect()))
        assert isinstance(failure, AppFailed)
        assert reason in failure.message
        assert anyio.current_time() - began_s < 12

    play(story, f"registry.test/hello:{word}", config=config, wait_s=600)


def test_an_exit_of_an_older_version_does_not_count() -> None:
    async def story(bench: Bench) -> None:
        while bench.machine.state != "started":
            await bench.machine.next_change()
        bench.world.runtime.running[bench.machine_id].crash(Ended(1))
        await anyio.sleep(30)  # it was restarted
        now_ms = int(bench.world.platform.clock() * 1000)
        await bench.health.until(bench.expect(exits_after_ms=now_ms))
        failure = await failure_of(bench.health.until(bench.expect()))
        assert isinstance(failure, AppFailed)

    play(story)


@pytest.mark.parametrize("smoke_s", [0.0, 10.0, 25.0])
def test_a_machine_without_checks_is_watched_for_as_long_as_asked(smoke_s: float) -> None:
    async def story(bench: Bench) -> None:
        await bench.health.until(bench.expect(Gate.STARTED))
        began_s = anyio.current_time()
        await bench.health.until(bench.expect())
        assert smoke_s <= anyio.current_time() - began_s <= smoke_s + 2

    play(story, config=UNWATCHED, smoke_s=smoke_s)


def test_a_machine_with_checks_is_not_watched_longer_than_they_need() -> None:
    async def story(bench: Bench) -> None:
        began_s = anyio.current_time()
        await bench.health.until(bench.expect())
        assert anyio.current_time() - began_s < 9

    play(story, smoke_s=600)


@pytest.mark.parametrize(("min_healthy_s", "is_watched"), [(5.0, True), (5.0, False), (0.0, True)])
def test_a_machine_has_to_stay_healthy_for_as_long_as_asked_where_it_is_asked(
    min_healthy_s: float, is_watched: bool
) -> None:
    async def story(bench: Bench) -> None:
        await bench.health.until(bench.expect())
        began_s = anyio.current_time()
        await bench.health.until(bench.expect(watched=is_watched))
        took_s = anyio.current_time() - began_s
        wanted_s = min_healthy_s if is_watched else 0.0
        assert wanted_s <= took_s <= wanted_s + 3

    play(story, min_healthy_s=min_healthy_s)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("registry.test/hello:late1", "critical: HTTP 503: sick"),
        ("registry.test/hello:flap", "HTTP 503: flapping|did not go on passing"),
        ("registry.test/hello:crash", "exited: exit code 3"),
        ("registry.test/hello:exitzero", "exited: exit code 0 before its checks passed"),
        ("registry.test/hello:nopull", "could not be started: could not pull image"),
    ],
)
def test_an_app_that_does_not_stay_healthy_is_at_fault(image: str, said: str) -> None:
    """In real time the same are tried in `tests/e2e/test_cases.py`."""

    async def story(bench: Bench) -> None:
        failure = await failure_of(bench.health.until(bench.expect(watched=True)))
        assert isinstance(failure, AppFailed)
        assert re.search(said, str(failure)), failure

    play(story, image, wait_s=12.0)


def test_a_machine_that_cannot_be_started_and_does_not_say_why_is_the_platforms_failure() -> None:
    async def story(bench: Bench) -> None:
        began_s = anyio.current_time()
        failure = await failure_of(bench.health.until(bench.expect()))
        assert isinstance(failure, NotInTime)  # worth one more pass
        assert anyio.current_time() - began_s < 10  # at once, not at the deadline

    play(story, "registry.test/hello:unbootable")


@pytest.mark.parametrize("config", [None, UNWATCHED], ids=["checked", "unwatched"])
def test_the_watch_fits_into_the_wait(config: Mapping[str, Any] | None) -> None:
    """A good app can be deployed however short the time is that it may take."""

    async def story(bench: Bench) -> None:
        began_s = anyio.current_time()
        await bench.health.until(bench.expect(watched=True))
        assert anyio.current_time() - began_s <= 7

    play(story, config=config, wait_s=6.0, smoke_s=10.0, min_healthy_s=10.0)


def test_who_does_well_is_watched_from_then_on() -> None:
    async def story(bench: Bench) -> None:
        assert bench.machine_id not in bench.health._watch.ids
        await bench.health.until(bench.expect())
        assert bench.machine_id in bench.health._watch.ids

    play(story)


def test_who_is_cut_after_a_read_with_another_version_leaves_it_in_doubt() -> None:
    """The platform may have put it back, and a list that lags would not say so."""

    async def story(bench: Bench) -> None:
        async def cut() -> None:
            while not bench.memory.unsure:  # noqa: ASYNC110 - a set has no event to wait for
                await anyio.sleep(0.1)
            assert bench.asked("read") == 1
            bench.halt.set(NotInTime("enough"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cut)
            with pytest.raises(Cut):
                await bench.health.until(bench.expect(Gate.STARTED, version="01NOTTHERE"))
        assert bench.memory.unsure == {bench.machine_id}

    play(story)


def test_another_version_than_was_written_is_no_success() -> None:
    async def story(bench: Bench) -> None:
        await bench.health.until(bench.expect())
        failure = await failure_of(bench.health.until(bench.expect(version="01NOTTHERE")))
        assert isinstance(failure, TakenBack)
        assert bench.machine.version in failure.message
        assert failure.meaning is Meaning.CHANGED

    play(story)


def test_a_machine_that_fell_asleep_is_as_good_as_up() -> None:
    services = [{**dict(s), "autostop": "stop"} for s in group_of(CHECKED).config["services"]]
    config = {**group_of(CHECKED).config, "services": services}

    async def story(bench: Bench) -> None:
        while bench.machine.state != "started":
            await bench.machine.next_change()
        stop = Stop.of(bench.machine.config)
        bench.world.platform._lifecycle.stop(bench.machine, stop=stop)
        await bench.health.until(bench.expect())
        assert bench.machine.state == "stopped"

    play(story, config=config)


@backends
def test_many_waiters_share_one_list(backend: str) -> None:
    async def story(bench: Bench) -> None:
        began_s = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(bench.health.until, bench.expect())
        assert bench.asked("list") <= anyio.current_time() - began_s + 4

    play(story, "registry.test/hello:slow", backend=backend, wait_s=300)


@pytest.mark.parametrize("operation", ["wait", "list", "read"])
@pytest.mark.parametrize("fault", ["503 before", "429", "reply lost", "half a body", "refused"])
def test_a_failed_read_never_fails_a_healthy_machine(operation: str, fault: str) -> None:
    async def story(bench: Bench) -> None:
        await bench.health.until(bench.expect())
        assert bench.machine.takes_traffic

    play(story, hits=[Hit(operation, BY_NAME[fault], times=3)])


def test_a_wait_that_says_not_yet_is_asked_again() -> None:
    async def story(bench: Bench) -> None:
        await bench.health.until(bench.expect())
        assert bench.asked("wait") > 1

    play(story, "registry.test/hello:slow", wait_s=300)


def test_waiting_ends_at_once_when_the_run_is_halted() -> None:
    async def story(bench: Bench) -> None:
        async def halt() -> None:
            await anyio.sleep(3)
            bench.halt.set(AppFailed("another machine"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(halt)
            began_s = anyio.current_time()
            with pytest.raises(Cut):
                await bench.health.until(bench.expect())
            assert anyio.current_time() - began_s == pytest.approx(3)

    play(story, "registry.test/hello:slow", wait_s=600)


def test_a_machine_that_cannot_be_seen_yet_is_waited_for() -> None:
    async def story(bench: Bench) -> None:
        bench.world.platform.hide(APP, bench.machine_id, for_s=3)
        await bench.health.until(bench.expect())

    play(story)
