"""`deploy report`: what a person gets for a run that is over."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.commands.report import report_command
from deploy.errors import UsageProblem
from deploy.readers import journal
from deploy.readers.journal import Journal
from tests.deploy.eventful import Story


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A state directory with one run of hello and a later one of other."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for story in (Story(), Story(app="other", run_id="02later", retries=1, hiccups=0.6, now_s=2e9)):
        with Journal(journal.default_directory(), pytest.fail) as writer:
            for at, event in story.tell():
                writer(at, event)
    return tmp_path


def _report(*arguments: str) -> Result:
    return CliRunner().invoke(report_command, arguments)


def _problem(*arguments: str) -> UsageProblem:
    error = _report(*arguments).exception
    assert isinstance(error, UsageProblem)
    return error


@pytest.mark.usefixtures("kept")
def test_the_newest_run_is_shown_with_its_timeline_and_machines() -> None:
    shown = _report()
    assert shown.exit_code == 0
    assert shown.output.startswith("other, deploy 01jdeploy7, run 02later, ")
    assert "|pass 1" in shown.output
    assert "MACHINE" in shown.output
    assert "next: `deploy status --app other` shows the machines" in shown.output
    assert "\x1b" not in shown.output


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    "arguments", [["01jdead"], ["--app", "hello"], ["01jdeploy7", "--app=hello"]]
)
def test_a_run_is_named_by_id_or_app(arguments: list[str]) -> None:
    assert "run 01jdeadbee" in _report(*arguments).output


@pytest.mark.usefixtures("kept")
def test_json_is_the_report_in_one_line() -> None:
    (line,) = _report("--output", "json").output.splitlines()
    report = json.loads(line)
    assert (report["event"], report["app"], report["result"]) == ("report", "other", "in-between")


def test_the_page_is_written_whole_and_readable(kept: Path) -> None:
    page = kept / "run.html"
    page.write_text("an older page")
    page.chmod(0o640)
    assert _report("--html", str(page)).output == f"wrote {page}\n"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o640
    assert sorted(path.name for path in kept.iterdir()) == ["run.html", "state"]


def test_a_page_that_cannot_be_written_is_one_clear_line(kept: Path) -> None:
    problem = _problem("--html", str(kept / "missing" / "run.html"))
    assert "cannot be written: No such file or directory" in problem.message
    assert problem.hint


@pytest.mark.usefixtures("kept")
def test_an_id_that_nobody_has_names_the_newest_runs() -> None:
    problem = _problem("nothing")
    assert problem.message == "no run has the id nothing"
    assert problem.hint == "the newest runs are 02later, 01jdeadbee"


def test_without_any_journal_the_way_on_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    problem = _problem("--app", "hello")
    assert "has no run of hello" in problem.message
    assert "deploy history" in problem.hint
