from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import (
    RESERVED_GROUPS,
    RESTING,
    TERMINAL,
    TRANSIENT,
    Check,
    Exit,
    Fleet,
    Machine,
)
from tests.worlds.fleets import group, machine, with_metadata


def test_every_state_of_the_api_is_of_one_kind() -> None:
    assert not RESTING & TRANSIENT
    assert not RESTING & TERMINAL
    assert not TRANSIENT & TERMINAL
    assert len(RESTING | TRANSIENT | TERMINAL) == 17


@pytest.mark.parametrize(
    ("ended", "is_bad"),
    [
        (Exit(code=0, at_ms=1), False),
        (Exit(code=1, at_ms=1), True),
        (Exit(code=143, at_ms=1, requested=True), False),
        (Exit(code=137, at_ms=1, oom_killed=True), True),
        (Exit(code=0, at_ms=1, oom_killed=True), True),
        (Exit(code=137, at_ms=1, oom_killed=True, requested=True), False),
    ],
)
def test_an_exit_is_bad_unless_it_was_asked_for_or_clean(ended: Exit, is_bad: bool) -> None:
    assert ended.is_bad is is_bad


def test_an_exit_names_its_reason() -> None:
    assert Exit(code=137, at_ms=1, oom_killed=True).reason == "out of memory"
    assert Exit(code=3, at_ms=1).reason == "exit code 3"


def test_zero_check_results_are_not_a_pass() -> None:
    assert machine().checks_pass
    assert not replace(machine(), checks=()).checks_pass
    assert not replace(machine(), checks=(Check("a", "warning"),)).checks_pass


def test_a_machine_without_checks_passes_without_results() -> None:
    assert machine("m1", group(services=[])).checks_pass


@pytest.mark.parametrize(
    "change",
    [
        {"state": "stopped"},
        {"cordoned": True},
        {"checks": (Check("a", "critical"),)},
        {"host_status": "unreachable"},
        {"incomplete": True},
    ],
    ids=str,
)
def test_serving_needs_all_of_it(change: dict[str, object]) -> None:
    assert machine().is_serving
    assert not replace(machine(), **change).is_serving  # type: ignore[arg-type]  # a row's fields


@pytest.mark.parametrize("name", sorted(RESERVED_GROUPS))
def test_helpers_of_the_platforms_tools_are_not_managed(name: str) -> None:
    assert machine().is_managed
    assert not with_metadata(machine(), fly_process_group=name).is_managed


def test_a_machine_that_no_platform_tool_made_is_not_managed() -> None:
    assert not with_metadata(machine(), fly_platform_version="").is_managed
    assert not with_metadata(machine(), fly_process_group="").is_managed
    assert not Machine(id="m", state="started", config={"image": "x"}).is_managed


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_what_is_over_is_not_managed(state: str) -> None:
    assert not replace(machine(), state=state).is_managed


@given(st.permutations(["m1", "m2", "m3", "m4"]))
def test_a_fleet_is_in_the_order_of_ids_however_it_was_listed(ids: list[str]) -> None:
    fleet = Fleet.of(machine(one) for one in ids)
    assert [one.id for one in fleet] == ["m1", "m2", "m3", "m4"]
    assert list(fleet.by_id) == ["m1", "m2", "m3", "m4"]


def test_a_null_configuration_has_no_metadata_services_or_checks() -> None:
    nulls = {"metadata": None, "services": None, "checks": None, "image": None}
    one = Machine(id="m", state="started", config=nulls)
    assert (one.metadata, one.group, one.image, one.configured_checks) == ({}, "", "", 0)
