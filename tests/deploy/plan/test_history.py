from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.api.machine import Fleet, Machine
from deploy.plan.history import Outcome, releases_of, time_ms
from deploy.plan.stamps import DEPLOY

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"  # the example of the ULID specification: 1469922850259 ms


def _config(number: int, deploy: str = "") -> dict[str, Any]:
    own = deploy or f"d{number}"
    return {
        "image": f"x:{number}",
        "metadata": {"fly_release_id": own, "fly_release_version": str(number), DEPLOY: own},
    }


def _machine(id_: str, config: dict[str, Any], version: str = "now") -> Machine:
    return Machine(id=id_, state="started", version=version, config=config)


def _told(ran: Mapping[str, list[int]]) -> list[tuple[int, str]]:
    """(release, outcome), newest first, of machines that ran these releases, oldest first."""
    fleet = Fleet.of(_machine(id_, _config(numbers[-1])) for id_, numbers in ran.items())
    versions = {
        id_: {f"v{nth}": _config(numbers[nth]) for nth in range(len(numbers) - 2, -1, -1)}
        for id_, numbers in ran.items()
    }
    return [(past.number, past.outcome) for past in releases_of(fleet, versions)]


@pytest.mark.parametrize(
    ("ran", "outcome"),
    [
        ({"a": [1, 2], "b": [1, 2]}, Outcome.DONE),
        ({"a": [1, 2], "b": [1]}, Outcome.IN_BETWEEN),
        ({"a": [1, 2, 1], "b": [1]}, Outcome.ROLLED_BACK),
        ({"a": [1, 2, 1], "b": [1, 2, 1]}, Outcome.ROLLED_BACK),
        ({"a": [1, 2, 1, 2], "b": [1, 2]}, Outcome.DONE),
        ({"a": [1, 2, 3], "b": [1, 2, 3]}, Outcome.DONE),
        ({"a": [2]}, Outcome.DONE),
    ],
)
def test_how_a_release_ended_is_read_off_what_the_machines_ran_next(
    ran: Mapping[str, list[int]], outcome: Outcome
) -> None:
    assert (2, outcome) in _told(ran)


def test_releases_come_by_their_time_whatever_their_numbers() -> None:
    late, early = "01BRZ3NDEKTSV4RRFFQ69G5FAV", ULID
    fleet = Fleet.of([_machine("a", _config(4), version=late)])
    past = releases_of(fleet, {"a": {early: _config(9)}})
    assert [one.number for one in past] == [4, 9]
    assert past[1].at == datetime.fromtimestamp(1469922850.259, UTC)


@pytest.mark.parametrize("text", ["", "v1", ULID[:-1], ULID.lower(), "Z" * 26, "0" * 25 + "U"])
def test_what_is_no_ulid_tells_no_time(text: str) -> None:
    assert time_ms(text) == 0


def test_a_ulid_tells_the_millisecond() -> None:
    assert time_ms(ULID) == 1469922850259
