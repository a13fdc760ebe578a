"""`rollout ramp` and `rollout schedule`, as a person uses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rollout.commands.running import BERLIN, THURSDAY, WORK, run
from tests.rollout.commands.running import RAMPABLE as TEXT

pytestmark = pytest.mark.usefixtures("file")


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


@pytest.mark.usefixtures("ramped")
def test_the_schedule_in_json_has_every_step() -> None:
    (flag,) = json.loads(run("schedule", "--output", "json", at=THURSDAY).output)["flags"]
    assert (flag["flag"], flag["percent"], flag["paused"]) == ("a", 50.0, None)
    assert flag["steps"][0] == {"at": "2026-11-22T00:00+01:00", "percent": 5.0, "waits": False}
    assert len(flag["steps"]) == 6
