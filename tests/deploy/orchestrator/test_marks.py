"""The intent on the platform: who carries it, and when it is written, kept and taken off."""

from __future__ import annotations

import pytest

from deploy.api.machine import Fleet
from deploy.errors import CallFailed
from deploy.events import Noticed
from deploy.orchestrator.marks import Marks, clean_up
from deploy.plan.base import Base
from deploy.plan.configs import created_config
from deploy.plan.intent import Intent, read_intent
from deploy.plan.stamps import INTENT
from tests.deploy.orchestrator.bench import Bench, on_bench, release_for
from tests.worlds.fleets import machine
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.world import Scenario
from tests.worlds.stage import Hit

MINE = Intent.of(release_for())
THEIRS = Intent.of(release_for(deploy_id="0dddddddddother", image="registry.test/hello:0"))
UNAVAILABLE = BY_NAME["503 before"]


async def _look(bench: Bench) -> Fleet:
    return await bench.deployment.lookout.look()


async def _carriers(bench: Bench) -> dict[str, Intent]:
    """The intents on the platform, by the machine's name."""
    found = {one.name: read_intent(one) for one in (await bench.fleet()).managed}
    return {name: intent for name, intent in found.items() if intent is not None}


async def _leave_theirs(bench: Bench, name: str) -> None:
    client = bench.tools.client
    await client.write_metadata(bench.id(name), INTENT, THEIRS.dump())


async def _gone_over(bench: Bench) -> Marks:
    """The marks of a deploy that goes over one which was left unfinished on web-2."""
    marks = bench.deployment.marks
    await _leave_theirs(bench, "web-2")
    fleet = await _look(bench)
    marks.take_over(fleet)
    await marks.announce(MINE, fleet)
    return marks


def test_an_intent_is_written_once_on_the_machines_that_are_named() -> None:
    async def story(bench: Bench) -> None:
        marks = bench.deployment.marks
        fleet = await _look(bench)
        for _ in range(3):
            await marks.announce(MINE, fleet, [bench.id("web-2")])
        assert await _carriers(bench) == {"web-2": MINE}
        assert len(bench.calls("mark")) == 1
        carried = {m.id for m in marks.carried_by(fleet, MINE) if read_intent(m) == MINE}
        assert carried == {bench.id("web-2")}

    on_bench(story)


@pytest.mark.parametrize(
    ("gone", "theirs", "leased", "carriers"),
    [
        (True, False, True, {"web-1": MINE}),  # the lowest id
        (False, False, True, {"web-2": MINE}),
        (True, True, True, {"web-2": THEIRS}),
        (True, False, False, {}),
    ],
)
def test_a_mark_that_the_platform_took_back_is_written_again_for_who_takes_it_up(
    gone: bool, theirs: bool, leased: bool, carriers: dict[str, Intent]
) -> None:
    """But not beside another's, nor where no lease keeps others away."""

    async def story(bench: Bench) -> None:
        marks = bench.deployment.marks
        await marks.announce(MINE, await _look(bench), [bench.id("web-2")])
        if gone:
            await bench.tools.client.delete_metadata(bench.id("web-2"), INTENT)
        if theirs:
            await _leave_theirs(bench, "web-2")
        assert await marks.renew(await _look(bench), lambda _: leased) is bool(carriers)
        lowest = min(("web-1", "web-2"), key=bench.id)
        expected = {lowest if name == "web-1" else name: one for name, one in carriers.items()}
        assert await _carriers(bench) == expected

    on_bench(story)


def test_a_mark_of_a_deploy_that_we_went_over_and_that_came_back_is_written_over_again() -> None:
    """The platform has put the machine back to what it was, and the mark with it."""

    async def story(bench: Bench) -> None:
        marks = await _gone_over(bench)
        await _leave_theirs(bench, "web-2")
        assert await marks.renew(await _look(bench), lambda _: True)
        carried = await _carriers(bench)
        assert carried["web-2"] == MINE
        assert set(carried.values()) == {MINE}

    on_bench(story)


@pytest.mark.parametrize("taken_back", ["web-1", "web-2"])
def test_a_mark_that_went_with_what_was_written_is_renewed_though_no_look_shows_it(
    taken_back: str,
) -> None:
    async def story(bench: Bench) -> None:
        marks = bench.deployment.marks
        fleet = await _look(bench)
        bench.memory.base = Base.of(fleet)
        await marks.announce(MINE, fleet, [bench.id("web-2")])
        await bench.tools.client.delete_metadata(bench.id("web-2"), INTENT)
        bench.memory.taken_back.add(bench.id(taken_back))
        assert await marks.renew(None, lambda _: True)
        assert await _carriers(bench) == ({"web-2": MINE} if taken_back == "web-2" else {})

    on_bench(story)


def test_nothing_is_renewed_where_nothing_was_ever_seen() -> None:
    async def story(bench: Bench) -> None:
        assert bench.memory.base is None
        assert await bench.deployment.marks.renew(None, lambda _: True)
        assert bench.calls("mark") == []

    on_bench(story)


def test_a_mark_that_is_gone_is_written_on_what_is_still_ours() -> None:
    """A rival holds the lease of the machine that carried it."""

    async def story(bench: Bench) -> None:
        lowest, other = sorted([bench.id("web-1"), bench.id("web-2")])
        marks = bench.deployment.marks
        await marks.announce(MINE, await _look(bench), [lowest])
        await bench.tools.client.delete_metadata(lowest, INTENT)
        await marks.renew(await _look(bench), lambda machine_id: machine_id == other)
        names = {bench.id(name): name for name in ("web-1", "web-2")}
        assert await _carriers(bench) == {names[other]: MINE}

    on_bench(story)


def test_an_intent_that_turns_back_is_written_where_it_stood() -> None:
    async def story(bench: Bench) -> None:
        fleet = await _look(bench)
        await bench.deployment.marks.announce(MINE, fleet, [bench.id("web-2")])
        await bench.deployment.marks.announce(MINE.turned_back(), fleet, [bench.id("web-1")])
        assert await _carriers(bench) == {"web-2": MINE.turned_back()}

    on_bench(story)


def test_after_a_hiccup_all_of_it_is_written_again() -> None:
    async def story(bench: Bench) -> None:
        fleet = await _look(bench)
        both = [bench.id("web-1"), bench.id("web-2")]
        with pytest.raises(CallFailed):
            await bench.deployment.marks.announce(MINE, fleet, both)
        assert await _carriers(bench) == {"web-1": MINE}
        await bench.deployment.marks.announce(MINE, fleet, both)
        assert await _carriers(bench) == {"web-1": MINE, "web-2": MINE}

    on_bench(story, hits=[Hit("mark", UNAVAILABLE, nth=1)])


def test_a_machine_that_is_not_known_any_more_is_not_marked() -> None:
    async def story(bench: Bench) -> None:
        fleet = await _look(bench)
        await bench.deployment.marks.announce(MINE, fleet, ["m-gone", bench.id("web-1")])
        assert await _carriers(bench) == {"web-1": MINE}

    on_bench(story)


def test_what_another_deploy_left_unfinished_is_said_and_written_over() -> None:
    async def story(bench: Bench) -> None:
        await _leave_theirs(bench, "web-2")
        fleet = await _look(bench)
        bench.deployment.marks.take_over(fleet)
        (notice,) = bench.of(Noticed)
        assert f"taking over deploy {THEIRS.deploy} of {THEIRS.image}" in notice.message
        await bench.deployment.marks.announce(MINE, fleet, [bench.id("web-1")])
        assert await _carriers(bench) == {"web-2": MINE}

    on_bench(story)


@pytest.mark.parametrize(
    ("is_undone", "is_leased", "carriers"),
    [
        (True, True, {"web-2": THEIRS}),
        (True, False, {}),  # it may be another's by now
        (False, True, {}),
    ],
)
def test_what_was_unfinished_before_a_deploy_that_is_undone_is_so_again(
    is_undone: bool, is_leased: bool, carriers: dict[str, Intent]
) -> None:
    async def story(bench: Bench) -> None:
        marks = await _gone_over(bench)
        await marks.remove(await _look(bench), (lambda _: is_leased) if is_undone else None)
        assert await _carriers(bench) == carriers

    on_bench(story)


def test_what_was_unfinished_is_not_so_again_when_another_has_overtaken_us() -> None:
    async def story(bench: Bench) -> None:
        marks = await _gone_over(bench)
        await marks.lost()
        await marks.remove(await _look(bench), lambda _: True)
        assert await _carriers(bench) == {}

    on_bench(story)


def test_our_own_mark_is_nothing_to_take_over() -> None:
    async def story(bench: Bench) -> None:
        await bench.tools.client.write_metadata(bench.id("web-1"), INTENT, MINE.dump())
        bench.deployment.marks.take_over(await _look(bench))
        assert bench.of(Noticed) == []

    on_bench(story)


def test_when_it_is_over_every_mark_of_ours_goes_and_nobody_elses() -> None:
    async def story(bench: Bench) -> None:
        await _leave_theirs(bench, "web-2")
        ours = release_for()
        config = created_config(ours, ours.groups[0])
        config["metadata"][INTENT] = MINE.dump()
        bench.world.create("web-3", config)
        await bench.tools.client.write_metadata(bench.id("web-1"), INTENT, MINE.dump())
        fleet = await _look(bench)
        await bench.deployment.marks.remove(fleet)
        assert await _carriers(bench) == {"web-2": THEIRS}

    on_bench(story)


def test_one_that_was_born_with_a_mark_loses_it_though_the_last_look_failed() -> None:
    async def story(bench: Bench) -> None:
        config = created_config(release_for(), release_for().groups[0])
        config["metadata"][INTENT] = MINE.dump()
        bench.world.create("web-3", config)
        bench.memory.created(await bench.machine("web-3"))
        await bench.deployment.marks.remove(Fleet())
        assert await _carriers(bench) == {}

    on_bench(story)


def test_a_machine_that_reads_did_not_find_loses_its_mark_all_the_same() -> None:
    async def story(bench: Bench) -> None:
        fleet = await _look(bench)
        await bench.deployment.marks.announce(MINE, fleet, [bench.id("web-1")])
        bench.memory.read(bench.id("web-1"), None)
        await bench.deployment.marks.remove(Fleet())
        assert await _carriers(bench) == {}

    on_bench(story)


def test_of_a_machine_that_others_removed_no_mark_is_said_to_stay() -> None:
    async def story(bench: Bench) -> None:
        fleet, first = await _look(bench), bench.id("web-1")
        await bench.deployment.marks.announce(MINE, fleet, [first])
        bench.world.platform.destroy(bench.world.platform.apps["sim"].machines[first], force=True)
        await bench.tools.client.wait(first, state="destroyed", version="", timeout_s=30)
        await bench.deployment.marks.remove(await _look(bench))
        assert [call.heard for call in bench.calls("unmark")] == ["404"]
        assert bench.of(Noticed) == []

    on_bench(story)


def test_what_is_taken_up_is_marked_already() -> None:
    async def story(bench: Bench) -> None:
        fleet = await _look(bench)
        bench.deployment.marks.took_up([bench.id("web-2")])
        await bench.deployment.marks.announce(MINE.turned_back(), fleet)
        assert await _carriers(bench) == {"web-2": MINE.turned_back()}

    on_bench(story)


def test_marks_of_a_deploy_that_has_overtaken_us_are_not_taken_off() -> None:
    async def story(bench: Bench) -> None:
        fleet = await _look(bench)
        await bench.deployment.marks.announce(MINE, fleet, [bench.id("web-1")])
        await _leave_theirs(bench, "web-1")
        await bench.deployment.marks.lost()
        await bench.deployment.marks.remove(await _look(bench))
        assert await _carriers(bench) == {"web-1": THEIRS}

    on_bench(story)


def test_a_mark_of_ours_on_what_has_overtaken_us_is_taken_off_though_it_counts_for_nobody() -> None:
    async def story(bench: Bench) -> None:
        fleet = await _look(bench)
        await bench.deployment.marks.announce(MINE, fleet, [bench.id("web-1")])
        text = MINE.dump(beside="a release that is gone")
        await bench.tools.client.write_metadata(bench.id("web-1"), INTENT, text)
        assert await _carriers(bench) == {}
        await bench.deployment.marks.lost()
        await bench.deployment.marks.remove(await _look(bench))
        assert INTENT not in (await bench.machine("web-1")).metadata

    on_bench(story)


def test_a_mark_that_was_there_before_and_cannot_be_put_back_is_said_to_be_missing() -> None:
    async def story(bench: Bench) -> None:
        marks = await _gone_over(bench)
        await marks.remove(await _look(bench), lambda _: True)
        told = [n.hint for n in bench.of(Noticed) if "mark of this deploy stays on" in n.message]
        assert ["may not be found" in hint for hint in told] == [True]

    on_bench(story, hits=[Hit("mark", BY_NAME["412"], nth=2, times=99)])


def test_a_mark_that_cannot_be_taken_off_is_said_to_do_no_harm() -> None:
    async def story(bench: Bench) -> None:
        fleet = await _look(bench)
        await bench.deployment.marks.announce(MINE, fleet, [bench.id("web-1"), bench.id("web-2")])
        await bench.deployment.marks.remove(await _look(bench))
        notices = bench.of(Noticed)
        assert len(notices) == 2
        assert all("the mark of this deploy stays on" in notice.message for notice in notices)
        assert all("no harm" in notice.hint for notice in notices)

    rejected = BY_NAME["412"]
    on_bench(story, hits=[Hit("unmark", rejected, times=99)])


def test_a_clean_up_that_fails_is_said_with_its_hint_and_raises_nothing() -> None:
    async def story(bench: Bench) -> None:
        client = bench.tools.client
        await clean_up(bench.tools, client.destroy("m-none", nonce=""), "it stays", "remove it")
        (notice,) = bench.of(Noticed)
        assert notice.message.startswith("it stays: ")
        assert notice.hint == "remove it"

    on_bench(story, scenario=Scenario(machines=0))


def test_a_fleet_is_shown_carrying_it_only_where_it_stands() -> None:
    async def story(bench: Bench) -> None:
        fleet = Fleet.of([machine("m1"), machine("m2")])
        bench.deployment.marks.took_up(["m2"])
        shown = bench.deployment.marks.carried_by(fleet, MINE)
        assert [read_intent(one) for one in shown] == [None, MINE]

    on_bench(story, scenario=Scenario(machines=0))
