"""Who is in, who enters, who leaves: what `evaluate` says of each unit, for many at once."""

from __future__ import annotations

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from rollout.bucketing import Draw
from rollout.evaluate import evaluate
from rollout.flag import Flag
from rollout.review.cohort import Tally, members, names, tally
from tests.rollout.strategies import NOW, flag, generations, thresholds, units


@st.composite
def states(draw: st.DrawFn, listed: list[str]) -> Flag:
    """Any state of a flag, with lists that name some of the units that are asked for."""
    lists = st.dictionaries(
        st.sampled_from(["app", "org"]),
        st.frozensets(units | st.sampled_from(listed or ["a"]), max_size=3),
    )
    made = flag(
        draw(thresholds), draw=Draw(*draw(st.tuples(st.sampled_from(["s", "t"]), generations)))
    )
    return msgspec.structs.replace(
        made,
        enabled=draw(st.booleans()),
        always_inside=draw(lists),
        always_outside=draw(lists),
    )


def inside(asked: Flag, unit: str) -> bool:
    return evaluate(asked, {"app": unit}, NOW).variant == "inside"


@given(st.lists(units), st.data())
def test_the_members_are_those_inside_in_their_order(drawn: list[str], data: st.DataObject) -> None:
    asked = data.draw(states(drawn))
    expected = [unit.encode() for unit in drawn if inside(asked, unit)]
    assert members(asked, [unit.encode() for unit in drawn], NOW) == expected


@given(st.lists(units), st.data())
def test_names_and_tallies_are_the_difference_of_two_states(
    drawn: list[str], data: st.DataObject
) -> None:
    before, after = data.draw(states(drawn)), data.draw(states(drawn))
    asked = [unit.encode() for unit in drawn]
    found = names(before, after, asked, NOW)
    kinds = [(inside(before, unit), inside(after, unit)) for unit in drawn]
    for kind, listed in zip(
        [(True, True), (False, True), (True, False), (False, False)], found, strict=True
    ):
        assert listed == [unit for unit, k in zip(asked, kinds, strict=True) if k == kind]
    assert tally(before, after, asked, NOW) == Tally(*map(len, found))


@given(st.lists(units), thresholds, thresholds)
@example(["a", "b"], 0, 100_000)
def test_a_bump_throws_nobody_out(drawn: list[str], one: int, other: int) -> None:
    low, high = sorted((one, other))
    asked = [unit.encode() for unit in drawn]
    counts = tally(flag(low), flag(high), asked, NOW)
    assert counts.leaves == 0
    assert tally(flag(high), flag(low), asked, NOW).enters == 0
    assert counts.inside_after - counts.inside_before == counts.enters


def test_of_a_flag_that_is_not_there_nobody_is_inside() -> None:
    asked = [b"a", b"b"]
    everybody = flag(100_000)
    assert tally(None, everybody, asked, NOW) == Tally(enters=2)
    assert tally(everybody, None, asked, NOW) == Tally(leaves=2)
    assert tally(None, None, asked, NOW) == Tally(stays_outside=2)


def test_tallies_add_up() -> None:
    assert Tally(1, 2, 3, 4).plus(Tally(10, 20, 30, 40)) == Tally(11, 22, 33, 44)
