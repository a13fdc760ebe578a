"""Looking at the app: nothing odd is believed at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio
import msgspec
import pytest

from deploy.api.machine import Fleet
from deploy.errors import CallFailed, DeployError, Miscounted, NotInTime
from deploy.local import state
from deploy.local.requests import UpdateMachine
from deploy.orchestrator.halt import Cut
from deploy.plan.actions import Destroy, where
from deploy.plan.configs import created_config
from deploy.plan.steps import Gate
from deploy.run import App
from tests.deploy.orchestrator.bench import Bench, on_bench, release_for
from tests.worlds.simulated.faults import BY_NAME, Kind
from tests.worlds.simulated.world import APP, Scenario
from tests.worlds.stage import Hit

EMPTY = BY_NAME["empty list"]
STALE = BY_NAME["stale"]
UNAVAILABLE = BY_NAME["503 before"]
FORBIDDEN = Kind(name="forbidden", status=403, body='{"error":"not allowed"}')
NO_COUNT = Kind(name="no count", status=200, body='{"name":"sim","status":"deployed"}')
NOT_FOUND = Kind(name="not found", status=404, body='{"error":"machine not found"}')


async def destroyed_by_others(bench: Bench) -> str:
    """The id of web-1, once the platform has it no more."""
    machine = bench.world.platform.apps[APP].machines[bench.id("web-1")]
    bench.world.platform.destroy(machine, force=True)
    await anyio.sleep(5)
    return machine.id


def test_a_look_tells_what_is_there_and_is_remembered() -> None:
    async def story(bench: Bench) -> None:
        fleet = await bench.deployment.lookout.look()
        managed = {machine.id: machine.version for machine in fleet.managed}
        assert managed.keys() == {bench.id("web-1"), bench.id("web-2")}
        assert bench.memory.known == managed
        assert bench.calls("read") == []

    on_bench(story)


@pytest.mark.parametrize("times", [1, 2])
def test_an_empty_list_where_machines_were_is_asked_for_again(times: int) -> None:
    async def story(bench: Bench) -> None:
        fleet = await bench.deployment.lookout.look()
        assert len(fleet.managed) == 2
        assert len(bench.calls("list")) == times + 1

    on_bench(story, hits=[Hit("list", EMPTY, times=times)])


def test_an_empty_list_is_believed_when_it_is_repeated_and_the_app_counts_none() -> None:
    async def story(bench: Bench) -> None:
        assert len((await bench.deployment.lookout.look()).managed) == 0
        assert len(bench.calls("list")) == 3

    on_bench(story, scenario=Scenario(machines=0))


def test_an_empty_list_is_no_look_at_an_app_that_counts_machines() -> None:
    async def story(bench: Bench) -> None:
        with pytest.raises(Miscounted, match="0 machines are listed, and the app has 4"):
            await bench.deployment.lookout.look()
        assert len((await bench.deployment.lookout.look()).managed) == 2

    on_bench(story, hits=[Hit("list", EMPTY, times=3)])


def test_a_second_look_at_an_app_without_machines_expects_none() -> None:
    async def story(bench: Bench) -> None:
        for lists in (3, 4):
            await bench.deployment.lookout.look()
            assert len(bench.calls("list")) == lists

    on_bench(story, scenario=Scenario(machines=0))


def test_a_machine_that_a_list_leaves_out_is_read_and_found() -> None:
    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        fleet = await lookout.look()
        assert len(fleet.managed) == 2
        assert len(bench.calls("list")) == 4  # an empty one is repeated, and never believed
        assert {call.machine for call in bench.calls("read")} == set(bench.memory.known)

    on_bench(story, hits=[Hit("list", EMPTY, nth=1, times=3)])


def test_another_version_than_we_wrote_is_read_and_then_known() -> None:
    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        one = await bench.machine("web-1")
        bench.memory.wrote(replace(one, version="01WRITTEN"))
        fleet = await lookout.look()
        assert fleet.by_id[one.id].version == one.version
        assert bench.memory.known[one.id] == one.version
        assert [call.machine for call in bench.calls("read")][1:] == [one.id, one.id]

    on_bench(story)


def test_a_read_that_does_not_show_what_we_wrote_is_repeated() -> None:
    """A cache may have answered it, as it did the list."""

    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        one = await bench.machine("web-1")
        bench.world.machines()[0].cordoned = True
        bench.memory.cordon_written(one.id, cordoned=True)
        fleet = await lookout.look()
        assert fleet.by_id[one.id].cordoned
        assert [call.fault for call in bench.calls("read")] == [None, STALE, None]

    on_bench(story, hits=[Hit("list", STALE, nth=1), Hit("read", STALE, nth=1)])


def test_a_look_that_breaks_off_at_an_odd_machine_leaves_it_disputed_until_the_next() -> None:
    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        one = await bench.machine("web-1")
        bench.memory.known[one.id] = "as we wrote it"
        with pytest.raises(DeployError, match="not like that"):
            await lookout.look()
        assert bench.memory.disputed == {one.id}
        await lookout.look()
        assert bench.memory.disputed == set()

    refusal = Kind(name="rejected", status=400, body='{"error": "not like that"}')
    on_bench(story, hits=[Hit("read", refusal, nth=2)])


def test_a_read_that_shows_an_earlier_version_than_the_list_is_repeated() -> None:
    """Nobody knows whether our last write happened, and the list says that it did."""

    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        one = await bench.machine("web-1")
        await anyio.sleep(1)
        request = msgspec.convert({"config": {**one.config, "image": "new"}}, UpdateMachine)
        bench.world.platform.update(bench.world.machines()[0], request, owner="somebody")
        bench.memory.not_told(one.id)
        fleet = await lookout.look()
        assert fleet.by_id[one.id].image == "new"
        assert [call.fault for call in bench.calls("read")] == [None, STALE, None]

    on_bench(story, hits=[Hit("read", STALE, nth=1)])


def cordoned(machine: state.Machine) -> None:
    machine.cordoned = True


def stopped(machine: state.Machine) -> None:
    machine.state = "stopped"


@pytest.mark.parametrize("carry_out", [cordoned, stopped])
def test_a_read_that_shows_another_end_of_a_write_than_the_list_is_repeated(
    carry_out: Callable[[state.Machine], None],
) -> None:
    """Nobody knows whether our last write happened, and the list says that it did."""

    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        one = await bench.machine("web-1")
        carry_out(bench.world.machines()[0])
        bench.memory.not_told(one.id)
        found = (await lookout.look()).by_id[one.id]
        assert (found.cordoned, found.state) != (one.cordoned, one.state)
        assert [call.fault for call in bench.calls("read")] == [None, STALE, None]

    on_bench(story, hits=[Hit("read", STALE, nth=1)])


def test_one_that_a_read_has_and_a_list_has_not_after_a_lost_destroy_is_read_twice() -> None:
    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        one = await bench.machine("web-1")
        machine = bench.world.platform.apps["sim"].machines[one.id]
        bench.world.platform.destroy(machine, force=True)
        await anyio.sleep(5)
        bench.memory.destroying(one.id)
        assert one.id not in (await lookout.look()).by_id
        assert [call.fault for call in bench.calls("read")] == [None, STALE, None]

    on_bench(story, hits=[Hit("read", STALE, nth=1)])


def test_one_that_a_list_has_and_a_read_does_not_is_read_twice() -> None:
    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        first = bench.id("web-1")
        bench.memory.wrote(replace(await bench.machine("web-1"), version="01WRITTEN"))
        began_s, reads = anyio.current_time(), len(bench.calls("read"))
        fleet = await lookout.look()
        assert first in fleet.by_id
        assert len(bench.calls("read")) - reads == 2
        assert anyio.current_time() - began_s >= 1.0

    on_bench(story, hits=[Hit("read", NOT_FOUND, nth=1)])


def test_one_that_a_list_has_and_the_app_counts_is_read_once_more_after_two_reads_without_it() -> (
    None
):
    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        bench.memory.was_put_back(bench.id("web-1"))  # so that it is read
        assert bench.id("web-1") in (await lookout.look()).by_id
        assert [call.heard for call in bench.calls("read")] == ["404", "404", "200"]

    on_bench(story, hits=[Hit("read", NOT_FOUND, times=2)])


def test_it_is_not_gone_whatever_reads_say() -> None:
    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        bench.memory.was_put_back(bench.id("web-1"))
        with pytest.raises(Miscounted, match="not found by itself, and the app has 4 machines"):
            await lookout.look()
        assert bench.id("web-1") in bench.memory.disputed
        assert bench.id("web-1") in (await lookout.look()).by_id

    on_bench(story, hits=[Hit("read", NOT_FOUND, times=3)])


def test_one_read_takes_nothing_away_that_a_list_and_another_read_have_shown() -> None:
    """Another tool has made a version, so that it is read, and the read is repeated."""

    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        first = bench.id("web-1")
        bench.memory.wrote(replace(await bench.machine("web-1"), version="01OVERTAKEN"))
        reads = len(bench.calls("read"))
        assert first in (await lookout.look()).by_id
        assert [call.heard for call in bench.calls("read")[reads:]] == ["200", "404"]

    on_bench(story, hits=[Hit("read", NOT_FOUND, nth=2)])


def test_one_that_was_destroyed_is_gone_by_one_read_though_a_list_and_an_older_read_have_it() -> (
    None
):
    async def story(bench: Bench) -> None:
        lookout, one = bench.deployment.lookout, await bench.machine("web-1")
        fleet = await lookout.look()
        await bench.deployment.leases.acquire([one], app=fleet)
        await bench.deployment.actions.perform(Destroy(**where(one)), Gate.NONE)
        assert one.id not in (await lookout.look()).by_id
        assert [call.fault for call in bench.calls("read")] == [None, STALE, None]

    on_bench(story, hits=[Hit("list", STALE, nth=1), Hit("read", STALE, nth=1)])


@pytest.mark.parametrize(
    ("answer", "reads", "is_there"),
    [
        ("500 after", [STALE, None, None], False),
        ("500 before", [None, NOT_FOUND, None], True),
    ],
    ids=["done", "not done"],
)
def test_of_a_machine_that_may_be_destroyed_the_third_read_decides_between_two(
    answer: str, reads: list[Kind | None], is_there: bool
) -> None:
    """The list is from before, as one of the reads may be."""

    async def story(bench: Bench) -> None:
        lookout, one = bench.deployment.lookout, await bench.machine("web-1")
        fleet = await lookout.look()
        await bench.deployment.leases.acquire([one], app=fleet)
        with pytest.raises(CallFailed):
            await bench.deployment.actions.perform(Destroy(**where(one)), Gate.NONE)
        assert (one.id in (await lookout.look()).by_id) is is_there
        assert [call.fault for call in bench.calls("read")][1:] == reads

    struck = [Hit("read", kind, nth=nth) for nth, kind in enumerate(reads, 1) if kind]
    on_bench(story, hits=[Hit("destroy", BY_NAME[answer]), Hit("list", STALE, nth=1), *struck])


def test_an_empty_list_and_one_read_do_not_make_a_machine_gone() -> None:
    """Of its neighbours the reads say that the list is wrong."""

    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        known = {machine.id for machine in (await lookout.look()).managed}
        assert {machine.id for machine in (await lookout.look()).managed} == known
        assert [call.heard for call in bench.calls("read")].count("404") == 1

    on_bench(story, hits=[Hit("list", EMPTY, nth=1, times=3), Hit("read", NOT_FOUND)])


def test_a_list_without_a_machine_and_one_read_do_not_make_it_gone() -> None:
    """The list may be from before it was made."""

    async def story(bench: Bench) -> None:
        await bench.deployment.lookout.look()
        config = created_config(release_for(), release_for().groups[0])
        made = bench.world.create("web-3", config)
        bench.memory.created(await bench.machine("web-3"))
        assert made.id in (await bench.deployment.lookout.look()).by_id
        assert [call.heard for call in bench.calls("read")] == ["200", "404", "200"]

    on_bench(story, hits=[Hit("list", STALE, nth=1), Hit("read", NOT_FOUND, nth=1)])


def test_what_reads_did_not_find_is_read_again_where_a_list_has_it() -> None:
    """An old list would be believed of it."""

    async def story(bench: Bench) -> None:
        lookout, first = bench.deployment.lookout, bench.id("web-1")
        await lookout.look()
        bench.memory.wrote(replace(await bench.machine("web-1"), version="01WRITTEN"))
        assert first not in (await lookout.look()).by_id
        assert first in (await lookout.look()).by_id
        assert [call.heard for call in bench.calls("read")[1:]] == ["404", "404", "200"]
        assert first in bench.memory.known

    on_bench(story, hits=[Hit("read", NOT_FOUND, nth=1, times=2), Hit("read app", NO_COUNT)])


def test_what_an_old_list_shows_and_the_app_does_not_count_is_gone() -> None:
    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        gone = await destroyed_by_others(bench)
        bench.memory.was_put_back(gone)  # so that it is read
        assert gone not in (await lookout.look()).by_id
        assert len(bench.calls("read app")) == 1

    on_bench(story, hits=[Hit("list", STALE, nth=1)])


def test_what_neither_a_list_nor_reads_find_is_gone_after_two() -> None:
    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        await lookout.look()
        gone = await destroyed_by_others(bench)
        fleet = await lookout.look()
        assert gone not in fleet.by_id
        assert gone not in bench.memory.known
        assert len(bench.calls("read")) == 2

    on_bench(story)


def test_a_machine_that_we_made_and_do_not_know_of_is_recognised() -> None:
    async def story(bench: Bench) -> None:
        ours, theirs = release_for(), release_for(deploy_id="0dddddddddother")
        mine = bench.world.create("web-8", created_config(ours, ours.groups[0]))
        bench.world.create("web-9", created_config(theirs, theirs.groups[0]))
        bench.memory.create_lost("web-8", 0.0)
        await bench.deployment.lookout.look()
        assert bench.memory.own == {mine.id}
        assert bench.memory.lost_creates == {}

    on_bench(story)


def test_an_app_that_is_not_there_has_no_machines_and_is_not_asked_for_any() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.deployment.lookout.look() == Fleet()
        assert bench.memory.has_looked
        assert bench.calls("list") == []

    on_bench(story, app=App(exists=False))


def test_a_list_of_just_now_is_what_one_look_begins_with_and_no_other() -> None:
    async def story(bench: Bench) -> None:
        lookout, fleet = bench.deployment.lookout, await bench.fleet()
        lookout.listed(fleet)
        assert (await lookout.look()).by_id == fleet.by_id
        assert len(bench.calls("list")) == 1  # the test's
        bench.world.create("web-9", {"image": "x"})
        assert len((await lookout.look()).by_id) == len(fleet.by_id) + 1

    on_bench(story)


def test_an_empty_list_of_just_now_is_not_believed_either() -> None:
    async def story(bench: Bench) -> None:
        lookout = bench.deployment.lookout
        lookout.listed(Fleet())
        assert len((await lookout.look()).managed) == 2

    on_bench(story)


def test_a_look_is_cut_by_a_halt_and_the_last_one_is_not() -> None:
    async def story(bench: Bench) -> None:
        bench.halt.set(NotInTime("over"))
        with pytest.raises(Cut):
            await bench.deployment.lookout.look_unless_halted()
        assert bench.calls("list") == []
        assert len((await bench.deployment.lookout.look()).managed) == 2

    on_bench(story)


@pytest.mark.parametrize(("waited", "lists"), [(True, 4), (False, 2)])
def test_after_another_deploy_a_list_is_believed_once_it_shows_what_that_one_did(
    waited: bool, lists: int
) -> None:
    async def story(bench: Bench) -> None:
        machine_id = bench.id("web-1")
        await bench.fleet()
        await bench.tools.client.write_metadata(machine_id, "theirs", "yes")
        held = {machine_id} if waited else set()
        fleet = await bench.deployment.lookout.look_after(held)
        assert ("theirs" in fleet.by_id[machine_id].metadata) is waited
        assert len(bench.calls("list")) == lists

    on_bench(story, hits=[Hit("list", STALE, nth=1, times=2)])


def test_it_is_not_believed_before_it_shows_what_was_done_to_others() -> None:
    """What was waited for is one machine, and that may have been changed long before."""

    async def story(bench: Bench) -> None:
        await bench.fleet()
        await bench.tools.client.write_metadata(bench.id("web-2"), "theirs", "yes")
        fleet = await bench.deployment.lookout.look_after({bench.id("web-1")})
        assert "theirs" in fleet.by_id[bench.id("web-2")].metadata
        assert len(bench.calls("list")) == 4

    on_bench(story, hits=[Hit("list", STALE, nth=1, times=2)])


def test_it_is_not_believed_before_it_has_as_many_machines_as_the_app_counts() -> None:
    async def story(bench: Bench) -> None:
        await bench.fleet()
        bench.world.create("web-3", created_config(release_for(), release_for().groups[0]))
        await anyio.sleep(30)
        fleet = await bench.deployment.lookout.look_after({bench.id("web-1")})
        assert bench.id("web-3") in fleet.by_id
        assert len(bench.calls("list")) == 4

    on_bench(story, hits=[Hit("list", STALE, nth=1, times=2)])


def test_it_is_not_believed_before_it_shows_who_serves() -> None:
    async def story(bench: Bench) -> None:
        machine_id = bench.id("web-1")
        await bench.fleet()
        bench.world.platform.cordon(
            bench.world.platform.apps[APP].machines[machine_id], cordoned=True
        )
        fleet = await bench.deployment.lookout.look_after({machine_id})
        assert fleet.by_id[machine_id].cordoned
        assert len(bench.calls("list")) == 4

    on_bench(story, hits=[Hit("list", STALE, nth=1, times=2)])


def test_a_list_that_never_shows_it_is_believed_when_the_time_is_over() -> None:
    async def story(bench: Bench) -> None:
        machine_id = bench.id("web-1")
        await bench.fleet()
        await bench.tools.client.write_metadata(machine_id, "theirs", "yes")
        began_s = anyio.current_time()
        await bench.deployment.lookout.look_after({machine_id})
        assert 10.0 <= anyio.current_time() - began_s <= 13.0

    on_bench(story, hits=[Hit("list", STALE, nth=1, times=99)])


@pytest.mark.parametrize(
    ("operation", "kind"),
    [("read app", FORBIDDEN), ("read app", UNAVAILABLE), ("read", UNAVAILABLE)],
)
def test_what_cannot_be_read_does_not_keep_a_list_from_being_believed(
    operation: str, kind: Kind
) -> None:
    async def story(bench: Bench) -> None:
        await bench.fleet()
        began = anyio.current_time()
        fleet = await bench.deployment.lookout.look_after({bench.id("web-1")})
        assert len(fleet.managed) == 2
        assert anyio.current_time() - began < 15

    on_bench(story, hits=[Hit(operation, kind, times=999)])
