"""`rollout pause`, `kill` and `resume`, as a person uses them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tests.rollout.commands.running import FRIDAY, MONDAY, THURSDAY, WORK, run
from tests.rollout.commands.running import RAMPABLE as TEXT
from tests.rollout.repo import Repo

pytestmark = pytest.mark.usefixtures("file")


def test_a_pause_is_one_line_and_holds(file: Path, ramped: str) -> None:
    result = run("pause", "a", at=THURSDAY)
    assert result.output.splitlines() == [
        "flags.yaml:5",
        "+    paused: 2026-11-26T12:00+01:00",
        "a",
        "  ramp: paused since 2026-11-26T12:00+01:00, stays at 50 %",
    ]
    listed = run("list", at="2027-06-01T00:00Z").output
    assert "50 % (paused)" in listed
    why = run("explain", "a", "--unit", "x", at="2027-06-01T00:00Z").output
    assert why.endswith("rollout is at 50 % since 2026-11-26T09:00+01:00, paused)\n")
    assert run("schedule", at=FRIDAY).output.splitlines()[0] == (
        "a: 50 %, paused since 2026-11-26T12:00+01:00, 2 steps waiting"
    )
    assert "is paused already" in run("pause", "a", at=FRIDAY).output
    result = run("resume", "a", *WORK, at=FRIDAY)
    assert result.output.splitlines()[-2:] == [
        "a",
        (
            "  ramp: no longer paused, stays at 50 %;"
            " 2 steps to come, 100 % on 2026-12-01T09:00+01:00"
        ),
    ]
    assert file.read_text() == ramped.replace("11-30T09:00+01:00, percent: 100", "12-01X").replace(
        "11-27T", "11-30T"
    ).replace("12-01X", "12-01T09:00+01:00, percent: 100")


@pytest.mark.usefixtures("ramped")
def test_a_kill_puts_everybody_outside_and_resume_finds_the_ramp_where_it_was(file: Path) -> None:
    result = run("kill", "a", at=THURSDAY)
    assert result.output.splitlines() == [
        "flags.yaml:5",
        "+    enabled: false",
        "+    paused: 2026-11-26T12:00+01:00",
        "a",
        "  enabled: switched off: everybody is outside",
        "  ramp: paused since 2026-11-26T12:00+01:00, stays at 50 %",
    ]
    assert "a is off already" in run("kill", "a", at=FRIDAY).output
    later = "2027-01-15T00:00Z"
    assert run("resume", "a", at=later).exit_code == 0
    assert "50 % (ramp)" in run("list", at=later).output
    assert "{at: 2027-01-16T09:00+01:00, percent: 75}" in file.read_text()
    assert "neither off nor paused" in run("resume", "a", at=later).output


@pytest.mark.usefixtures("ramped")
def test_a_kill_lets_the_ramp_of_a_flag_that_is_off_stand_still(file: Path) -> None:
    file.write_text(file.read_text().replace("    ramp:\n", "    enabled: false\n    ramp:\n"))
    result = run("kill", "a", at=THURSDAY)
    assert "+    paused: 2026-11-26T12:00+01:00" in result.output.splitlines()
    assert run("resume", "a", at="2027-01-15T00:00Z").exit_code == 0
    assert "50 % (ramp)" in run("list", at="2027-01-15T00:00Z").output


@pytest.mark.parametrize("command", ["pause", "kill"])
def test_a_step_of_the_same_minute_has_begun(file: Path, command: str) -> None:
    ramp = "ramp: [{at: 2026-11-26T09:00:30Z, percent: 5}, {at: 2026-11-27T09:00Z, percent: 9}]"
    file.write_text(TEXT.replace("percent: 5  # the number", ramp))
    assert run(command, "a", at="2026-11-26T09:00:45Z").exit_code == 0
    assert "paused: 2026-11-26T09:00:30Z" in file.read_text()
    run("resume", "a", at="2026-11-26T09:00:50Z")
    assert "5 % (ramp)" in run("list", at="2026-11-26T09:00:50Z").output


def test_a_kill_with_a_clock_that_is_behind_stops_the_ramp_where_it_was(
    tmp_path: Path, file: Path
) -> None:
    ramp = "ramp: [{at: 2098-12-01T00:00Z, percent: 5}, {at: 2099-02-01T00:00Z, percent: 9}]"
    text = TEXT.replace("percent: 5  # the number", ramp)
    Repo(tmp_path).commit({"flags.yaml": text}, at=datetime.fromisoformat("2099-01-01T00:00Z"))
    assert run("kill", "a", at=None).exit_code == 0
    assert "paused: 2099-01-01T00:00Z" in file.read_text()
    run("resume", "a", at="2099-01-02T00:00Z")
    assert "5 % (ramp)" in run("list", at="2099-01-02T00:00Z").output


def test_a_kill_of_a_percentage_is_undone_to_the_byte(file: Path) -> None:
    assert run("kill", "a").output.splitlines()[1] == "+    enabled: false"
    assert run("resume", "a").exit_code == 0
    assert file.read_text() == TEXT


@pytest.mark.usefixtures("ramped")
@pytest.mark.parametrize(
    ("arguments", "at", "said"),
    [
        (["pause", "a"], "2027-01-01T00:00Z", "the ramp of a is over: at 100 % since 2026-11-30"),
        (["pause", "b"], THURSDAY, "flags.yaml has no flag b"),
        (["kill", "b"], THURSDAY, "flags.yaml has no flag b"),
        (["resume", "b"], THURSDAY, "flags.yaml has no flag b"),
        (["set", "a", "--percent", "7"], THURSDAY, "a has a ramp"),
    ],
)
def test_what_cannot_be_done_is_named(arguments: list[str], at: str, said: str) -> None:
    result = run(*arguments, at=at)
    assert result.exit_code == 1
    assert said in result.stderr


def test_a_clock_that_is_far_behind_writes_nothing(tmp_path: Path, file: Path) -> None:
    repo = Repo(tmp_path)
    repo.commit({"flags.yaml": TEXT}, at=datetime.fromisoformat("2099-01-01T00:00Z"))
    for asked in (["ramp", "a", "--over", "7d"], ["pause", "a"], ["resume", "a"]):
        result = run(*asked, at=None)
        assert result.exit_code == 2
        said, hint = result.stderr.splitlines()
        assert said.startswith("Error: the clock is wrong: it is 20")
        assert said.endswith("and the newest commit is of 2099-01-01T00:00+00:00")
        assert hint == "Hint: set the clock of this machine, or give the time with --at"
    assert file.read_text() == TEXT
    killed = run("kill", "a", at=None)
    assert killed.exit_code == 0, "nothing keeps a kill from being done"
    assert "Note: the clock is wrong" in killed.stderr
    assert run("resume", "a", at=MONDAY).exit_code == 0, "a time that is given needs no clock"


def test_a_clock_that_is_far_ahead_is_wondered_about(tmp_path: Path) -> None:
    repo = Repo(tmp_path)
    repo.commit({"flags.yaml": TEXT}, at=datetime.fromisoformat("2001-01-01T00:00Z"))
    result = run("ramp", "a", "--over", "7d", at=None)
    assert result.exit_code == 0
    assert "the newest commit is of 2001-01-01; is the clock right?" in result.stderr


def test_a_clock_behind_a_pause_is_refused(ramped: str, file: Path) -> None:
    run("pause", "a", at=THURSDAY)
    paused = file.read_text()
    result = run("resume", "a", at=MONDAY)
    assert result.exit_code == 1
    assert "the ramp is paused since 2026-11-26T12:00+01:00" in result.stderr
    assert file.read_text() == paused
    assert paused != ramped


@pytest.mark.parametrize("where", ["https://example.org/flags.yaml", "git:HEAD"])
@pytest.mark.parametrize(
    "asked", [["set", "a", "--percent", "7"], ["kill", "a"], ["ramp", "a", "--over", "7d"]]
)
def test_what_is_elsewhere_is_not_changed(where: str, asked: list[str]) -> None:
    result = run(*asked, "--file", where)
    assert result.exit_code == 2
    assert f"{where} can be read, but not changed" in result.stderr
