from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.api.machine import Fleet, Machine
from deploy.plan.configs import created_config, mounts_fit, updated_config
from deploy.plan.release import group_digest, is_current, next_number, unavailable_limit
from deploy.plan.stamps import (
    DEPLOY,
    DIGEST,
    FROM,
    INTENT,
    ROLE,
    WAS,
    is_made_by,
    is_stamped,
    read_was,
    replaced_by,
    role_of,
    was,
)
from tests.worlds.fleets import (
    MOUNTS,
    NEW_ID,
    OLD_ID,
    group,
    machine,
    normalised,
    release,
    specs,
    thrifty,
    with_metadata,
)


def updated(one: Machine, spec: Any = None, *, launch: bool = True) -> Machine:
    """The machine after an update to the new release, as the server hands it back."""
    spec = spec or group()
    config = normalised(updated_config(release(spec), spec, one, launch=launch))
    return replace(one, config=config, version="v1")


# -- digests ---------------------------------------------------------------------------


@thrifty
@given(specs("web"))
def test_a_machine_is_current_after_its_update_on_a_server_that_normalises(spec: Any) -> None:
    one = machine("m1", spec)
    assert not is_current(release(spec), spec, one)
    assert is_current(release(spec), spec, updated(one, spec))


def test_the_order_of_keys_changes_no_digest() -> None:
    first = group(env={"A": "1", "B": "2"})
    second = group(env={"B": "2", "A": "1"})
    assert group_digest("x", first) == group_digest("x", second)


@thrifty
@given(specs("web"), specs("web"))
def test_two_configurations_share_a_digest_only_when_they_are_equal(one: Any, two: Any) -> None:
    same = one.config == two.config
    assert (group_digest("x", one) == group_digest("x", two)) is same


@pytest.mark.parametrize(
    "stamps",
    [
        {"fly_release_id": "other-tool"},
        {DEPLOY: "other"},
        {DIGEST: "0" * 16},
    ],
    ids=lambda stamps: next(iter(stamps)),
)
def test_a_stamp_counts_only_beside_the_release_id_that_it_came_with(
    stamps: dict[str, str],
) -> None:
    one = updated(machine())
    assert is_current(release(), group(), one)
    assert not is_current(release(), group(), with_metadata(one, **stamps))


def test_what_a_deploy_stamped_is_not_its_own_when_another_tool_wrote_since() -> None:
    one = updated(machine())
    assert is_stamped(one, NEW_ID)
    assert not is_stamped(one, OLD_ID)
    assert not is_stamped(with_metadata(one, fly_release_id="theirs"), NEW_ID)


# -- what an update sends --------------------------------------------------------------


def test_the_way_back_is_written_once_and_kept_by_later_updates_of_the_same_deploy() -> None:
    once = updated(machine(version="v0", cordoned=True))
    assert once.metadata[FROM] == "v0"
    assert read_was(once.metadata[WAS]) == ("started", True)
    twice = updated(replace(once, version="v5", state="stopped", cordoned=False))
    assert twice.metadata[FROM] == "v0"
    assert twice.metadata[WAS] == once.metadata[WAS]


def test_nulls_are_not_sent_back() -> None:
    config = updated_config(release(), group(), machine(), launch=True)
    assert None not in config.values()


def test_a_mount_keeps_the_volume_that_the_machine_has() -> None:
    spec = group(services=[], mounts=MOUNTS)
    one = machine("m1", spec)
    mounted = replace(one, config={**one.config, "mounts": [{**MOUNTS[0], "volume": "vol_1"}]})
    config = updated_config(release(spec), spec, mounted, launch=True)
    assert config["mounts"] == [{**MOUNTS[0], "volume": "vol_1"}]


@pytest.mark.parametrize(
    ("wanted", "present", "fit"),
    [
        ([], [], True),
        (MOUNTS, MOUNTS, True),
        (MOUNTS, [], False),
        ([], MOUNTS, False),
        (MOUNTS, [{"name": "data", "path": "/other"}], False),
        (MOUNTS, [{"name": "other", "path": "/data"}], False),
        (MOUNTS, [{"path": "/data", "volume": "vol_1"}], True),
        (MOUNTS, [{"name": None, "path": "/data"}], True),
    ],
)
def test_mounts_fit_when_paths_and_known_names_agree(
    wanted: list[Any], present: list[Any], fit: bool
) -> None:
    one = replace(machine(), config={"mounts": present})
    assert mounts_fit(group(mounts=wanted), one) is fit


# -- who made a machine ----------------------------------------------------------------


def test_a_created_machine_is_recognised_by_its_name_and_its_stamp_together() -> None:
    made = machine("m1", config=created_config(release(), group()), name="web-3")
    assert is_made_by(made, NEW_ID)
    assert not is_made_by(made, OLD_ID)
    assert not is_made_by(replace(made, name="a-clone"), NEW_ID)
    assert not is_made_by(updated(machine()), NEW_ID)


def test_a_role_counts_only_with_the_name_that_goes_with_it() -> None:
    role = f"replaces m0 {NEW_ID}"
    green = machine(
        "m1", config=created_config(release(), group(), role=role), name=f"web-m0-{NEW_ID[-6:]}"
    )
    assert role_of(green) == ("replaces", "m0", NEW_ID)
    assert replaced_by(green, NEW_ID) == "m0"
    assert replaced_by(green, OLD_ID) == ""
    assert role_of(replace(green, name="a-clone")) == ("", "", "")


@pytest.mark.parametrize("text", ["", "canary", "canary ", "replaces", "owns m0 x", " ", "x" * 99])
def test_a_role_that_nobody_gave_is_none(text: str) -> None:
    assert role_of(with_metadata(machine(name=f"web-{NEW_ID[-6:]}"), **{ROLE: text}))[0] == ""


def test_the_next_deploy_takes_the_role_and_keeps_the_intent() -> None:
    role = f"replaces m0 {OLD_ID}"
    green = machine("m1", name=f"web-m0-{OLD_ID[-6:]}")
    green = with_metadata(green, **{ROLE: role, INTENT: "{}"})
    metadata = updated_config(release(), group(), green, launch=True)["metadata"]
    assert ROLE not in metadata
    assert metadata[INTENT] == "{}"


@thrifty
@given(st.sampled_from(["started", "stopped", "suspended"]), st.booleans())
def test_state_and_cordon_are_read_back_as_they_were(state: str, cordoned: bool) -> None:
    assert read_was(was(machine(state=state, cordoned=cordoned))) == (state, cordoned)


# -- numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "size", "limit"),
    [
        (Decimal("0.33"), 1, 1),
        (Decimal("0.33"), 3, 1),
        (Decimal("0.33"), 4, 2),
        (Decimal("0.33"), 10, 4),
        (Decimal("0.01"), 5, 1),
        (Decimal("0.99"), 5, 5),
        (Decimal("0.5"), 2, 1),
        (1, 10, 1),
        (3, 10, 3),
        (50, 10, 10),
        (2, 0, 1),
        (Decimal("0.33"), 0, 1),
        (Decimal(2), 10, 2),
    ],
)
def test_max_unavailable_is_a_count_or_a_fraction_rounded_up(
    said: Decimal | int, size: int, limit: int
) -> None:
    assert unavailable_limit(said, size) == limit


@thrifty
@given(st.decimals("0.0001", 1000, allow_nan=False), st.integers(0, 2000))
@example(Decimal("0.3333333333333333333333333333333333333333"), 3)
def test_a_deploy_can_always_go_on_and_never_takes_more_than_there_are(
    said: Decimal, size: int
) -> None:
    assert 1 <= unavailable_limit(said, size) <= max(size, 1)


def test_release_numbers_go_on_from_the_highest_that_is_readable() -> None:
    numbers = ["7", "12", "x", "-3", "²", ""]
    fleet = Fleet.of(
        with_metadata(machine(f"m{n}"), fly_release_version=text) for n, text in enumerate(numbers)
    )
    assert next_number(fleet) == 13
    assert next_number(Fleet()) == 1
