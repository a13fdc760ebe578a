"""The contract on the legacy path: without faults it ends in the same state as the other."""

from __future__ import annotations

from tests.contract.contract import (
    backends,
    deployed,
    fleet_of,
    is_done_cleanly,
    makes_what_each_group_needs,
    of_a_broken_app,
    strategies,
)
from tests.simulation.laws import managed


@strategies
@backends
def test_without_faults_a_deploy_is_done_keeps_the_laws_and_needs_one_pass(
    backend: str, strategy: str
) -> None:
    is_done_cleanly(backend, strategy, 0)


@strategies
@backends
def test_without_faults_both_paths_end_in_the_same_state(backend: str, strategy: str) -> None:
    legacy, _ = deployed(backend, strategy, 0)
    retrying, _ = deployed(backend, strategy, 3)
    assert fleet_of(legacy) == fleet_of(retrying)
    assert len(managed(legacy.after)) == 6


@strategies
@backends
def test_a_first_deploy_makes_what_each_group_needs(backend: str, strategy: str) -> None:
    makes_what_each_group_needs(backend, strategy, 0)


@strategies
@backends
def test_a_broken_app_is_left_in_between(backend: str, strategy: str) -> None:
    expected = 0 if strategy == "immediate" else 3  # immediate looks at nobody's health
    assert of_a_broken_app(backend, strategy, 0).exit_code == expected
