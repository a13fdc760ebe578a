"""`rollout cohort`, as a person and as a pipe use it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.rollout.commands.running import on_a_terminal, run


@pytest.fixture
def units(three: Path) -> Path:
    path = three.parent / "units.txt"
    path.write_text("".join(f"app-{number}\n" for number in range(300_000)))
    return path


@pytest.mark.usefixtures("units")
def test_nothing_is_drawn_between_the_lines_that_a_pipe_shows() -> None:
    asked = f"{sys.executable} -m rollout cohort deploy-retries --units units.txt"
    shown = on_a_terminal(command=f"{asked} | head -3").splitlines()
    plain = run("cohort", "deploy-retries", "--units", "units.txt").stdout.splitlines()
    assert shown[:3] == plain[:3]
    assert "\x1b" not in "".join(shown)


@pytest.mark.usefixtures("units")
def test_a_bar_is_drawn_while_the_units_go_to_a_file() -> None:
    asked = f"{sys.executable} -m rollout cohort deploy-retries --units units.txt > inside.txt"
    assert "\x1b" in on_a_terminal(command=asked)
    plain = run("cohort", "deploy-retries", "--units", "units.txt").stdout
    assert Path("inside.txt").read_text() == plain


@pytest.mark.usefixtures("three")
def test_json_has_the_units_and_how_many_were_read() -> None:
    asked = ("cohort", "deploy-retries", "--units", "-", "--output", "json")
    units = "".join(f"app-{number}\n" for number in range(100))
    found = json.loads(run(*asked, given=units + "\n").stdout)
    plain = run(*asked[:-2], given=units).stdout.splitlines()
    assert found == {
        "version": 1,
        "flag": "deploy-retries",
        "units_read": 100,
        "empty_lines": 1,
        "inside": plain,
    }
