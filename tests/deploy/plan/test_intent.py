from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.api.machine import Fleet
from deploy.plan.intent import (
    BACK,
    FORWARD,
    Intent,
    carriers,
    carrying,
    overtaker,
    read_intent,
)
from deploy.plan.stamps import INTENT
from tests.worlds.fleets import group, machine, release, updated, with_metadata

texts = st.text(max_size=20)


words = st.lists(texts, max_size=4).map(tuple)


intents = st.builds(
    Intent,
    deploy=texts,
    digest=texts,
    image=texts,
    strategy=texts,
    finish=words,
    number=st.integers(0, 1 << 40),
)


@given(intents)
def test_an_intent_is_read_back_as_it_was_written(intent: Intent) -> None:
    assert read_intent(with_metadata(machine(), **{INTENT: intent.dump()})) == intent


def test_an_intent_says_what_a_resume_needs() -> None:
    intent = Intent.of(release(strategy="canary"))
    assert intent.digest == release().digest
    assert (intent.image, intent.strategy, intent.direction) == (
        release().image,
        "canary",
        FORWARD,
    )
    assert intent.turned_back().direction == BACK


@given(texts)
@example("")
@example("null")
@example("[]")
@example("{}")
@example('"x"')
@example('{"deploy": 1}')
@example('{"x": 1}')
@example('{"finish": 1}')
@example('{"number": "x"}')
@example("[" * 100_000)
def test_what_is_no_intent_is_none_and_no_crash(text: str) -> None:
    assert read_intent(with_metadata(machine(), **{INTENT: text})) is None


def test_who_has_a_later_release_has_overtaken_an_unfinished_deploy() -> None:
    begun = replace(Intent.of(release()), number=2)
    ours = updated(machine("m1"))
    theirs = with_metadata(machine("m2"), fly_release_id="foreign", fly_release_version="2")
    before = with_metadata(theirs, fly_release_version="1")
    assert overtaker(Fleet.of([ours, theirs]), begun) == theirs
    assert overtaker(Fleet.of([ours, before]), begun) is None
    assert overtaker(Fleet.of([ours, theirs]), replace(begun, number=0)) is None  # an older intent


def test_a_machine_without_one_has_none() -> None:
    assert read_intent(machine()) is None


def test_the_first_machine_of_each_group_carries_it() -> None:
    worker = group("worker")
    fleet = Fleet.of(
        [machine("m3"), machine("m1"), machine("m2", worker), machine("m0", group(""))]
    )
    assert carriers(fleet) == ["m1", "m2"]


@pytest.mark.parametrize("ids", [set(), {"m1"}, {"m1", "m2"}])
def test_a_fleet_carrying_it_is_as_the_next_look_will_show_it(ids: set[str]) -> None:
    intent = Intent.of(release())
    fleet = carrying(Fleet.of([machine("m1"), machine("m2")]), intent, ids)
    assert {one.id for one in fleet if read_intent(one) == intent} == ids
    assert all(one.image for one in fleet)


def test_an_intent_that_another_tool_copied_forward_is_void() -> None:
    """A tool that goes over the machine keeps the metadata and writes its own release id."""
    intent = Intent.of(release())
    (marked,) = carrying(Fleet.of([machine()]), intent, {"m1"})
    assert read_intent(marked) == intent
    assert read_intent(updated(marked)) == intent  # our own update
    assert read_intent(with_metadata(marked, fly_release_id="another")) is None


def test_a_dead_machine_carries_the_intent_only_where_there_is_no_other() -> None:
    dead = replace(machine("m1"), host_status="unreachable")
    assert carriers(Fleet.of([dead, machine("m2")])) == ["m2"]
    assert carriers(Fleet.of([dead])) == ["m1"]
