"""Progress off a terminal: stable lines, nothing but lines, and never the end of a deploy."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings

from deploy.events import (
    SCHEMA_VERSION,
    FlagDecision,
    HiccupMet,
    MachineMoved,
    Noticed,
    PassFinished,
    PathChosen,
    Phase,
    RunStarted,
    to_json,
)
from deploy.readers.progress import open_progress
from deploy.readers.report import REPORT_VERSION
from deploy.readers.sentences import story_lines
from deploy.readers.voices import Lines, inert, workflow_command
from tests.deploy.eventful import EPOCH_S, Entry, Story, any_run, times

CI = {"GITHUB_ACTIONS": "true"}


def _tell(
    entries: list[Entry], environ: Mapping[str, str] | None = None, output: str = "text"
) -> tuple[str, str]:
    """What a run prints on standard output and standard error, neither a terminal."""
    out, err = io.StringIO(), io.StringIO()
    with open_progress(output, out, err, environ or {}, times().__next__) as progress:
        for at, event in entries:
            progress(at, event)
    return out.getvalue(), err.getvalue()


def test_a_run_that_is_done_is_told_in_plain_lines() -> None:
    out, err = _tell(Story(machines=2, hiccups=0).tell())
    assert out.splitlines() == [
        "hello: deploy of hello:v2 (rolling), deploy 01jdeploy7, run 01jdeadbee",
        "deploy-retries: auto -> 5 (app hello is at 6.343 %, rollout is at 10 %): retrying path",
        "flags: flags.yaml",
        "plan: 2 update; 1 machine unchanged",
        "pass 1 of 6",
        "  web-1: updating",
        "  [1/2] web-1: done (4.9 s)",
        "  web-2: updating",
        "  [2/2] web-2: done (4.2 s)",
        "pass 1 ended with 2 done, 0 left",
        "done: hello runs hello:v2 (2 machines, 9.9 s)",
        "next: `deploy status --app hello` shows the machines",
    ]
    assert err == "warning: 2 leases ran out by themselves (no action is needed)\n"


def test_a_run_that_is_not_done_ends_on_standard_error() -> None:
    out, err = _tell(Story(retries=1, hiccups=0.6, machines=8).tell())
    assert "in between" not in out
    assert "in between: retries are spent" in err
    assert all(f" web-{number} " in err for number in range(1, 9))


def test_the_same_news_of_a_machine_is_told_once() -> None:
    failed = MachineMoved(
        machine_id="1", name="web-1", group="web", phase=Phase.FAILED, detail="exit code 1"
    )
    out, _ = _tell([(EPOCH_S, failed)] * 3)
    assert out == "  web-1: failed: exit code 1 (0.0 s)\n"


@pytest.mark.parametrize("environ", [{}, CI])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(run=any_run)
@example(run=[(EPOCH_S, Noticed(message="[red]x[/red]\x1b[31m\r\n::error::y"))])
def test_no_run_breaks_the_telling_or_brings_control_characters(
    environ: dict[str, str], run: list[Entry]
) -> None:
    out, err = _tell(run, environ)
    assert all(line.isprintable() for line in (out + err).split("\n"))


def _moved(phase: Phase, machine_id: str = "1", detail: str = "") -> MachineMoved:
    return MachineMoved(
        machine_id=machine_id, name="web-1", group="web", phase=phase, detail=detail
    )


def test_a_machine_whose_id_comes_later_has_still_begun_once() -> None:
    phases = [_moved(Phase.CREATING, ""), _moved(Phase.CHECKING), _moved(Phase.DONE)]
    out, _ = _tell([(EPOCH_S, moved) for moved in phases])
    assert out.splitlines() == ["  web-1: creating", "  [1/1] web-1: done (0.0 s)"]


def test_a_hiccup_is_told_once_though_the_machine_and_the_pass_tell_it_too() -> None:
    message = "update 1 (503): unavailable"
    hiccup = HiccupMet(
        operation="update", machine_id="1", message=message, outcome_known=True, number=1
    )
    waiting = _moved(Phase.WAITING, detail=message)
    ended = PassFinished(number=1, done=0, left=1, reason=message)
    out, _ = _tell([(EPOCH_S, event) for event in (_moved(Phase.UPDATING), waiting, hiccup, ended)])
    assert out.splitlines() == [
        "  web-1: updating",
        f"  web-1: hiccup 1: {message}",
        "pass 1 ended with 0 done, 1 left",
    ]


def test_waiting_for_another_reason_is_told() -> None:
    out, _ = _tell([(EPOCH_S, _moved(Phase.WAITING, detail="no room in the window"))])
    assert out == "  web-1: waiting: no room in the window\n"


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    moved = MachineMoved(machine_id="1", name="[red]x", group="", phase=Phase.UPDATING)
    assert _tell([(EPOCH_S, moved)])[0] == "  [red]x: updating\n"


@given(any_run)
def test_json_is_one_event_per_line_and_the_report_last(run: list[Entry]) -> None:
    started = RunStarted(
        command="deploy", app="a", deploy_id="d", run_id="r", image="i", strategy="rolling"
    )
    out, err = _tell([(EPOCH_S, started), *run], output="json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines[:-1]] == [
        to_json(0.0, event)["event"] for _, event in [(0.0, started), *run]
    ]
    assert lines[-1]["event"] == "report"
    assert {line["v"] for line in lines[:-1]} == {SCHEMA_VERSION}
    assert lines[-1]["v"] == REPORT_VERSION
    assert err == ""


def test_a_command_that_ends_before_its_run_prints_no_json() -> None:
    assert _tell([], output="json") == ("", "")


def test_github_actions_gets_a_group_per_pass_and_annotations() -> None:
    out, err = _tell(Story(retries=1, hiccups=0.6, machines=8).tell(), CI)
    lines = out.splitlines()
    assert err == ""
    begins = [i for i, line in enumerate(lines) if line.startswith("::group::")]
    ends = [i for i, line in enumerate(lines) if line == "::endgroup::"]
    assert [lines[i] for i in begins] == ["::group::pass 1 of 2", "::group::pass 2 of 2"]
    assert begins[0] < ends[0] < begins[1] < ends[1]
    assert "::warning::2 leases ran out by themselves (no action is needed)" in lines
    (error,) = [line for line in lines if line.startswith("::error ")]
    assert error.startswith("::error title=deploy hello::in between: retries are spent")
    assert "%0Anext: `deploy status --app hello` shows the machines" in error


def test_a_workflow_command_is_escaped_as_the_runner_unescapes_it() -> None:
    command = workflow_command("error", "5 %\r\na::b", title="a: b, 5 %")
    assert command == "::error title=a%3A b%2C 5 %25::5 %25%0D%0Aa::b"


@pytest.mark.parametrize("line", ["::error::x", "  ::set-env name=A::b", "x ##[group]y", "::"])
def test_a_planted_workflow_command_is_made_inert(line: str) -> None:
    said = inert(line)
    assert not said.lstrip().startswith("::")
    assert "##[" not in said


def test_a_name_cannot_speak_to_the_runner() -> None:
    moved = MachineMoved(machine_id="1", name="::error::x", group="", phase=Phase.UPDATING)
    assert _tell([(EPOCH_S, moved)], CI)[0] == "  : :error::x: updating\n"


def test_a_hiccup_whose_outcome_is_unknown_says_so() -> None:
    hiccup = HiccupMet(
        operation="update", machine_id="148e1", message="timed out", outcome_known=False, number=2
    )
    out, _ = _tell([(EPOCH_S, hiccup)])
    assert out == ("  148e1: hiccup 2: update: timed out (whether it was carried out is unknown)\n")


class Broken(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_stream_that_goes_away_is_silence_and_no_error(output: str) -> None:
    with open_progress(output, Broken(), Broken(), {}, times().__next__) as progress:
        for at, event in Story().tell():
            progress(at, event)


def test_what_an_encoding_lacks_is_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Lines(stream).write("caf\u00e9 \u2713")
    assert raw.getvalue() == b"caf\\xe9 \\u2713\n"


PIPED = """
import sys
from deploy.readers.progress import open_progress
from tests.deploy.eventful import Story
with open_progress("text", sys.stdout, sys.stderr, {}, lambda: 0.0) as progress:
    for at, event in Story(machines=300).tell():
        progress(at, event)
print("rich" in sys.modules, file=sys.stderr)
"""


def test_a_pipe_closed_early_ends_in_no_complaint_and_rich_is_not_imported() -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-c", PIPED],
            stdout=pipe,
            stderr=subprocess.PIPE,
            env=buffered,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "False"
    assert "BrokenPipe" not in done.stderr


def test_a_decision_from_elsewhere_says_from_where_and_how_old() -> None:
    chosen = PathChosen(
        path="legacy",
        retries=0,
        sentence="deploy-retries: auto -> 0: legacy path",
        decision=FlagDecision(source="https://flags.example/flags.yaml as of 3 h ago"),
    )
    assert story_lines(chosen) == [
        "deploy-retries: auto -> 0: legacy path",
        "flags: https://flags.example/flags.yaml as of 3 h ago",
    ]
    bundled = replace(chosen, decision=FlagDecision(source="the bundled flags.yaml"))
    assert story_lines(bundled) == ["deploy-retries: auto -> 0: legacy path"]
