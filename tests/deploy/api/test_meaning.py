"""Every row of the Machines API's failure table, and what a deploy makes of it.

The rows are the facts as they were read off Fly.io's documents, clients and
incident threads; the names of the tests are the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.meaning import WRITES, call_failed
from deploy.errors import (
    AppFailed,
    CallFailed,
    DeadlinePassed,
    DeployError,
    Interrupted,
    LeaseHeld,
    LeaseLost,
    LeaseTaken,
    Meaning,
    Outage,
    Overtaken,
    UsageProblem,
)

V = Meaning
HOST_FULL = "aborted: could not reserve resource for machine: insufficient CPUs available"
NAME_TAKEN = "already_exists: unique machine name violation, machine ID 148e45 already exists"


@dataclass(frozen=True, slots=True)
class Row:
    """One answer of the platform; `did_not` is whether the write surely did not happen."""

    name: str
    operation: str
    status: int | None
    text: str
    expected: Meaning
    did_not: bool = True
    sent: bool = True
    code: str = ""


ROWS = [
    Row("connection refused", "update", None, "connection refused", V.REPEAT, sent=False),
    Row("name not resolved", "create", None, "nodename unknown", V.REPEAT, sent=False),
    Row("TLS failure", "destroy", None, "certificate verify failed", V.REPEAT, sent=False),
    Row("read timeout of a write", "update", None, "no answer in time", V.UNSETTLED, False),
    Row("read timeout of a read", "list", None, "no answer in time", V.REPEAT),
    Row("reset after sending", "create", None, "connection reset", V.UNSETTLED, False),
    Row("EOF after sending", "stop", None, "server disconnected", V.UNSETTLED, False),
    Row("408 of a write", "update", 408, "request timed out", V.UNSETTLED, False),
    Row("408 of a read", "read", 408, "request timed out", V.REPEAT),
    Row("500 of a write", "update", 500, "internal", V.UNSETTLED, False),
    Row("502 of a write", "create", 502, "bad gateway", V.UNSETTLED, False),
    Row("503 of a write", "destroy", 503, "unavailable", V.UNSETTLED, False),
    Row("504 of a write", "acquire lease", 504, "gateway timeout", V.UNSETTLED, False),
    Row("500 of a read", "list", 500, "internal", V.REPEAT),
    Row("502 of a wait", "wait", 502, "bad gateway", V.REPEAT),
    Row("429 of a write", "update", 429, "rate limit exceeded", V.REPEAT),
    Row("429 of a read", "read", 429, "rate limit exceeded", V.REPEAT),
    Row(
        "408 from wait",
        "wait",
        408,
        "deadline_exceeded: machine failed to reach desired state, started, currently stopped",
        V.NOT_YET,
    ),
    Row(
        "lease held by another",
        "update",
        409,
        "machine ID 148e45 lease currently held by bob@mail.test, expires at 2026-05-07T12:00:00Z",
        V.LEASED,
    ),
    Row(
        "lease held by another, on acquiring",
        "acquire lease",
        409,
        "machine ID 148e45 lease currently held by token-1234, expires at 2026-05-07T12:00:00Z",
        V.LEASED,
    ),
    Row(
        "concurrent update",
        "update",
        409,
        "aborted: machine is replacing: concurrent update in progress",
        V.BUSY,
    ),
    Row("current_version mismatch", "update", 409, "current_version mismatch", V.CHANGED),
    Row("name taken on create", "create", 409, NAME_TAKEN, V.NAME_TAKEN),
    Row("no host capacity on update", "update", 409, HOST_FULL, V.RELOCATE),
    Row(
        "deploys to the host disabled",
        "update",
        409,
        "deploys to this host are temporarily disabled",
        V.RELOCATE,
    ),
    Row("no capacity, by code", "update", 409, "no", V.RELOCATE, code="insufficient_capacity"),
    Row("no room, by code", "update", 422, "no", V.REJECTED, code="unknown"),
    Row(
        "no capacity for a volume, by code",
        "update",
        409,
        "no",
        V.RELOCATE,
        code="volume_placement_capacity",
    ),
    Row("no capacity, as a 5xx", "create", 503, "insufficient resources", V.RELOCATE),
    Row(
        "412 getting replaced",
        "start",
        412,
        "failed_precondition: machine getting replaced, refusing to start",
        V.BUSY,
    ),
    Row(
        "412 from state created",
        "start",
        412,
        "failed_precondition: unable to start machine from current state: 'created'",
        V.BUSY,
    ),
    Row("404 on a machine just created", "read", 404, "machine not found", V.MISSING),
    Row("404 on a machine held", "update", 404, "machine not found", V.MISSING),
    Row("404 lease not found on release", "release lease", 404, "lease not found", V.MISSING),
    Row("400", "create", 400, "invalid_argument: config.env", V.REJECTED),
    Row("422", "update", 422, "unprocessable", V.REJECTED),
    Row("401", "list", 401, "the token is wrong", V.REJECTED),
    Row("403", "update", 403, "not yours", V.REJECTED),
    Row("app name taken", "create app", 422, "taken", V.REJECTED, code="name_taken"),
    Row("image that cannot be pulled", "create", 400, "manifest unknown: v9", V.APP),
    Row("image that is not there", "update", 422, "failed to get manifest x:9", V.APP),
    Row("image not found, as a 404", "update", 404, "image not found: x:9", V.APP),
    Row("answer to a write that cannot be read", "update", 200, "HTML", V.UNSETTLED, False),
    Row("answer to a read that cannot be read", "list", 200, "HTML", V.REPEAT),
    Row("redirect of a write", "create", 302, "elsewhere", V.UNSETTLED, False),
]


def _failure(row: Row) -> CallFailed:
    return call_failed(
        row.text, operation=row.operation, status=row.status, sent=row.sent, code=row.code
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_row_of_the_failure_table_means_what_it_says(row: Row) -> None:
    meaning = _failure(row).meaning
    assert meaning is row.expected
    assert meaning.outcome_known is row.did_not


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_only_hiccups_are_worth_another_pass(row: Row) -> None:
    never = {V.NAME_TAKEN, V.LEASED, V.REJECTED, V.APP, V.OUTAGE}
    assert _failure(row).meaning.is_hiccup is (row.expected not in never)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AppFailed("it exits"), V.APP),
        (LeaseHeld("bob", machine_id="m"), V.LEASED),
        (LeaseLost("gone", machine_id="m"), V.LEASE_LOST),
        (LeaseTaken("bob has it", machine_id="m"), V.LEASE_TAKEN),
        (Overtaken("another deploy has changed machine m"), V.LEASED),
        (Outage("silence"), V.OUTAGE),
        (UsageProblem("no image"), V.USAGE),
        (DeadlinePassed("an hour"), V.BLOCKED),
        (Interrupted("SIGINT"), V.INTERRUPTED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, DeployError) else value.name,
)
def test_every_other_error_has_one_meaning(error: DeployError, expected: Meaning) -> None:
    assert error.meaning is expected
    assert not error.meaning.is_hiccup or isinstance(error, LeaseLost)


answers = st.fixed_dictionaries(
    {
        "message": st.text(),
        "operation": st.sampled_from([*sorted(WRITES), "list", "read", "wait", "read lease"]),
        "status": st.none() | st.integers(100, 599),
        "sent": st.booleans(),
        "code": st.text(max_size=5),
    }
)


@given(answers)
def test_whatever_the_answer_there_is_exactly_one_meaning(answer: dict[str, Any]) -> None:
    assert isinstance(call_failed(**answer).meaning, Meaning)


@given(answers)
def test_what_was_never_sent_is_always_done_again(answer: dict[str, Any]) -> None:
    assert call_failed(**{**answer, "sent": False}).meaning is V.REPEAT


@given(answers)
def test_a_read_is_never_an_unsettled_write(answer: dict[str, Any]) -> None:
    assert call_failed(**{**answer, "operation": "read"}).meaning.outcome_known


@given(st.sampled_from(sorted(WRITES)), st.sampled_from([None, 408, 500, 502, 503, 504]))
def test_a_write_without_an_answer_is_always_settled_by_a_read_first(
    operation: str, status: int | None
) -> None:
    meaning = call_failed("no answer", operation=operation, status=status).meaning
    assert meaning is V.UNSETTLED
    assert not meaning.outcome_known


def test_a_name_that_is_taken_says_by_whom() -> None:
    assert call_failed(NAME_TAKEN, operation="create", status=409).holder == "148e45"
    assert call_failed("machine ID 148e45", operation="create", status=409).holder == ""


def test_the_app_s_failure_and_a_rejection_end_with_codes_of_their_own() -> None:
    codes = {meaning: meaning.exit_code for meaning in Meaning}
    assert codes[V.APP] == 1
    assert codes[V.REJECTED] == 4
    assert {codes[meaning] for meaning in Meaning if meaning.is_hiccup} == {1, 5}
