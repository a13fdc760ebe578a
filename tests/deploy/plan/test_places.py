"""Who stands in for whom: a table of situations, and what holds for any of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Machine
from deploy.plan.configs import created_config
from deploy.plan.places import Place, Places, places_of
from deploy.plan.stamps import ROLE, Role, canary_name, is_made_by, replacement_name, role_of
from tests.worlds.fleets import NEW_ID, OLD_ID, group, machine, release, thrifty, with_metadata

OLDER_ID = "0000000000older"
BLUE = machine("m1")


def stand_in(
    machine_id: str, before: Machine, *, by: str = NEW_ID, root: str = "", cordoned: bool = False
) -> Machine:
    """A machine that deploy `by` made in the place of another, which was at first `root`'s."""
    name = replacement_name(before, by)
    role = Role(by, root or before.id)
    return with_metadata(machine(machine_id, name=name, cordoned=cordoned), **{ROLE: str(role)})


def canary(machine_id: str, by: str = NEW_ID) -> Machine:
    config = created_config(release(deploy_id=by), group(), Role(by))
    return machine(machine_id, config=config, name=canary_name("web", by))


@dataclass(frozen=True)
class Row:
    """A place, and what is to be read off it. Ids, empty where there is none."""

    name: str
    machines: Sequence[Machine]
    root: str
    members: str
    occupant: str
    before: str = ""
    heir: str = ""

    @property
    def surplus(self) -> set[str]:
        return set(self.members.split()) - {self.occupant}


GREEN = stand_in("m2", BLUE, cordoned=True)
SECOND = stand_in("m3", GREEN, root="m1", cordoned=True)
THIRD = stand_in("m0", SECOND, root="m1")  # ids say nothing about the order
ABANDONED = stand_in("m4", BLUE, by=OLD_ID, cordoned=True)
SWITCHED = stand_in("m4", BLUE, by=OLD_ID)
AFTER_SWITCHED = stand_in("m5", SWITCHED)
AFTER_ABANDONED = stand_in("m5", BLUE)

ROWS = [
    Row("nobody stands in", [BLUE], "m1", "m1", "m1", before="m1"),
    Row("a green beside its blue", [BLUE, GREEN], "m1", "m1 m2", "m2", before="m1"),
    Row("a green whose blue is gone", [GREEN], "m1", "m2", "m2", heir="m2"),
    Row(
        "an abandoned green of another deploy",
        [BLUE, ABANDONED],
        *("m1", "m1 m4", "m1"),
        before="m1",
    ),
    Row("a green that another deploy switched on", [BLUE, SWITCHED], "m1", "m1 m4", "m4", "m4"),
    Row("an abandoned green is all there is", [ABANDONED], "m1", "m4", "m4", before="m4"),
    Row(
        "a replacement of a green that another deploy switched on",
        [BLUE, SWITCHED, AFTER_SWITCHED],
        *("m1", "m1 m4 m5", "m5"),
        before="m4",
    ),
    Row(
        "the same, when the first is gone",
        [SWITCHED, AFTER_SWITCHED],
        *("m1", "m4 m5", "m5"),
        before="m4",
    ),
    Row(
        "the same, when all before it are gone",
        [AFTER_SWITCHED],
        *("m4", "m5", "m5"),
        heir="m5",
    ),
    Row(
        "a stand-in beside an abandoned green",
        [BLUE, ABANDONED, AFTER_ABANDONED],
        *("m1", "m1 m4 m5", "m5"),
        before="m1",
    ),
    Row(
        "a chain of replacements",
        [THIRD, BLUE, GREEN, SECOND],
        *("m1", "m1 m2 m3 m0", "m0"),
        before="m1",
    ),
    Row("a chain without its first", [GREEN, SECOND, THIRD], "m1", "m2 m3 m0", "m0", heir="m0"),
    Row("a chain without its middle", [BLUE, THIRD], "m1", "m1 m0", "m0", before="m1"),
    Row("a chain without all but its last", [THIRD], "m1", "m0", "m0", heir="m0"),
    Row("a chain without its last", [BLUE, GREEN, SECOND], "m1", "m1 m2 m3", "m3", before="m1"),
    Row(
        "a clone that copied a green's metadata",
        [machine("m9", config=GREEN.config, name="somebody-elses")],
        *("m9", "m9", "m9"),
        before="m9",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("turned", [False, True], ids=["", "the other way round"])
def test_a_place_is_read_off_the_stamps(row: Row, turned: bool) -> None:
    listed = list(reversed(row.machines)) if turned else row.machines
    (place,) = places_of(listed, NEW_ID)
    assert place.id == row.root
    assert [member.id for member in place.members] == row.members.split()
    assert place.occupant.id == row.occupant
    assert (place.before.id if place.before else "") == row.before
    assert (place.heir.id if place.heir else "") == row.heir
    assert {one.id for one in place.surplus} == row.surplus


def test_a_canary_holds_no_place_and_is_surplus() -> None:
    bird, theirs = canary("m2"), canary("m3", OLD_ID)
    places = places_of([BLUE, bird, theirs], NEW_ID)
    assert [place.id for place in places] == ["m1"]
    assert places.canaries == (bird, theirs)
    assert places.surplus == {"m2", "m3"}
    assert "m2" not in places.by_machine


def test_a_clone_of_a_canary_holds_a_place_of_its_own() -> None:
    clone = replace(canary("m2"), name="somebody-elses")
    places = places_of([BLUE, clone], NEW_ID)
    assert sorted(place.id for place in places) == ["m1", "m2"]
    assert (places.canaries, places.surplus) == ((), frozenset())


def test_places_do_not_mix() -> None:
    other = machine("m7", group("worker"))
    green = stand_in("m8", other)
    places = places_of([BLUE, GREEN, other, green], NEW_ID)
    assert {place.id: [m.id for m in place.members] for place in places} == {
        "m1": ["m1", "m2"],
        "m7": ["m7", "m8"],
    }
    assert places.by_machine["m8"].id == "m7"
    assert places.surplus == {"m1", "m7"}


def test_two_that_say_they_replace_each_other_are_read_without_end() -> None:
    one = with_metadata(machine("m1"), **{ROLE: f"replaces m2 {NEW_ID}"})
    two = stand_in("m2", one)
    one = replace(one, name=replacement_name(two, NEW_ID))
    places = places_of([one, two], NEW_ID)
    _check(places, [one, two])


# -- what holds for any machines ---------------------------------------------------------

DEPLOYS = (OLDER_ID, OLD_ID, NEW_ID)


@st.composite
def fleets(draw: st.DrawFn) -> list[Machine]:
    """Machines of one group, some made in others' places, a few of those gone by now."""
    found: list[Machine] = []
    roots: dict[str, str] = {}
    for number in range(draw(st.integers(1, 8))):
        machine_id = f"m{number}"
        kind = draw(st.sampled_from(["first", "stand-in", "stand-in", "canary", "clone"]))
        by = draw(st.sampled_from(DEPLOYS))
        if kind == "first" or not found:
            one = machine(machine_id)
        elif kind == "canary":
            one = replace(canary(machine_id, by), cordoned=draw(st.booleans()))
        elif kind == "clone":
            one = replace(draw(st.sampled_from(found)), id=machine_id, name=f"clone-{number}")
        else:
            before = draw(st.sampled_from(found))
            # A deploy passes on the place that it gave itself; of others it sees only the holder.
            mine = (role := role_of(before)) is not None and role.maker == by
            root = roots.get(before.id, "") if mine else ""
            one = stand_in(machine_id, before, by=by, root=root, cordoned=draw(st.booleans()))
            roots[machine_id] = root or before.id
        found.append(one)
    gone = draw(st.sets(st.sampled_from([one.id for one in found]), max_size=3))
    left = [one for one in found if one.id not in gone]
    return draw(st.permutations(left))


def _check(places: Places, machines: list[Machine]) -> None:
    """What is consistent in itself, whoever made the machines."""
    held = [member.id for place in places for member in place.members]
    birds = [bird.id for bird in places.canaries]
    assert Counter(held + birds) == Counter(one.id for one in machines)
    assert len({place.id for place in places}) == len(places.places)
    for place in places:
        _check_place(place)
        assert all(places.by_machine[member.id] is place for member in place.members)
    beside = {one.id for place in places for one in place.surplus}
    assert places.surplus == beside | set(birds)


def _check_place(place: Place) -> None:
    assert place.occupant in place.members
    assert len(place.surplus) == len(place.members) - 1
    assert place.occupant not in place.surplus
    if place.before is not None:
        assert place.before in place.members
        assert not is_made_by(place.before, NEW_ID)
        assert place.heir is None
    else:
        assert all(is_made_by(member, NEW_ID) for member in place.members)
    if place.heir is not None:
        assert place.heir is place.occupant
    if place.stand_ins:
        assert place.occupant in place.stand_ins or not is_made_by(place.members[-1], NEW_ID)
    assert all(is_made_by(one, NEW_ID) for one in place.stand_ins)


@thrifty
@given(fleets())
def test_every_machine_is_in_one_place_with_one_occupant_or_a_canary(
    machines: list[Machine],
) -> None:
    _check(places_of(machines, NEW_ID), machines)


@thrifty
@given(fleets(), st.randoms(use_true_random=False))
def test_the_order_of_a_list_changes_no_place(machines: list[Machine], chance: object) -> None:
    shuffled = list(machines)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis's own Random
    one, two = (
        {p.id: [m.id for m in p.members] for p in places_of(each, NEW_ID)}
        for each in (machines, shuffled)
    )
    assert one == two


@thrifty
@given(fleets())
def test_without_a_deploy_of_its_own_who_counts_is_who_counted_before(
    machines: list[Machine],
) -> None:
    for place in places_of(machines, "0fffffffffnobody"):
        assert place.before is place.occupant
        assert (place.heir, place.stand_ins) == (None, ())
