"""What a run remembers of its own writes, and what a list of machines says against it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deploy.api.machine import Exit, Fleet, Machine
from deploy.orchestrator.memory import Memory, TakenUp
from deploy.plan.base import Base
from deploy.plan.configs import created_config
from deploy.plan.intent import BACK, FORWARD
from deploy.plan.stamps import INTENT
from tests.worlds.fleets import group, machine, release, with_metadata

SEEN = machine("m1")


@pytest.fixture
def memory() -> Memory:
    found = Memory(release())
    found.looked(Fleet.of([SEEN]))
    return found


def taken_up(**fields: Any) -> TakenUp:
    """A deploy that another run began on SEEN, and wrote nothing to."""
    nobody: frozenset[str] = frozenset()
    said: dict[str, Any] = {"base": Base.of(Fleet.of([SEEN])), "goal": FORWARD, "written": nobody}
    said |= {"own": nobody, "made": nobody, "marked": nobody}
    return TakenUp(**(said | fields))


def ids(*machine_ids: str) -> frozenset[str]:
    return frozenset(machine_ids)


# -- looks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "contradicted"),
    [
        ({"m1": SEEN}, []),
        ({"m1": replace(SEEN, version="another")}, ["m1"]),
        ({"m1": replace(SEEN, cordoned=True)}, []),  # nobody here has written that
        ({}, ["m1"]),
    ],
)
def test_another_version_and_a_machine_that_is_missing_are_odd(
    memory: Memory, listed: dict[str, Machine], contradicted: list[str]
) -> None:
    assert memory.contradicted_by(listed) == contradicted


def test_a_machine_whose_last_write_is_unknown_is_odd_until_it_is_read(memory: Memory) -> None:
    """A list that lags shows it as it was, whatever became of the write."""
    memory.not_told("m1")
    assert memory.contradicted_by({"m1": SEEN}) == ["m1"]
    assert memory.contradicted_by({}) == ["m1"]
    memory.read("m1", SEEN)
    assert memory.contradicted_by({"m1": SEEN}) == []
    for earlier in (replace(SEEN, cordoned=True), replace(SEEN, state="stopped")):
        assert memory.contradicted_by({"m1": earlier}) == ["m1"]
    memory.not_told("m1")
    memory.wrote(SEEN)
    assert memory.contradicted_by({"m1": SEEN}) == []


def test_a_cordon_that_was_taken_off_is_odd_until_a_read_says_so(memory: Memory) -> None:
    cordoned = replace(SEEN, cordoned=True)
    memory.cordon_written("m1", cordoned=False)
    assert memory.contradicted_by({"m1": cordoned}) == ["m1"]
    memory.read("m1", cordoned)
    assert memory.contradicted_by({"m1": cordoned}) == []
    assert memory.contradicted_by({"m1": SEEN}) == ["m1"]


def test_a_read_denies_what_changes_only_by_a_write(memory: Memory) -> None:
    """A version and a cordon; unless a write of ours may still be under way there."""
    cordoned = replace(SEEN, cordoned=True)
    assert not memory.is_denied_by(cordoned)  # nobody here has written that
    memory.cordon_written("m1", cordoned=False)
    assert memory.is_denied_by(cordoned)
    assert memory.is_denied_by(replace(SEEN, version="another"))
    assert not memory.is_denied_by(replace(SEEN, state="stopped"))
    memory.not_told("m1")
    assert not memory.is_denied_by(cordoned)


def test_a_machine_that_was_stopped_and_seems_to_run_is_odd_until_a_read_says_so(
    memory: Memory,
) -> None:
    """A list may lag behind the stop; what is planned by it would leave the machine down."""
    stopped = replace(SEEN, state="stopped")
    memory.state_asked("m1", runs=False)
    assert memory.contradicted_by({"m1": SEEN}) == ["m1"]
    assert memory.contradicted_by({"m1": stopped}) == []
    memory.read("m1", SEEN)  # somebody has started it since
    assert memory.contradicted_by({"m1": SEEN}) == []
    memory.state_asked("m1", runs=True)
    assert memory.contradicted_by({"m1": stopped}) == ["m1"]


def test_a_machine_that_did_well_is_odd_where_a_list_shows_it_otherwise(memory: Memory) -> None:
    """It is from before, and would have the place in the window of one that is out."""
    earlier, lost = replace(SEEN, state="replacing"), replace(SEEN, host_status="unreachable")
    memory.wrote(SEEN)
    assert memory.contradicted_by({"m1": earlier}) == []
    memory.seen_well("m1")
    assert memory.contradicted_by({"m1": earlier}) == ["m1"]
    assert memory.contradicted_by({"m1": lost}) == []  # which a read would not be answered of
    memory.read("m1", earlier)
    assert memory.contradicted_by({"m1": earlier}) == []
    memory.read("m1", SEEN)
    assert memory.contradicted_by({"m1": earlier}) == ["m1"]
    memory.wrote(SEEN)
    assert memory.contradicted_by({"m1": earlier}) == []


def test_a_machine_that_was_put_back_is_odd_until_a_read_says_how_it_is(memory: Memory) -> None:
    """A list may show it as we wrote it."""
    memory.was_put_back("m1")
    assert memory.contradicted_by({"m1": SEEN}) == ["m1"]
    memory.read("m1", replace(SEEN, version="the one before"))
    assert memory.contradicted_by({"m1": SEEN}) == ["m1"]


def test_a_machine_that_was_destroyed_is_odd_unless_it_is_on_its_way_out(memory: Memory) -> None:
    memory.destroying("m1")
    memory.gone("m1")
    assert memory.contradicted_by({}) == []
    assert memory.contradicted_by({"m1": SEEN}) == ["m1"]
    assert memory.contradicted_by({"m1": replace(SEEN, state="destroying")}) == []


def test_of_what_an_earlier_run_made_only_its_absence_is_odd() -> None:
    memory = Memory(release())
    memory.took_up(taken_up(own=ids("m1"), made=ids("m1")), 0.0)
    assert memory.contradicted_by({}) == ["m1"]
    assert memory.contradicted_by({"m1": SEEN}) == []


def test_a_second_look_does_not_make_another_version_the_known_one(memory: Memory) -> None:
    changed = replace(SEEN, version="another")
    memory.looked(Fleet.of([changed]))
    assert memory.known == {"m1": SEEN.version}
    memory.read("m1", changed)
    assert memory.known == {"m1": "another"}


def test_a_machine_that_no_read_finds_is_known_no_more_but_one_of_ours_stays_ours() -> None:
    memory = Memory(release())
    memory.took_up(taken_up(own=ids("m7"), made=ids("m7")), 0.0)
    memory.created(machine("m8", name="web-8"))
    for machine_id in ("m7", "m8"):
        memory.read(machine_id, None)
    assert memory.own == {"m8"}  # as new as that it may be too early to say
    assert memory.known == {}
    assert memory.doubtful == {"m8"}  # nor has anybody seen it serve
    assert memory.contradicted_by({"m8": replace(SEEN, id="m8")}) == ["m8"]  # a list has it


# -- the app at first --------------------------------------------------------------------


def test_the_base_is_asked_for_only_after_the_first_look_under_leases() -> None:
    memory = Memory(release())
    with pytest.raises(RuntimeError, match="first look"):
        _ = memory.known_base
    memory.began(Fleet.of([SEEN]))
    assert memory.known_base.machines.by_id.keys() == {"m1"}


def test_beginning_numbers_the_release_after_those_that_are_there() -> None:
    memory = Memory(release(number=1))
    memory.began(Fleet.of([with_metadata(SEEN, fly_release_version="41")]))
    assert memory.release.number == 42
    assert memory.release == release(number=42)


def test_what_is_taken_up_counts_as_written_and_not_yet_seen_to_serve() -> None:
    memory = Memory(release())
    found = taken_up(goal=BACK, written=ids("m1", "m2"), own=ids("m2"), made=ids("m2", "m3"))
    memory.took_up(found, 5.0)
    assert (memory.goal, memory.known_base) == (BACK, found.base)
    assert memory.written == memory.doubtful == {"m1", "m2"}
    assert not memory.has_written  # this very run has sent nothing
    assert not memory.is_own("m2")
    assert memory.last_unanswered == -math.inf


def test_what_a_dead_run_may_have_made_just_now_counts_as_unanswered() -> None:
    memory = Memory(release())
    memory.took_up(taken_up(may_hide=True), 5.0)
    assert memory.last_unanswered == 5.0


def test_a_situation_holds_what_is_in_doubt_and_before_the_base_the_fleet_itself() -> None:
    memory = Memory(release())
    fleet = Fleet.of([SEEN])
    assert memory.situation(fleet).base == Base.of(fleet)
    memory.began(Fleet())
    memory.updating("m1")
    memory.refused_by_host("m1")
    found = memory.situation(fleet)
    assert found.base == Base.of(Fleet())
    assert (found.doubtful, found.refused) == (ids("m1"), ids("m1"))


# -- writes ------------------------------------------------------------------------------


def test_an_update_is_in_doubt_from_when_it_leaves_until_it_is_settled(memory: Memory) -> None:
    memory.updating("m1")
    assert memory.has_written
    assert (memory.written, memory.doubtful) == ({"m1"}, {"m1"})
    memory.wrote(replace(SEEN, version="v1"))
    assert memory.doubtful == {"m1"}
    assert memory.known == {"m1": "v1"}
    memory.settled("m1")
    assert (memory.written, memory.doubtful) == ({"m1"}, set())


def test_a_write_without_a_version_puts_nothing_in_doubt(memory: Memory) -> None:
    memory.touching("m1")
    assert (memory.has_written, memory.written, memory.doubtful) == (True, {"m1"}, set())


@pytest.mark.parametrize("send", [Memory.creating, lambda memory: memory.removing("m9")])
def test_a_create_and_the_removal_of_a_one_off_machine_count_as_written(
    send: Callable[[Memory], None],
) -> None:
    memory = Memory(release())
    send(memory)
    assert memory.has_written
    assert not memory.written


def test_a_created_machine_is_ours_known_by_its_name_and_its_lost_answer_is_found() -> None:
    memory = Memory(release())
    memory.create_lost("web-1", 3.0)
    assert memory.last_unanswered == 3.0
    memory.created(machine("m9", name="web-1", version="v7"))
    assert memory.lost_creates == {}
    assert memory.ids == {"web-1": "m9"}
    assert memory.is_own("m9")
    assert memory.known == {"m9": "v7"}
    assert memory.written == {"m9"}
    assert memory.born_marked == set()


def test_one_that_was_born_with_the_intent_is_remembered_as_marked() -> None:
    memory = Memory(release())
    config = created_config(release(), group())
    config["metadata"][INTENT] = "{}"
    memory.created(machine("m9", config=config))
    assert memory.born_marked == {"m9"}


def test_a_create_that_never_landed_is_waited_for_no_more() -> None:
    memory = Memory(release())
    memory.create_lost("web-1", 3.0)
    memory.create_lost("web-2", 4.0)
    memory.create_never_landed("web-2")
    assert memory.lost_creates == {"web-1": 3.0}


def test_the_last_write_without_an_answer_counts_whatever_it_was() -> None:
    memory = Memory(release())
    memory.unanswered(8.0)
    memory.create_lost("web-1", 3.0)
    assert memory.last_unanswered == 8.0
    memory.create_lost("web-2", 9.0)
    assert memory.last_unanswered == 9.0


def test_a_destroy_that_was_refused_has_destroyed_nothing(memory: Memory) -> None:
    memory.destroying("m1")
    assert (memory.destroyed, memory.written) == ({"m1"}, {"m1"})
    memory.destroy_refused("m1")
    assert (memory.destroyed, memory.written) == (set(), {"m1"})


def test_exits_from_before_the_last_write_belong_to_older_versions(memory: Memory) -> None:
    assert memory.exits_after_ms("m1") == 0
    ended = replace(SEEN, exits=(Exit(code=1, at_ms=700), Exit(code=1, at_ms=900)))
    memory.looked(Fleet.of([ended]))
    assert memory.exits_after_ms("m1") == 0  # it was seen before, without them
    memory.wrote(ended)
    assert memory.exits_after_ms("m1") == 900
    later = replace(SEEN, exits=(Exit(code=1, at_ms=1200),))
    memory.forgive_exits(Fleet.of([later]))
    assert memory.exits_after_ms("m1") == 1200


def test_hiccups_are_counted_and_the_plan_is_told_once() -> None:
    memory = Memory(release())
    assert [memory.met_hiccup(), memory.met_hiccup()] == [1, 2]
    assert [memory.tell_plan(), memory.tell_plan()] == [True, False]


def test_what_is_not_known_any_more_an_overtaking_deploy_has_destroyed() -> None:
    memory = Memory(release())
    memory.created(machine("m8", name="web-8"))
    memory.created(machine("m9", name="web-9"))
    memory.gone("m9")
    memory.was_overtaken()
    assert memory.own == {"m8"}
