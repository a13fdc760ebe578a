from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Fleet, Machine
from deploy.errors import UsageProblem
from deploy.plan.selection import Selection
from tests.worlds.fleets import group, machine

FLEET = Fleet.of(
    [
        machine("m1", region="ams", name="web-1"),
        machine("m2", region="fra", name="web-2"),
        machine("m3", group("worker"), region="ams", name="worker-1"),
        Machine(id="m9", state="started", name="builder", region="ams"),
    ]
)


def ids(selection: Selection) -> list[str]:
    return [one.id for one in selection.of(FLEET)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["m1", "m2", "m3", "m9"]),
        ({"only_machines": ["m1"]}, ["m1"]),
        ({"only_machines": ["web-2"]}, ["m2"]),
        ({"exclude_machines": ["m1", "worker-1"]}, ["m2", "m9"]),
        ({"regions": ["ams"]}, ["m1", "m3", "m9"]),
        ({"exclude_regions": ["ams"]}, ["m2"]),
        ({"process_groups": ["worker"]}, ["m3"]),
        ({"regions": ["ams"], "process_groups": ["web"]}, ["m1"]),
        ({"only_machines": ["m1", "m2"], "exclude_machines": ["m1"]}, ["m2"]),
        ({"regions": ["ams"], "exclude_regions": ["ams"]}, []),
    ],
    ids=str,
)
def test_a_selection_takes_what_it_says(fields: dict[str, Any], expected: list[str]) -> None:
    selection = Selection(**{key: frozenset(value) for key, value in fields.items()})
    assert ids(selection) == expected


names = st.frozensets(st.sampled_from(["m1", "m2", "m3", "web-1", "nobody"]), max_size=3)
places = st.frozensets(st.sampled_from(["ams", "fra", "iad"]), max_size=2)


@given(
    st.builds(
        Selection,
        only_machines=names,
        exclude_machines=names,
        regions=places,
        exclude_regions=places,
    )
)
def test_what_is_excluded_is_out_even_if_it_is_named(selection: Selection) -> None:
    for one in selection.of(FLEET):
        assert not {one.id, one.name} & selection.exclude_machines
        assert one.region not in selection.exclude_regions


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"only_machines": ["m8"]}, "no machine m8"),
        ({"exclude_machines": ["m8", "a"]}, "no machine a, m8"),
        ({"only_machines": ["m9"]}, "no machine m9"),
        ({"regions": ["syd"]}, "matches no machine"),
        ({"exclude_regions": ["ams", "fra"]}, "matches no machine"),
        ({"only_machines": ["m1"], "exclude_machines": ["m1"]}, "matches no machine"),
    ],
    ids=str,
)
def test_a_selection_that_matches_nothing_is_an_error(fields: dict[str, Any], words: str) -> None:
    selection = Selection(**{key: frozenset(value) for key, value in fields.items()})
    with pytest.raises(UsageProblem, match=words) as caught:
        selection.refuse_nothing("hello", FLEET)
    assert "deploy status" in caught.value.hint


def test_everything_and_groups_refuse_nothing() -> None:
    Selection().refuse_nothing("hello", Fleet())
    Selection(process_groups=frozenset({"new"})).refuse_nothing("hello", FLEET)
