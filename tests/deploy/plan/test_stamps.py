from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Exit
from deploy.plan.configs import created_config
from deploy.plan.stamps import (
    ROLE,
    Role,
    is_made_by,
    is_stamped,
    read_was,
    replaced_by,
    role_of,
    was,
)
from tests.worlds.fleets import (
    NEW_ID,
    OLD_ID,
    group,
    machine,
    release,
    thrifty,
    updated,
    with_metadata,
)


def test_what_a_deploy_stamped_is_not_its_own_when_another_tool_wrote_since() -> None:
    one = updated(machine())
    assert is_stamped(one, NEW_ID)
    assert not is_stamped(one, OLD_ID)
    assert not is_stamped(with_metadata(one, fly_release_id="theirs"), NEW_ID)


def test_a_created_machine_is_recognised_by_its_name_and_its_stamp_together() -> None:
    made = machine("m1", config=created_config(release(), group()), name="web-3")
    assert is_made_by(made, NEW_ID)
    assert not is_made_by(made, OLD_ID)
    assert not is_made_by(replace(made, name="a-clone"), NEW_ID)
    assert not is_made_by(updated(machine()), NEW_ID)


def test_a_role_counts_only_with_the_name_that_goes_with_it() -> None:
    role = Role(NEW_ID, "m0")
    green = machine(
        "m1", config=created_config(release(), group(), role=role), name=f"web-m0-{NEW_ID[-6:]}"
    )
    assert role_of(green) == role
    assert replaced_by(green, NEW_ID) == "m0"
    assert replaced_by(green, OLD_ID) == ""
    assert role_of(replace(green, name="a-clone")) is None


@pytest.mark.parametrize("text", ["", "canary", "canary ", "replaces", "owns m0 x", " ", "x" * 99])
def test_a_role_that_nobody_gave_is_none(text: str) -> None:
    assert role_of(with_metadata(machine(name=f"web-{NEW_ID[-6:]}"), **{ROLE: text})) is None


@thrifty
@given(st.sampled_from(["started", "stopped", "suspended"]), st.booleans())
def test_state_and_cordon_are_read_back_as_they_were(state: str, cordoned: bool) -> None:
    assert read_was(was(machine(state=state, cordoned=cordoned))) == (state, cordoned, False)


def test_a_machine_that_is_down_by_its_own_exit_is_read_back_as_down() -> None:
    crashed = machine(state="stopped", exits=(Exit(code=3, at_ms=1),))
    assert read_was(was(crashed)) == ("stopped", False, True)
    asked = machine(state="stopped", exits=(Exit(code=3, at_ms=1, requested=True),))
    assert read_was(was(asked)) == ("stopped", False, False)
