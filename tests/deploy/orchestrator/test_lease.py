"""Leases against the local platform, in its own process, on asyncio's and trio's clocks."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
import pytest

from deploy.api.client import MachinesClient, connect
from deploy.api.patience import Patience
from deploy.errors import CallFailed, LeaseHeld, LeaseLost
from deploy.events import Event, Noticed
from deploy.local.state import HeldLease
from deploy.orchestrator.halt import Cut, Halt
from deploy.orchestrator.lease import Leases, LeaseTerms, holding
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.tools import Tools
from tests.contract.clocks import BACKENDS, run_on
from tests.worlds.fleets import release
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.transport import Call, SimulatedTransport
from tests.worlds.simulated.world import ADDRESS, APP, Scenario, World
from tests.worlds.stage import Hit, Hits, to

TTL_S = 13
UNAVAILABLE = BY_NAME["503 before"]
backends = pytest.mark.parametrize("backend", BACKENDS)


@dataclass
class Held:
    """Leases of one run, and what came of them."""

    leases: Leases
    client: MachinesClient
    transport: SimulatedTransport
    halt: Halt
    events: list[Event] = field(default_factory=list)

    @property
    def notices(self) -> list[Noticed]:
        return [event for event in self.events if isinstance(event, Noticed)]


@asynccontextmanager
async def holder(
    world: World,
    *,
    run: str = "run1",
    deploy: str = "d1",
    hits: Sequence[Hit] = (),
    wait_s: float = 0.0,
) -> AsyncIterator[Held]:
    transport = world.transport(run, Hits(hits))
    events: list[Event] = []
    halt, patience = Halt(), Patience(60.0, random.Random(1))
    async with (
        connect(ADDRESS, "local", APP, transport=transport) as client,
        holding(
            Tools(client=client, patience=patience, halt=halt, emit=events.append),
            Memory(release(deploy_id=deploy)),
            LeaseTerms(run_id=run, ttl_s=TTL_S, wait_for_others_s=wait_s),
        ) as leases,
    ):
        yield Held(leases, client, transport, halt, events)


def play(story: Callable[[World], Awaitable[None]], backend: str = "trio") -> World:
    world = World(Scenario(machines=4))

    async def main() -> None:
        async with world:
            await story(world)

    run_on(backend, main)
    return world


def ids(world: World) -> list[str]:
    return sorted(machine.id for machine in world.machines() if machine.config.group == "web")


def in_force(world: World) -> list[str]:
    return sorted(m.id for m in world.snapshot().values() if m.lease)


def calls(world: World, operation: str) -> list[Call]:
    return [call for call in world.story.calls if call.operation == operation]


def give(world: World, machine_id: str, description: str, *, for_s: float = 10.0) -> None:
    """Somebody else holds the lease."""
    until = int(world.platform.clock() + for_s)
    world.platform.apps[APP].machines[machine_id].lease = HeldLease("x", until, "bob", description)


# -- taking ------------------------------------------------------------------------------


@backends
def test_leases_are_taken_in_the_order_of_ids_and_none_is_taken_twice(backend: str) -> None:
    async def story(world: World) -> None:
        async with holder(world) as held:
            await held.leases.acquire(reversed(ids(world)))
            await held.leases.acquire(ids(world))
            assert in_force(world) == ids(world)
        assert [call.machine for call in calls(world, "acquire")] == ids(world)

    play(story, backend)


def test_anybody_elses_lease_ends_it_at_once_and_says_whose_and_until_when() -> None:
    async def story(world: World) -> None:
        second = ids(world)[1]
        give(world, second, "d9/run9", for_s=60)
        async with holder(world) as held:
            with pytest.raises(LeaseHeld) as caught:
                await held.leases.acquire(ids(world))
            assert caught.value.machine_id == second
            assert "bob (deploy d9/run9)" in caught.value.message
            assert "UTC" in caught.value.message
            assert "--wait-for-lease" in caught.value.hint
        assert in_force(world) == [second]
        assert len(calls(world, "acquire")) == 2

    play(story)


def test_of_two_rivals_exactly_one_gets_them_all() -> None:
    async def story(world: World) -> None:
        outcomes: list[str] = []

        async def rival(name: str, delay_s: float) -> None:
            async with holder(world, run=name, deploy=name) as held:
                await anyio.sleep(delay_s)
                try:
                    await held.leases.acquire(ids(world))
                except LeaseHeld:
                    outcomes.append("held")
                else:
                    outcomes.append("all")
                    await anyio.sleep(30)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rival, "one", 0.0)
            tasks.start_soon(rival, "two", 0.01)
        assert sorted(outcomes) == ["all", "held"]
        assert in_force(world) == []

    play(story)


def test_a_lost_acquire_reply_is_adopted_by_its_description() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world, hits=[Hit("acquire", BY_NAME["reply lost"])]) as held:
            began_s = anyio.current_time()
            await held.leases.acquire([first])
            assert anyio.current_time() - began_s < 3
            assert held.leases.nonce(first) == world._lease_nonce(first)
        assert len(calls(world, "acquire")) == 1
        assert in_force(world) == []

    play(story)


@pytest.mark.parametrize("fault", ["503 before", "429", "refused"])
def test_a_request_that_meets_a_hiccup_is_repeated_soon_and_not_for_ever(fault: str) -> None:
    async def story(world: World) -> None:
        first, second, *_ = ids(world)
        hits = [
            Hit("acquire", BY_NAME[fault], times=3, on=to(first)),
            Hit("acquire", BY_NAME[fault], times=999, on=to(second)),
        ]
        async with holder(world, hits=hits) as held:
            began_s = anyio.current_time()
            await held.leases.acquire([first])
            assert anyio.current_time() - began_s < TTL_S
            began_s = anyio.current_time()
            with pytest.raises(CallFailed):
                await held.leases.acquire([second])
            assert 2 * TTL_S <= anyio.current_time() - began_s < 3 * TTL_S

    play(story)


def test_a_hiccup_on_one_does_not_keep_the_others_from_being_taken() -> None:
    async def story(world: World) -> None:
        second = ids(world)[1]
        strikes = {second}
        hits = [Hit("acquire", UNAVAILABLE, times=999, on=lambda call: call.machine in strikes)]
        async with holder(world, hits=hits) as held:
            with pytest.raises(CallFailed, match="unavailable"):
                await held.leases.acquire(ids(world))
            assert in_force(world) == [id_ for id_ in ids(world) if id_ != second]
            strikes.clear()
            await held.leases.acquire(ids(world))
            assert in_force(world) == ids(world)

    play(story)


def test_a_lease_that_ends_between_the_refusal_and_the_look_at_it_is_asked_for_again() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        hits = [Hit("acquire", BY_NAME["409 leased"])]
        async with holder(world, hits=hits) as held:
            await held.leases.acquire([first])
            assert held.leases.nonce(first) == world._lease_nonce(first)
        assert len(calls(world, "acquire")) == 2

    play(story)


def test_answers_that_contradict_each_other_for_ever_are_not_asked_for_for_ever() -> None:
    async def story(world: World) -> None:
        hits = [Hit("acquire", BY_NAME["409 leased"], times=999)]
        async with holder(world, hits=hits) as held:
            began_s = anyio.current_time()
            with pytest.raises(CallFailed, match="currently held by rival"):
                await held.leases.acquire(ids(world))
            assert 2 * TTL_S <= anyio.current_time() - began_s < 3 * TTL_S

    play(story)


def test_the_stale_lease_of_a_killed_run_of_the_same_deploy_is_waited_out() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        give(world, first, "d1/dead", for_s=12)
        async with holder(world, run="run2") as held:
            began_s = anyio.current_time()
            await held.leases.acquire([first])
            assert 10 <= anyio.current_time() - began_s <= 20
            assert held.leases.nonce(first)

    play(story)


def test_a_lease_of_the_same_deploy_that_moves_has_a_living_holder() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        async with AsyncExitStack() as stack:
            alive = await stack.enter_async_context(holder(world, run="alive"))
            await alive.leases.acquire([first])
            held = await stack.enter_async_context(holder(world, run="second"))
            began_s = anyio.current_time()
            with pytest.raises(LeaseHeld):
                await held.leases.acquire([first])
            assert anyio.current_time() - began_s < 10

    play(story)


def test_a_lease_that_stands_still_for_ever_is_not_waited_for_for_ever() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        give(world, first, "d1/dead", for_s=3600)
        async with holder(world, run="run2") as held:
            began_s = anyio.current_time()
            with pytest.raises(LeaseHeld):
                await held.leases.acquire([first])
            assert anyio.current_time() - began_s < 3 * TTL_S

    play(story)


def test_one_who_may_wait_gets_the_lease_when_it_ends_and_no_later_than_asked() -> None:
    async def story(world: World) -> None:
        first, second, *_ = ids(world)
        give(world, first, "d9/run9", for_s=25)
        give(world, second, "d9/run9", for_s=3600)
        async with holder(world, wait_s=60.0) as held:
            await held.leases.acquire([first])
            began_s = anyio.current_time()
            with pytest.raises(LeaseHeld):
                await held.leases.acquire([second])
            assert 60 <= anyio.current_time() - began_s < 70

    play(story)


def test_waiting_for_a_lease_is_cut_by_a_halt() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        give(world, first, "d9/run9", for_s=3600)
        async with holder(world, wait_s=600.0) as held:

            async def halt() -> None:
                await anyio.sleep(5)
                held.halt.set(LeaseLost("over", machine_id=""))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(halt)
                began_s = anyio.current_time()
                with pytest.raises(Cut):
                    await held.leases.acquire([first])
                assert anyio.current_time() - began_s < 6

    play(story)


# -- keeping -----------------------------------------------------------------------------


@backends
def test_a_lease_is_refreshed_for_as_long_as_it_is_held(backend: str) -> None:
    async def story(world: World) -> None:
        async with holder(world) as held:
            await held.leases.acquire(ids(world))
            for _ in range(12):
                await anyio.sleep(10)
                assert in_force(world) == ids(world)
                assert all(held.leases.nonce(id_) == world._lease_nonce(id_) for id_ in ids(world))
        refreshes = len(calls(world, "refresh")) / len(ids(world))
        assert 24 <= refreshes <= 30  # every third of its life

    play(story, backend)


@backends
def test_a_lease_is_never_used_within_three_seconds_of_its_end(backend: str) -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world, hits=[Hit("refresh", UNAVAILABLE, times=999)]) as held:
            sent_s = anyio.current_time()
            await held.leases.acquire([first])
            await anyio.sleep(TTL_S - 3.0 - 0.1 - (anyio.current_time() - sent_s))
            assert held.leases.nonce(first)
            await anyio.sleep(0.2)
            assert in_force(world) == [first]  # the platform would still take it
            with pytest.raises(LeaseLost):
                held.leases.nonce(first)

    play(story, backend)


def test_a_refresh_that_fails_is_tried_again_before_the_lease_ends() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world, hits=[Hit("refresh", UNAVAILABLE, times=3)]) as held:
            await held.leases.acquire([first])
            await anyio.sleep(60)
            assert held.leases.nonce(first) == world._lease_nonce(first)
            assert held.notices == []

    play(story)


def test_a_refresh_that_is_never_answered_does_not_cost_the_lease() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        silent = BY_NAME["timed out before"]
        async with holder(world, hits=[Hit("refresh", silent, times=1)]) as held:
            await held.leases.acquire([first])
            for _ in range(40):
                await anyio.sleep(1)
                assert held.leases.nonce(first) == world._lease_nonce(first)

    play(story)


def test_a_stolen_lease_is_lost_noticed_and_never_given_back_for_its_new_holder() -> None:
    async def story(world: World) -> None:
        first, second, *_ = ids(world)
        async with holder(world) as held:
            await held.leases.acquire([first, second])
            give(world, first, "d9/run9", for_s=600)
            await anyio.sleep(10)
            with pytest.raises(LeaseLost, match=first):
                held.leases.nonce(first)
            assert held.leases.nonce(second)
            (notice,) = held.notices
            assert first in notice.message
        assert in_force(world) == [first]
        assert [call.machine for call in calls(world, "release")] == [second]

    play(story)


def test_a_lease_that_came_with_a_creation_counts_from_when_it_was_asked_for() -> None:
    async def story(world: World) -> None:
        async with holder(world) as held:
            sent = anyio.current_time()
            machine = await held.client.create(
                name="web-9",
                region="",
                config={"image": "x"},
                launch=False,
                cordoned=False,
                lease_ttl_s=TTL_S,
            )
            held.leases.adopt(machine.id, machine.nonce, since=sent - TTL_S)
            with pytest.raises(LeaseLost):
                held.leases.nonce(machine.id)
            held.leases.adopt(machine.id, machine.nonce, since=sent)
            assert held.leases.nonce(machine.id) == machine.nonce
            await anyio.sleep(60)
            assert held.leases.nonce(machine.id) == world._lease_nonce(machine.id)

    play(story)


def test_a_creation_without_a_lease_is_not_held() -> None:
    async def story(world: World) -> None:
        async with holder(world) as held:
            held.leases.adopt("m1", "", since=anyio.current_time())
            assert not held.leases.holds("m1")

    play(story)


# -- giving back -------------------------------------------------------------------------


class _Stop(Exception):
    pass


@backends
@pytest.mark.parametrize("way", ["the end", "an error", "a cancellation", "a deadline"])
def test_leases_are_released_on_every_way_out(way: str, backend: str) -> None:
    ways: list[str] = []

    async def held_for_long(world: World, scope: anyio.CancelScope) -> None:
        async with holder(world) as held:
            await held.leases.acquire(ids(world))
            match way:
                case "an error":
                    raise _Stop
                case "a cancellation":
                    scope.cancel()
                    await anyio.sleep(5)
                case "a deadline":
                    await anyio.sleep(1000)
        ways.append("went on")

    async def story(world: World) -> None:
        scope = anyio.CancelScope(deadline=anyio.current_time() + 20)
        with scope:
            try:
                await held_for_long(world, scope)
            except* _Stop:
                ways.append("raised")
        assert scope.cancelled_caught is way.startswith("a c") or way == "a deadline"
        assert in_force(world) == []
        assert len(calls(world, "release")) == 4

    play(story, backend)
    assert ways == {"the end": ["went on"], "an error": ["raised"]}.get(way, [])


def test_a_release_that_fails_is_told_with_when_it_ends_and_is_bounded() -> None:
    async def story(world: World) -> None:
        events: list[Event] = []
        silent = replace(BY_NAME["timed out before"], name="silent")
        async with holder(world, hits=[Hit("release", silent, times=99)]) as held:
            events = held.events
            await held.leases.acquire(ids(world))
            began_s = anyio.current_time()
        assert anyio.current_time() - began_s <= 10.5
        notices = [event for event in events if isinstance(event, Noticed)]
        assert len(notices) == 4
        assert all(f"within {TTL_S} s" in notice.hint for notice in notices)

    play(story)


def test_a_release_that_hiccups_is_tried_again() -> None:
    async def story(world: World) -> None:
        async with holder(world, hits=[Hit("release", BY_NAME["429"], times=2)]) as held:
            await held.leases.acquire(ids(world))
        assert in_force(world) == []
        assert held.notices == []

    play(story)


def test_a_lease_that_ran_out_already_is_released_without_a_word() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world) as held:
            await held.leases.acquire([first])
            world.platform.apps[APP].machines[first].lease = None
        assert held.notices == []

    play(story)


def test_what_is_forgotten_is_neither_refreshed_nor_released() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world) as held:
            await held.leases.acquire([first])
            held.leases.forget(first)
            held.leases.forget(first)
            await anyio.sleep(30)
        assert calls(world, "refresh") == []
        assert calls(world, "release") == []

    play(story)
