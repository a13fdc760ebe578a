"""Who is in, who enters, who leaves."""

from __future__ import annotations

import itertools

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rollout.cohort import changes, members
from rollout.evaluate import evaluate
from tests.rollout.strategies import NOW, flag, thresholds, units


@given(st.lists(units), thresholds)
def test_the_members_are_those_inside_in_their_order(drawn: list[str], threshold: int) -> None:
    asked = flag(threshold)
    inside = [u for u in drawn if evaluate(asked, {"app": u}, NOW).variant == "inside"]
    assert list(members(asked, drawn, NOW)) == inside


@given(st.lists(units), thresholds, thresholds)
def test_who_enters_and_leaves_is_the_difference_of_the_members(
    drawn: list[str], before: int, after: int
) -> None:
    was, will_be = flag(before), flag(after)
    found = list(changes(was, will_be, drawn, NOW))
    old, new = set(members(was, drawn, NOW)), set(members(will_be, drawn, NOW))
    assert {change.unit for change in found if change.enters} == new - old
    assert {change.unit for change in found if change.leaves} == old - new
    assert all(change.enters or change.leaves for change in found)


def test_a_new_value_is_a_change_without_entering_or_leaving() -> None:
    was = flag(100_000)
    will_be = msgspec.structs.replace(was, inside=6)
    (change,) = changes(was, will_be, ["hello"], NOW)
    assert not change.enters
    assert not change.leaves
    assert (change.before.value, change.after.value) == (5, 6)


def test_units_are_streamed() -> None:
    endless = (str(number) for number in itertools.count())
    assert len(list(itertools.islice(members(flag(50_000), endless, NOW), 10))) == 10
