from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from deploy.commands.history import show_history
from deploy.plan.history import Outcome, PastRelease

OLD = PastRelease(
    number=1,
    is_number_shared=False,
    deploy="d1",
    image="x:1",
    at=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
    is_ours=True,
    outcome=Outcome.DONE,
    machines=3,
    present=3,
    is_current=False,
)
NEW = replace(OLD, number=2, deploy="d2", image="x:2", at=None, is_ours=False, is_current=True)


def test_a_line_says_when_who_what_and_how_it_ended() -> None:
    mixed = replace(NEW, outcome=Outcome.IN_BETWEEN, machines=1, is_number_shared=True)
    heading, newest, oldest = show_history("hello", [mixed, OLD], as_json=False).splitlines()
    assert " ".join(heading.split()) == "release deploy began by outcome machines image"
    assert " ".join(newest.split()) == "- d2 - another tool in between 1 of 3 x:2 runs now"
    assert " ".join(oldest.split()) == "1 d1 2026-05-04 03:02:01 deploy done 3 x:1"


def test_as_json_it_says_the_same() -> None:
    told = json.loads(show_history("hello", [NEW, OLD], as_json=True))
    assert [(one["number"], one["outcome"]) for one in told["releases"]] == [
        (2, "done"),
        (1, "done"),
    ]
    assert [one["at"] for one in told["releases"]] == [None, "2026-05-04T03:02:01+00:00"]


def test_an_app_without_machines_has_no_history() -> None:
    assert "no history" in show_history("hello", [], as_json=False)
