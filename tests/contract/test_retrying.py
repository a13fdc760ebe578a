"""The contract on the retrying path."""

from __future__ import annotations

from deploy.events import Result
from tests.contract.contract import (
    backends,
    deployed,
    fleet_of,
    is_done_cleanly,
    makes_what_each_group_needs,
    of_a_broken_app,
    strategies,
)

RETRIES = 3


@strategies
@backends
def test_without_faults_a_deploy_is_done_keeps_the_laws_and_needs_one_pass(
    backend: str, strategy: str
) -> None:
    is_done_cleanly(backend, strategy, RETRIES)


@strategies
def test_both_clocks_tell_of_the_same_end(strategy: str) -> None:
    on_asyncio, _ = deployed("asyncio", strategy, RETRIES)
    on_trio, _ = deployed("trio", strategy, RETRIES)
    assert fleet_of(on_asyncio) == fleet_of(on_trio)


@strategies
@backends
def test_a_first_deploy_makes_what_each_group_needs(backend: str, strategy: str) -> None:
    makes_what_each_group_needs(backend, strategy, RETRIES)


@strategies
@backends
def test_from_a_broken_app_it_goes_back(backend: str, strategy: str) -> None:
    finished = of_a_broken_app(backend, strategy, RETRIES)
    if strategy == "immediate":  # it looks at nobody's health
        assert finished.exit_code == 0
    else:
        assert (finished.exit_code, finished.result) == (1, Result.ROLLED_BACK)
