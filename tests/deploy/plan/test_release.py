from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.api.machine import Fleet
from deploy.plan.release import group_digest, is_current, next_number, unavailable_limit
from deploy.plan.stamps import DEPLOY, DIGEST
from tests.worlds.fleets import group, machine, release, specs, thrifty, updated, with_metadata

# -- digests ---------------------------------------------------------------------------


@thrifty
@given(specs("web"))
def test_a_machine_is_current_after_its_update_on_a_server_that_normalises(spec: Any) -> None:
    one = machine("m1", spec)
    assert not is_current(release(spec), one)
    assert is_current(release(spec), updated(one, spec))


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
    assert is_current(release(), one)
    assert not is_current(release(), with_metadata(one, **stamps))


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
