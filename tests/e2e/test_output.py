"""What a deploy prints and writes: lines for people, lines for machines, and never the token."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.worlds.outside import BIN, SICK, V1, V2, Project, clean_environ, platform

TOKEN = "fm2_planted-b4c5d6e7f8a9"  # noqa: S105 - planted to be searched for
_COLOR = re.compile(r"\x1b\[(?:[0-9]+;)*(?:[34][0-8]|9[0-7]|10[0-7])(?:;[0-9]+)*m")
_CONTROL = re.compile(r"[^\n\x20-\x7e\x80-\U0010ffff]")


def test_the_report_is_the_last_line_of_json_output_and_the_file_of_report(
    project: Project,
) -> None:
    done = project.must("-i", V1, "--output", "json", "--report", "record.json")

    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["v"] for line in lines] == [1] * (len(lines) - 1) + [2]
    assert [line["event"] for line in lines].count("report") == 1
    report = lines[-1]
    assert report["event"] == "report"
    assert json.loads((project.directory / "record.json").read_text()) == report
    assert (report["app"], report["image"], report["result"]) == (project.app, V1, "done")
    assert {machine["image"] for machine in report["machines"]} == {V1}
    assert (report["path"], report["decision"]["percent"]) == ("legacy", 5)


def test_a_report_is_written_for_a_deploy_that_fails_too(project: Project) -> None:
    project.must("-i", V1)

    done = project.deploy("-i", SICK, "--wait-timeout", "2s", "--report", "record.json")

    report = json.loads((project.directory / "record.json").read_text())
    assert report["exit_code"] == done.code == 3
    assert sorted(machine["image"] for machine in report["machines"]) == project.images()


def test_piped_output_is_lines_without_control_characters(project: Project) -> None:
    for words in (("-i", V1), ("-i", V2), ("status",), ("plan", "-i", V1)):
        done = project.must(*words)
        assert _CONTROL.findall(done.out + done.err) == []
        assert done.out.endswith("\n")


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_a_terminal_that_wants_no_color_gets_none(
    project: Project, environ: dict[str, str]
) -> None:
    shown = on_a_terminal(project, ["-i", V1], environ)

    assert "done:" in shown
    assert _COLOR.findall(shown) == []


def test_the_token_is_in_no_output_journal_report_or_log(tmp_path: Path, project: Project) -> None:
    with platform(tmp_path / "guarded", "--token", TOKEN) as address:
        guarded = Project(project.directory, project.app, address, {"FLY_API_TOKEN": TOKEN})
        told = [
            guarded.deploy("-i", V1, "--report", "first.json"),
            guarded.deploy("-i", SICK, "--deploy-retries", "1", "--wait-timeout", "2s"),
            guarded.deploy("status", "--output", "json"),
            guarded.deploy("-i", V2, "--output", "json", FLY_API_TOKEN=f"{TOKEN}-and-wrong"),
            guarded.deploy("-i", V2, FLY_API_TOKEN=f"{TOKEN}\nbroken"),
            guarded.deploy("-i", V2, FLY_FLAPS_BASE_URL="http://127.0.0.1:9"),
        ]
        metadata = json.dumps(guarded.machines())
    written = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert [done.code for done in told] == [0, 1, 0, 4, 2, 6]
    assert any(path.suffix == ".jsonl" for path in written), written  # there is a journal
    for text in [metadata, *(done.out + done.err for done in told)]:
        assert TOKEN not in text
    for path in written:
        assert TOKEN.encode() not in path.read_bytes(), path


def test_journals_are_private_to_the_user(project: Project) -> None:
    project.must("-i", V1)

    journals = list((project.directory / "home").rglob("*.jsonl"))

    assert journals
    assert {path.stat().st_mode & 0o777 for path in journals} == {0o600}


def on_a_terminal(project: Project, words: list[str], environ: dict[str, str]) -> str:
    """What `deploy` writes to a terminal."""
    ours, theirs = pty.openpty()
    steering = {"TERM": "xterm-256color"} | project.steering | environ
    process = subprocess.Popen(
        [str(BIN / "deploy"), *words],
        cwd=project.directory,
        env=clean_environ(project.directory) | steering,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := _read(ours):
            shown += chunk
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(ours)
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux: the other side is closed
        return b""
