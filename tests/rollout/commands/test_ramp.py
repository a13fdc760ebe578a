"""`rollout ramp`, `schedule`, `pause`, `kill` and `resume`, as a person uses them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from tests.rollout.commands.running import run
from tests.rollout.repo import Repo

TEXT = """\
version: 1
flags:
  a:
    bucket_by: app
    percent: 5  # the number
    inside: 5
    outside: 0
"""
BERLIN = ("--tz", "Europe/Berlin")
WORK = ("--weekdays", "--between", "09:00-16:00", *BERLIN)


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    path = tmp_path / "flags.yaml"
    path.write_text(TEXT)
    return path


def steps(file: Path) -> list[str]:
    return [line.strip() for line in file.read_text().splitlines() if "{at:" in line]


def test_a_ramp_is_written_in_place_of_the_percentage(file: Path) -> None:
    result = run("ramp", "a", "--from", "5", "--to", "100", "--over", "7d", *WORK)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "flags.yaml:5",
        "-    percent: 5  # the number",
        "+    ramp:  # the number",
        "+      - {at: 2026-11-22T00:00+01:00, percent: 5}",
        "+      - {at: 2026-11-24T09:00+01:00, percent: 10}",
        "+      - {at: 2026-11-25T09:00+01:00, percent: 25}",
        "+      - {at: 2026-11-26T09:00+01:00, percent: 50}",
        "+      - {at: 2026-11-27T09:00+01:00, percent: 75}",
        "+      - {at: 2026-11-30T09:00+01:00, percent: 100}",
        "a",
        (
            "  ramp: a ramp in place of percent, stays at 5 %;"
            " 5 steps to come, 100 % on 2026-11-30T09:00+01:00"
        ),
    ]
    assert len(file.read_text().splitlines()) == len(TEXT.splitlines()) + 6


def test_across_a_change_of_the_clocks_the_steps_stay_at_nine(file: Path) -> None:
    asked = ("ramp", "a", "--over", "3d", "--steps", "5,25,50,100", *BERLIN)
    assert run(*asked, "--start", "2027-03-26T09:00+01:00").exit_code == 0
    assert steps(file)[1:] == [
        "- {at: 2027-03-27T09:00+01:00, percent: 25}",
        "- {at: 2027-03-28T09:00+02:00, percent: 50}",
        "- {at: 2027-03-29T09:00+02:00, percent: 100}",
    ]
    shown = run("schedule", *BERLIN).output
    assert "Sun 2027-03-28T09:00+02:00      50 %" in shown


def test_a_ramp_may_go_down(file: Path) -> None:
    assert run("ramp", "a", "--to", "0", "--over", "2h").exit_code == 0
    assert [step.split()[-1] for step in steps(file)] == ["5}", "2}", "1}", "0}"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--over", "7"], 2, "--over 7 is not a span of time"),
        (["--over", "400d"], 2, "--over 400d is more than 366 days"),
        ([], 2, "Missing option '--over'"),
        (["--over", "7d", "--to", "101"], 2, "--to 101 is over 100"),
        (["--over", "7d", "--to", "5"], 2, "--from and --to are both 5 %"),
        (["--over", "7d", "--from", "1"], 1, "to begin at 1 % would throw units out"),
        (["--over", "7d", "--steps", "5"], 2, "--steps 5 does not go one way"),
        (["--over", "7d", "--steps", "5,9,7"], 2, "--steps 5,9,7 does not go one way"),
        (["--over", "7d", "--steps", "5,x"], 2, "--steps x is not a number"),
        (["--over", "7d", "--steps", "5,9", "--to", "10"], 2, "--to 10 and --steps 5,9 do not"),
        (["--over", "7d", "--weekdays"], 2, "--weekdays and --between need a time zone"),
        (["--over", "7d", "--tz", "Europe/Berln"], 2, "Hint: did you mean Europe/Berlin?"),
        (["--over", "7d", "--between", "9", *BERLIN], 2, "--between 9 is not a time of day"),
        (["--over", "7d", "--start", "noon"], 2, "--start noon is not a time"),
        (["--over", "7d", "--start", "2026-11-23T07:54Z"], 2, "is over: it is 2026-11-23T08:55"),
        (["--over", "3m"], 2, "6 steps do not fit into that time"),
        (["--over", "7d", "--at", "2026-11-23T09:00"], 2, "--at 2026-11-23T09:00 has no offset"),
    ],
)
def test_bad_input_is_one_clear_line_and_changes_nothing(
    file: Path, arguments: list[str], code: int, said: str
) -> None:
    result = run("ramp", "a", *arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert file.read_text() == TEXT


def test_a_machine_without_time_zones_is_told_what_to_install(file: Path) -> None:
    program = (
        "import sys, zoneinfo\n"
        "zoneinfo.reset_tzpath(to=())\n"
        "sys.modules['tzdata'] = None\n"
        "from rollout.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "ramp", "a", "--over", "7d", *BERLIN],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "Error: --tz Europe/Berlin: this machine has no time zones",
        "Hint: pip install tzdata (or install the system's tzdata package), or use --tz UTC",
    ]
    assert file.read_text() == TEXT


MONDAY = "2026-11-23T08:55+01:00"
THURSDAY = "2026-11-26T12:00+01:00"
FRIDAY = "2026-11-27T12:00+01:00"


@pytest.fixture
def ramped(file: Path) -> str:
    run("ramp", "a", "--over", "7d", *WORK, at=MONDAY)
    return file.read_text()


def test_the_schedule_draws_what_will_be_when(file: Path, ramped: str) -> None:
    file.write_text(
        ramped + "  b: {enabled: false, bucket_by: app, percent: 0.5, inside: 1, outside: 0}\n"
    )
    assert run("schedule", at=THURSDAY).output.splitlines() == [
        "a: 50 % now, 100 % from 2026-11-30T09:00+01:00",
        "  Sun 2026-11-22T00:00+01:00       5 %  █",
        "  Tue 2026-11-24T09:00+01:00      10 %  ██",
        "  Wed 2026-11-25T09:00+01:00      25 %  █████",
        "  Thu 2026-11-26T09:00+01:00      50 %  ██████████            <- now",
        "  Fri 2026-11-27T09:00+01:00      75 %  ███████████████",
        "  Mon 2026-11-30T09:00+01:00     100 %  ████████████████████",
        "b: off (enabled: false), 0.5 %, no ramp",
    ]
    assert run("schedule", "b", at=THURSDAY).output.count("\n") == 1
    assert run("schedule", "c").exit_code == 1
    over = run("schedule", "a", "--tz", "UTC", at="2027-01-01T00:00Z").output.splitlines()
    assert over[0] == "a: 100 % since 2026-11-30T08:00Z, the ramp is over"
    assert over[-1].endswith("Mon 2026-11-30T08:00Z     100 %  ████████████████████  <- now")


@pytest.mark.usefixtures("ramped")
def test_a_terminal_without_blocks_gets_another_chart() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rollout", "schedule"],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "ROLLOUT_AT": THURSDAY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[3] == "  Wed 2026-11-25T09:00+01:00      25 %  #####"


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
