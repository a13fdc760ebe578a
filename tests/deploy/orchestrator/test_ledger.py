"""What a list of machines says is held against what the run knows of its own writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.api.machine import Fleet, Machine
from deploy.orchestrator.ledger import Ledger
from tests.worlds.fleets import machine

SEEN = machine("m1")


@pytest.fixture
def ledger() -> Ledger:
    found = Ledger()
    found.look(Fleet.of([SEEN]))
    return found


@pytest.mark.parametrize(
    ("listed", "contradicted"),
    [
        ({"m1": SEEN}, []),
        ({"m1": replace(SEEN, version="another")}, ["m1"]),
        ({"m1": replace(SEEN, cordoned=True)}, []),  # nobody here has written that
        ({}, ["m1"]),
    ],
)
def test_another_version_and_a_machine_that_is_missing_are_odd(
    ledger: Ledger, listed: dict[str, Machine], contradicted: list[str]
) -> None:
    assert ledger.contradicted_by(listed) == contradicted


def test_a_cordon_that_was_taken_off_is_odd_until_a_read_says_so(ledger: Ledger) -> None:
    cordoned = replace(SEEN, cordoned=True)
    ledger.cordoned["m1"] = False
    assert ledger.contradicted_by({"m1": cordoned}) == ["m1"]
    ledger.saw(cordoned)
    assert ledger.contradicted_by({"m1": cordoned}) == []
    assert ledger.contradicted_by({"m1": SEEN}) == ["m1"]


def test_a_machine_that_was_destroyed_is_odd_unless_it_is_on_its_way_out(ledger: Ledger) -> None:
    ledger.destroyed.add("m1")
    ledger.gone("m1")
    assert ledger.contradicted_by({}) == []
    assert ledger.contradicted_by({"m1": SEEN}) == ["m1"]
    assert ledger.contradicted_by({"m1": replace(SEEN, state="destroying")}) == []


def test_of_what_an_earlier_run_made_only_its_absence_is_odd() -> None:
    ledger = Ledger()
    ledger.own, ledger.inherited = {"m1"}, {"m1"}
    assert ledger.contradicted_by({}) == ["m1"]
    assert ledger.contradicted_by({"m1": SEEN}) == []
