from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.notify import posting
from deploy.notify.github import set_deployment, summarize
from deploy.notify.posting import NotDelivered
from deploy.readers.report import Report
from deploy.readers.timeline import Timeline
from tests.deploy.eventful import Story
from tests.deploy.notify.listening import listening

FAILED = Report.of(Story(broken=1).tell())
TOKEN = "ghs_planted0123456789"  # noqa: S105 - planted to be searched for


def environ(address: str) -> dict[str, str]:
    return {
        "GITHUB_API_URL": address,
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_REPOSITORY": "owner/hello",
        "GITHUB_SHA": "0123456789abcdef0123456789abcdef01234567",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_RUN_ID": "77",
    }


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "_PAUSE_S", 0.0)


def test_the_summary_is_added_to_the_steps_file(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    summarize(Timeline.of(Story().tell()), {"GITHUB_STEP_SUMMARY": str(path)})
    assert path.read_text().startswith("before\n## ✅ deploy hello\n")


def test_without_a_runner_there_is_no_summary() -> None:
    summarize(Timeline.of(Story().tell()), {})


def test_a_summary_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotDelivered, match="step summary"):
        summarize(Timeline.of(Story().tell()), {"GITHUB_STEP_SUMMARY": str(tmp_path)})


def test_a_deployment_of_the_commit_gets_the_status_of_the_run() -> None:
    with listening((201, b'{"id": 42}'), (201, b"{}")) as listener:
        set_deployment(FAILED, "production", environ(listener.address))
    made, status = listener.got
    assert made.path == "/repos/owner/hello/deployments"
    assert made.headers["authorization"] == f"Bearer {TOKEN}"
    body = json.loads(made.body)
    assert (body["ref"], body["environment"]) == (environ("")["GITHUB_SHA"], "production")
    assert (body["auto_merge"], body["required_contexts"]) == (False, [])
    assert status.path == "/repos/owner/hello/deployments/42/statuses"
    told = json.loads(status.body)
    assert (told["state"], told["environment"]) == ("failure", "production")
    assert told["log_url"] == "https://github.com/owner/hello/actions/runs/77"
    assert len(told["description"]) <= 140


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_token_that_does_not_allow_it_is_told_with_what_it_needs(status: int) -> None:
    with (
        listening((status, b'{"message": "Resource not accessible"}')) as listener,
        pytest.raises(NotDelivered, match="deployments: write") as failure,
    ):
        set_deployment(FAILED, "production", environ(listener.address))
    assert TOKEN not in str(failure.value)


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"id": null}'])
def test_an_answer_that_is_none_is_told(answer: bytes) -> None:
    with listening((201, answer)) as listener, pytest.raises(NotDelivered, match="no id"):
        set_deployment(FAILED, "production", environ(listener.address))


def test_the_token_is_not_sent_unencrypted() -> None:
    with pytest.raises(NotDelivered, match="unencrypted"):
        set_deployment(FAILED, "production", environ("http://api.example.com"))


def test_what_the_runner_does_not_offer_is_named() -> None:
    with pytest.raises(NotDelivered, match="GITHUB_TOKEN, GITHUB_REPOSITORY, GITHUB_SHA"):
        set_deployment(FAILED, "production", {})
