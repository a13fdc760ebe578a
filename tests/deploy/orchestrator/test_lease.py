"""Leases against the local platform, in its own process, on asyncio's and trio's clocks."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
import anyio.lowlevel
import pytest

from deploy.api.client import MachinesClient, connect
from deploy.api.machine import Fleet, Machine
from deploy.api.patience import Patience
from deploy.errors import CallFailed, LeaseHeld, LeaseLost, LeaseTaken
from deploy.events import Event, LeasesTaken, Noticed
from deploy.local.leases import Leases as PlatformLeases
from deploy.local.state import HeldLease
from deploy.local.state import Machine as PlatformMachine
from deploy.orchestrator.halt import Cut, Halt
from deploy.orchestrator.lease import Leases, LeaseTerms, holding
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.tools import Tools
from tests.contract.clocks import BACKENDS, run_on
from tests.worlds.fleets import release
from tests.worlds.simulated.faults import BY_NAME, Answer, Kind
from tests.worlds.simulated.habits import NO_HABITS, Habits
from tests.worlds.simulated.story import USUAL_LATENCY_S
from tests.worlds.simulated.transport import Call, SimulatedTransport
from tests.worlds.simulated.world import ADDRESS, APP, Scenario, World
from tests.worlds.stage import Hit, Hits, to

TTL_S = 13
UNAVAILABLE = BY_NAME["503 before"]
NOT_FOUND = Kind(name="not found", status=404, body='{"error":"machine not found"}')
FORBIDDEN = Kind(name="403", status=403, body='{"error": "not allowed"}')
backends = pytest.mark.parametrize("backend", BACKENDS)


@dataclass
class Held:
    """Leases of one run, and what came of them."""

    leases: Leases
    client: MachinesClient
    transport: SimulatedTransport
    halt: Halt
    memory: Memory
    events: list[Event] = field(default_factory=list)

    async def take(self, *machine_ids: str) -> bool:
        """Acquire the leases of these machines, of an app that has no more of them."""
        app = fleet(*machine_ids)
        return await self.leases.acquire(app, app=app)

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
    memory = Memory(release(deploy_id=deploy))
    async with (
        connect(ADDRESS, "local", APP, transport=transport) as client,
        holding(
            Tools(client=client, patience=patience, halt=halt, emit=events.append),
            memory,
            LeaseTerms(run_id=run, ttl_s=TTL_S, wait_for_others_s=wait_s),
        ) as leases,
    ):
        yield Held(leases, client, transport, halt, memory, events)


def machine(machine_id: str) -> Machine:
    return Machine(id=machine_id, state="started")


def fleet(*machine_ids: str) -> Fleet:
    return Fleet.of(map(machine, machine_ids))


class ShortLeases(PlatformLeases):
    """Of a platform that grants 4 s, whatever is asked for."""

    def _grant(
        self, machine: PlatformMachine, nonce: str, owner: str, description: str, ttl_s: int
    ) -> HeldLease:
        return super()._grant(machine, nonce, owner, description, min(ttl_s, 4))


def undescribed(world: World, machine_id: str) -> None:
    """The platform keeps no description of this lease."""
    one = world.platform.apps[APP].machines[machine_id]
    assert one.lease is not None
    one.lease = HeldLease(one.lease.nonce, one.lease.expires_at, one.lease.owner, "")


def play(
    story: Callable[[World], Awaitable[None]],
    backend: str = "trio",
    *,
    machines: int = 4,
    latency_s: tuple[float, float] = USUAL_LATENCY_S,
    habits: Habits = NO_HABITS,
) -> World:
    world = World(Scenario(machines=machines, latency_s=latency_s, habits=habits))

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


async def halt_soon(held: Held) -> None:
    await anyio.sleep(0.5)
    held.halt.set(LeaseLost("over", machine_id=""))


def give(world: World, machine_id: str, description: str, *, for_s: float = 10.0) -> None:
    """Somebody else holds the lease."""
    until = int(world.platform.clock() + for_s)
    world.platform.apps[APP].machines[machine_id].lease = HeldLease("x", until, "bob", description)


# -- taking ------------------------------------------------------------------------------


@backends
def test_the_arbiter_is_taken_first_then_all_others_at_once_and_none_twice(backend: str) -> None:
    async def story(world: World) -> None:
        async with holder(world) as held:
            await held.take(*reversed(ids(world)))
            await held.take(*ids(world))
            assert in_force(world) == ids(world)
        arbiter, *others = calls(world, "acquire")
        assert arbiter.machine == ids(world)[0]
        assert sorted(call.machine for call in others) == ids(world)[1:]
        assert arbiter.heard_s is not None
        assert {call.sent_s for call in others} == {arbiter.heard_s}

    play(story, backend)


def test_the_arbiter_is_the_apps_whatever_is_selected() -> None:
    async def story(world: World) -> None:
        app = fleet(*ids(world))
        arbiter, *_, last = ids(world)
        async with holder(world) as held:
            await held.leases.acquire(fleet(last), app=app)
            assert in_force(world) == [arbiter, last]
        assert [call.machine for call in calls(world, "release")] == [last, arbiter]

    play(story)


def test_of_two_rivals_with_different_selections_exactly_one_goes_on() -> None:
    async def story(world: World) -> None:
        app = fleet(*ids(world))
        _, second, third, _ = ids(world)
        async with holder(world) as one, holder(world, run="run2", deploy="d2") as two:
            await one.leases.acquire(fleet(second), app=app)
            with pytest.raises(LeaseHeld):
                await two.leases.acquire(fleet(third), app=app)
            assert not two.leases.holds(third)

    play(story)


def test_an_arbiter_that_has_gone_or_cannot_be_reached_gives_way_to_the_next() -> None:
    async def story(world: World) -> None:
        lost, gone, third, fourth = ids(world)
        app = Fleet.of(
            (replace(machine(lost), host_status="unreachable"), *fleet(gone, third, fourth))
        )
        world.platform.destroy(world.platform.apps[APP].machines[gone], force=True)
        await anyio.sleep(5)
        async with holder(world) as held:
            await held.leases.acquire(app, app=app)
            assert in_force(world) == [third, fourth]
            with pytest.raises(LeaseLost, match="its host is unreachable"):
                held.leases.nonce(lost)
            with pytest.raises(LeaseLost, match="it is gone"):
                held.leases.nonce(gone)
            with pytest.raises(LeaseLost, match="nobody asked"):
                held.leases.nonce("m9")

    play(story)


def test_who_has_lost_its_arbiter_takes_another_that_it_holds_and_does_not_ask_for_it() -> None:
    """A lease that is asked for anew while it is held is refused, as a rival's would be."""

    async def story(world: World) -> None:
        own, arbiter, third, _ = ids(world)
        app = fleet(own, arbiter, third)
        async with holder(world) as held:
            await held.take(arbiter, third)
            await held.leases.acquire(fleet(own), app=fleet(arbiter, third))
            give(world, arbiter, "d9/run9", for_s=600)
            await anyio.sleep(TTL_S / 2)
            with pytest.raises(LeaseHeld):
                await held.leases.acquire(app, app=app)
        assert [call.machine for call in calls(world, "acquire")] == [arbiter, third, own, arbiter]

    play(story)


@pytest.mark.parametrize("wait_s", [0.0, 20.0])
def test_against_a_client_that_takes_leases_in_any_order_nobody_is_left_hanging(
    wait_s: float,
) -> None:
    async def story(world: World) -> None:
        *_, last = ids(world)
        ended: list[str] = []

        async def foreign() -> None:
            """Takes the last one first, then cannot have the first, and gives up in the end."""
            give(world, last, "", for_s=600)
            await anyio.sleep(40)
            world.platform.apps[APP].machines[last].lease = None
            ended.append("foreign")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(foreign)
            await anyio.lowlevel.checkpoint()
            async with holder(world, wait_s=wait_s) as held:
                with pytest.raises(LeaseHeld):
                    await held.take(*ids(world))
            assert in_force(world) == [last]
            ended.append("ours")
        assert ended == ["ours", "foreign"]

    play(story)


@pytest.mark.parametrize(("latency_s", "is_told"), [(0.01, False), (0.4, True)])
def test_how_far_it_is_is_told_once_a_second_where_it_takes_that_long(
    latency_s: float, is_told: bool
) -> None:
    async def story(world: World) -> None:
        async with holder(world) as held:
            begin_s = anyio.current_time()
            assert await held.take(*ids(world))
            took_s = anyio.current_time() - begin_s
        told = [event for event in held.events if isinstance(event, LeasesTaken)]
        assert bool(told) is is_told
        assert len(told) <= took_s
        assert all(0 < event.taken <= event.of == 150 for event in told)
        assert [event.taken for event in told] == sorted(event.taken for event in told)

    play(story, machines=150, latency_s=(latency_s, latency_s))


def test_one_lease_that_cannot_be_had_ends_the_waiting_for_the_others() -> None:
    async def story(world: World) -> None:
        _, second, third, _ = ids(world)
        give(world, second, "d9/run9", for_s=3600)
        refused = Hit("acquire", FORBIDDEN, on=to(third))
        async with holder(world, wait_s=600.0, hits=[refused]) as held:
            began_s = anyio.current_time()
            with pytest.raises(CallFailed, match="not allowed"):
                await held.take(*ids(world))
            assert anyio.current_time() - began_s < 5

    play(story)


def test_anybody_elses_lease_ends_it_at_once_and_says_whose_and_until_when() -> None:
    async def story(world: World) -> None:
        second = ids(world)[1]
        give(world, second, "d9/run9", for_s=60)
        async with holder(world) as held:
            with pytest.raises(LeaseHeld) as caught:
                await held.take(*ids(world))
            assert caught.value.machine_id == second
            assert "bob (deploy d9/run9)" in caught.value.message
            assert "UTC" in caught.value.message
            assert "--wait-for-lease" in caught.value.hint
        assert in_force(world) == [second]
        assert sorted(call.machine for call in calls(world, "acquire")) == ids(world)

    play(story)


def test_of_two_rivals_exactly_one_gets_them_all() -> None:
    async def story(world: World) -> None:
        outcomes: list[str] = []

        async def rival(name: str, delay_s: float) -> None:
            async with holder(world, run=name, deploy=name) as held:
                await anyio.sleep(delay_s)
                try:
                    await held.take(*ids(world))
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
            await held.take(first)
            assert anyio.current_time() - began_s < 3
            assert held.leases.nonce(first) == world._lease_nonce(first)
        assert len(calls(world, "acquire")) == 1
        assert in_force(world) == []

    play(story)


REFUSAL = Kind(name="400", status=400, body='{"error": "no active lease"}')


def test_a_lease_found_by_a_read_is_taken_though_its_first_refresh_is_refused() -> None:
    hits = [Hit("acquire", BY_NAME["reply lost"]), Hit("refresh", REFUSAL)]

    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world, hits=hits) as held:
            await held.take(first)
            assert held.leases.nonce(first) == world._lease_nonce(first)
        assert in_force(world) == []

    play(story)


def test_a_lease_found_by_a_read_is_given_back_and_not_used_before_a_refresh_is_granted() -> None:
    hits = [Hit("acquire", BY_NAME["reply lost"]), Hit("refresh", REFUSAL, times=99)]

    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world, hits=hits) as held:

            async def halt() -> None:
                while not calls(world, "refresh"):  # noqa: ASYNC110 - looked at from outside
                    await anyio.sleep(0.01)
                await anyio.sleep(0.3)
                assert not held.leases.is_usable(first)
                held.halt.set(LeaseLost("over", machine_id=""))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(halt)
                with pytest.raises(Cut):
                    await held.take(first)
            assert in_force(world) != []
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
            await held.take(first)
            assert anyio.current_time() - began_s < TTL_S
            began_s = anyio.current_time()
            with pytest.raises(CallFailed):
                await held.take(second)
            assert 2 * TTL_S <= anyio.current_time() - began_s < 3 * TTL_S

    play(story)


def test_a_hiccup_on_one_does_not_keep_the_others_from_being_taken() -> None:
    async def story(world: World) -> None:
        second = ids(world)[1]
        strikes = {second}
        hits = [Hit("acquire", UNAVAILABLE, times=999, on=lambda call: call.machine in strikes)]
        async with holder(world, hits=hits) as held:
            with pytest.raises(CallFailed, match="unavailable"):
                await held.take(*ids(world))
            assert in_force(world) == [id_ for id_ in ids(world) if id_ != second]
            strikes.clear()
            await held.take(*ids(world))
            assert in_force(world) == ids(world)

    play(story)


def test_a_lease_that_ends_between_the_refusal_and_the_look_at_it_is_asked_for_again() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        hits = [Hit("acquire", BY_NAME["409 leased"])]
        async with holder(world, hits=hits) as held:
            await held.take(first)
            assert held.leases.nonce(first) == world._lease_nonce(first)
        assert len(calls(world, "acquire")) == 2

    play(story)


def test_one_that_is_refused_as_held_and_that_a_read_does_not_find_is_asked_for_again() -> None:
    """The refusal has said that it is there: one read is not enough to do without its lease."""

    async def story(world: World) -> None:
        first, second = ids(world)[:2]
        hits = [
            Hit("acquire", BY_NAME["409 leased"], on=lambda call: call.machine == second),
            Hit("read", NOT_FOUND),
        ]
        async with holder(world, hits=hits) as held:
            await held.take(first, second)
            assert in_force(world) == [first, second]

    play(story)


def test_answers_that_contradict_each_other_for_ever_are_not_asked_for_for_ever() -> None:
    async def story(world: World) -> None:
        hits = [Hit("acquire", BY_NAME["409 leased"], times=999)]
        async with holder(world, hits=hits) as held:
            began_s = anyio.current_time()
            with pytest.raises(CallFailed, match="currently held by rival"):
                await held.take(*ids(world))
            assert 2 * TTL_S <= anyio.current_time() - began_s < 3 * TTL_S

    play(story)


def test_the_stale_lease_of_a_killed_run_of_the_same_deploy_is_waited_out() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        give(world, first, "d1/dead", for_s=12)
        async with holder(world, run="run2") as held:
            began_s = anyio.current_time()
            await held.take(first)
            assert 10 <= anyio.current_time() - began_s <= 20
            assert held.leases.nonce(first)

    play(story)


def test_a_lease_of_the_same_deploy_that_moves_has_a_living_holder() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        async with AsyncExitStack() as stack:
            alive = await stack.enter_async_context(holder(world, run="alive"))
            await alive.take(first)
            held = await stack.enter_async_context(holder(world, run="second"))
            began_s = anyio.current_time()
            with pytest.raises(LeaseHeld):
                await held.take(first)
            assert anyio.current_time() - began_s < 10

    play(story)


def test_a_lease_that_stands_still_for_ever_is_not_waited_for_for_ever() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        give(world, first, "d1/dead", for_s=3600)
        async with holder(world, run="run2") as held:
            began_s = anyio.current_time()
            with pytest.raises(LeaseHeld):
                await held.take(first)
            assert anyio.current_time() - began_s < 3 * TTL_S

    play(story)


def test_one_who_may_wait_gets_the_lease_when_it_ends_and_no_later_than_asked() -> None:
    async def story(world: World) -> None:
        first, second, *_ = ids(world)
        give(world, first, "d9/run9", for_s=25)
        give(world, second, "d9/run9", for_s=3600)
        async with holder(world, wait_s=60.0) as held:
            await held.take(first)
            began_s = anyio.current_time()
            with pytest.raises(LeaseHeld):
                await held.take(second)
            assert 60 <= anyio.current_time() - began_s < 70

    play(story)


def test_waiting_for_a_lease_is_cut_by_a_halt() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        give(world, first, "d9/run9", for_s=3600)
        async with holder(world, wait_s=600.0) as held, anyio.create_task_group() as tasks:
            tasks.start_soon(halt_soon, held)
            began_s = anyio.current_time()
            with pytest.raises(Cut):
                await held.take(first)
            assert anyio.current_time() - began_s < 6

    play(story)


# -- keeping -----------------------------------------------------------------------------


@backends
def test_a_lease_is_refreshed_for_as_long_as_it_is_held(backend: str) -> None:
    async def story(world: World) -> None:
        async with holder(world) as held:
            await held.take(*ids(world))
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
            await held.take(first)
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
            await held.take(first)
            await anyio.sleep(60)
            assert held.leases.nonce(first) == world._lease_nonce(first)
            assert held.notices == []

    play(story)


def test_a_refresh_that_is_never_answered_does_not_cost_the_lease() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        silent = BY_NAME["timed out before"]
        async with holder(world, hits=[Hit("refresh", silent, times=1)]) as held:
            await held.take(first)
            for _ in range(40):
                await anyio.sleep(1)
                assert held.leases.nonce(first) == world._lease_nonce(first)

    play(story)


@pytest.mark.parametrize("unanswered", [2, 999])
def test_a_lease_that_is_about_to_end_is_waited_for_until_a_refresh_has_told(
    unanswered: int,
) -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        hits = [Hit("refresh", BY_NAME["timed out before"], times=unanswered)]
        async with holder(world, hits=hits) as held:
            await held.take(first)
            taken_s = anyio.current_time()
            await held.leases.late(first)
            assert anyio.current_time() == taken_s
            await anyio.sleep(TTL_S - 2)
            with pytest.raises(LeaseLost):
                held.leases.nonce(first)
            await held.leases.late(first)
            assert TTL_S - 1 < anyio.current_time() - taken_s < TTL_S + 5
            assert held.leases.is_usable(first) is (unanswered == 2)
            await held.leases.late(first)

    play(story)


def test_waiting_for_a_late_refresh_is_cut_by_a_halt_and_not_begun_after_it() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world, hits=[Hit("refresh", UNAVAILABLE, times=999)]) as held:
            await held.take(first)
            await anyio.sleep(TTL_S - 2)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(halt_soon, held)
                with pytest.raises(Cut):
                    await held.leases.late(first)
            await held.leases.late(first)
            assert held.notices == []  # it is late, and not lost yet

    play(story)


@pytest.mark.parametrize("status", [400, 409, 412])
def test_a_refused_refresh_of_a_lease_that_is_still_ours_does_not_lose_it(status: int) -> None:
    """Also where the platform keeps no descriptions: the nonce that it reads back is ours."""
    refusal = Kind(name=str(status), status=status, body='{"error": "no active lease"}')

    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world, hits=[Hit("refresh", refusal)]) as held:
            await held.take(first)
            undescribed(world, first)
            for _ in range(20):
                await anyio.sleep(1)
                assert held.leases.nonce(first) == world._lease_nonce(first)
            assert held.notices == []
        assert in_force(world) == []

    play(story)


def test_a_refused_refresh_that_no_read_explains_keeps_writes_back_until_one_is_answered() -> None:
    async def story(world: World) -> None:
        (first, *_) = ids(world)
        refused = Kind(name="404", status=404, body='{"error": "lease not found"}')
        hits = [Hit("refresh", refused), Hit("read lease", UNAVAILABLE, times=9)]
        async with holder(world, hits=hits) as held:
            await held.take(first)
            await anyio.sleep(TTL_S / 3 + 0.5)
            with pytest.raises(LeaseLost, match="may be lost: a refresh did not find it"):
                held.leases.nonce(first)
            await anyio.sleep(2)
            assert held.leases.nonce(first)  # the next refresh was granted
            assert held.notices == []

    play(story)


def test_another_refusal_does_not_make_a_lease_usable_that_a_refresh_did_not_find() -> None:
    async def story(world: World) -> None:
        (first, *_) = ids(world)
        missing = Kind(name="404", status=404, body='{"error": "lease not found"}')
        leased = BY_NAME["409 leased"]
        hits = [
            Hit("refresh", missing),
            Hit("refresh", leased),
            Hit("read lease", UNAVAILABLE, times=1),
            Hit("read lease", BY_NAME["timed out before"]),
        ]
        async with holder(world, hits=hits) as held:
            await held.take(first)
            await anyio.sleep(TTL_S / 3 + 2)  # the second read is under way
            assert len(calls(world, "refresh")) == 2
            with pytest.raises(LeaseLost, match="may be lost: a refresh did not find it"):
                held.leases.nonce(first)

    play(story)


def test_what_a_refresh_is_told_goes_for_a_lease_that_was_taken_anew_before_it_left() -> None:
    async def story(world: World) -> None:
        (first, *_) = ids(world)
        missing = Kind(name="404 after", reaches=True, late_s=2.0, status=404, body="{}")
        hits = [Hit("refresh", missing), Hit("read lease", UNAVAILABLE, times=2)]
        async with holder(world, hits=hits) as held:
            await held.take(first)
            nonce, due_s = held.leases.nonce(first), anyio.current_time() + TTL_S / 3
            await anyio.sleep_until(due_s + 0.5)  # a refresh is under way
            held.leases.adopt(first, nonce, since=due_s - 0.5)
            assert held.leases.nonce(first) == nonce
            await anyio.sleep(2)
            with pytest.raises(LeaseLost, match="may be lost: a refresh did not find it"):
                held.leases.nonce(first)

    play(story)


def test_a_lease_without_a_description_that_was_lost_is_known_by_its_nonce() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        silent = [Hit("refresh", UNAVAILABLE, times=999), Hit("read lease", UNAVAILABLE, times=1)]
        async with holder(world, hits=silent) as held:
            await held.take(first)
            undescribed(world, first)
            await anyio.sleep(TTL_S - 2)
            with pytest.raises(LeaseLost, match=r"ends in 1\.\d s, and no refresh"):
                held.leases.nonce(first)
            silent[0] = replace(silent[0], times=0)
            assert await held.take(first)
            assert held.leases.nonce(first) == world._lease_nonce(first)

    play(story)


def test_what_was_granted_for_a_shorter_time_than_asked_is_refreshed_in_time() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        platform = world.platform
        platform.leases = ShortLeases(platform.identity, platform.leases._keep)
        async with holder(world) as held:
            await held.take(first)
            for _ in range(200):
                await anyio.sleep(0.1)
                assert held.leases.nonce(first) == world._lease_nonce(first)
        assert 12 <= len(calls(world, "refresh")) <= 24  # every third of 3 to 4 s

    play(story)


def test_the_time_to_live_follows_the_fleet_so_that_refreshes_stay_few() -> None:
    async def story(world: World) -> None:
        async with holder(world) as held:
            assert held.leases.ttl_s == TTL_S
            await held.take(*ids(world))
            assert {call.json["ttl"] for call in calls(world, "acquire")} == {80}
            for _ in range(10):
                await anyio.sleep(10)
                assert all(held.leases.nonce(id_) for id_ in ids(world))
        sent_s = [call.sent_s for call in calls(world, "refresh")]
        busiest = max(sum(1 for at in sent_s if s <= at < s + 1) for s in sent_s[::20])
        assert busiest <= 21
        assert len(sent_s) >= 2 * 400

    play(story, machines=400)


def test_a_stolen_lease_is_lost_noticed_and_never_given_back_for_its_new_holder() -> None:
    async def story(world: World) -> None:
        first, second, *_ = ids(world)
        async with holder(world) as held:
            await held.take(first, second)
            give(world, first, "d9/run9", for_s=600)
            await anyio.sleep(10)
            with pytest.raises(LeaseTaken, match=first):
                held.leases.nonce(first)
            assert held.leases.nonce(second)
            (notice,) = held.notices
            assert notice.message == f"the lease on {first} is lost: bob (deploy d9/run9) has it"
        assert in_force(world) == [first]
        assert [call.machine for call in calls(world, "release")] == [second]

    play(story)


def test_who_waits_for_a_lost_lease_finds_that_the_platform_has_none_either() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        slow = Kind(name="slow", reaches=True, answer=Answer.REAL, late_s=1.8)
        hits = [Hit("acquire", slow), Hit("refresh", UNAVAILABLE, times=999)]
        async with holder(world, hits=hits) as held:
            await held.take(first)
            await anyio.sleep(TTL_S - 3)
            await held.leases.late(first)
            assert not held.leases.is_usable(first)
            assert in_force(world) == [first]
            await held.leases.run_out(first)
            assert in_force(world) == []
            await held.leases.run_out(first)  # at once
            await held.leases.run_out("m9")

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


@pytest.mark.parametrize("was_held", [False, True])
def test_a_lease_without_a_description_came_with_the_creation_only_where_none_was_held(
    was_held: bool,
) -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world) as held:
            held.memory.own.add(first)  # some servers leave the description out
            if was_held:
                await held.take(first)
            give(world, first, "", for_s=600)
            await anyio.sleep(TTL_S)
            if was_held:
                with pytest.raises(LeaseHeld, match="leased by bob"):
                    await held.take(first)
            else:
                await held.take(first)
        assert bool(in_force(world)) == was_held

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
            await held.take(*ids(world))
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
            await held.take(*ids(world))
            began_s = anyio.current_time()
        assert anyio.current_time() - began_s <= 10.5
        notices = [event for event in events if isinstance(event, Noticed)]
        assert len(notices) == 4
        assert all(f"within {TTL_S} s" in notice.hint for notice in notices)

    play(story)


def test_a_release_that_hiccups_is_tried_again() -> None:
    async def story(world: World) -> None:
        async with holder(world, hits=[Hit("release", BY_NAME["429"], times=2)]) as held:
            await held.take(*ids(world))
        assert in_force(world) == []
        assert held.notices == []

    play(story)


@pytest.mark.parametrize("status", [409, 412])
def test_a_release_that_is_refused_is_given_back_all_the_same(status: int) -> None:
    refusal = Kind(name=str(status), status=status, body='{"error": "aborted: try later"}')

    async def story(world: World) -> None:
        async with holder(world, hits=[Hit("release", refusal, times=3)]) as held:
            await held.take(*ids(world))
        assert in_force(world) == []
        assert held.notices == []

    play(story)


@pytest.mark.parametrize(
    ("status", "said"), [(409, "try later"), (412, "try later"), (307, "HTTP 307 leads elsewhere")]
)
def test_a_release_that_is_refused_for_ever_is_told_within_the_bound(
    status: int, said: str
) -> None:
    refusal = Kind(name=str(status), status=status, body='{"error": "aborted: try later"}')

    async def story(world: World) -> None:
        async with holder(world, hits=[Hit("release", refusal, times=999)]) as held:
            await held.take(*ids(world))
            began_s = anyio.current_time()
        assert anyio.current_time() - began_s <= 10.5
        assert len(held.notices) == 4
        assert all(said in notice.message for notice in held.notices)

    play(story)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_refused_release_is_told_where_the_platform_denies_the_machine_too(
    is_known: bool,
) -> None:
    """Who does not know of a new machine yet does not know whether it is leased."""
    refusal = Kind(name="412", status=412, body='{"error": "aborted: try later"}')
    hits = [Hit("release", refusal, times=9), Hit("read lease", BY_NAME["404"], times=9)]
    hits += [] if is_known else [Hit("read", BY_NAME["404"], times=9)]

    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world, hits=hits) as held:
            await held.take(first)
        said = f"the lease on {first} could not be released"
        assert [said in notice.message for notice in held.notices] == [True] * (not is_known)

    play(story)


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_lease_that_a_request_without_an_answer_may_have_left_is_told(is_cut: bool) -> None:
    """Nothing says whose it is, and nobody has waited for its end."""

    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world, hits=[Hit("acquire", BY_NAME["503 after"])]) as held:
            with anyio.move_on_after(3 if is_cut else math.inf):
                await held.take(first)
            assert held.leases.holds(first) != is_cut
        said = f"the lease on {first} could not be released: the answer that told its nonce"
        assert [said in notice.message for notice in held.notices] == [True] * is_cut

    play(story, habits=Habits(lease_hides_description=True))


def test_no_release_is_sent_while_a_refresh_is_under_way() -> None:
    """Some platforms would grant a new lease to that refresh."""
    slow = replace(BY_NAME["503 after"], name="slow", late_s=2.0)

    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world, hits=[Hit("refresh", slow)]) as held:
            await held.take(first)
            await anyio.sleep(TTL_S / 3 + 0.5)
        (refresh,), (release,) = calls(world, "refresh"), calls(world, "release")
        assert refresh.heard_s is not None
        assert release.sent_s >= refresh.heard_s
        assert in_force(world) == []

    play(story)


def test_a_lease_that_ran_out_already_is_released_without_a_word() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world) as held:
            await held.take(first)
            world.platform.apps[APP].machines[first].lease = None
        assert held.notices == []

    play(story)


def test_what_is_forgotten_is_neither_refreshed_nor_released() -> None:
    async def story(world: World) -> None:
        first = ids(world)[0]
        async with holder(world) as held:
            await held.take(first)
            held.leases.forget(first)
            held.leases.forget(first)
            await anyio.sleep(30)
        assert calls(world, "refresh") == []
        assert calls(world, "release") == []

    play(story)
