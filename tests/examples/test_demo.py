"""The demo says only what is true, and its seed makes the story that it tells."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local.hiccups import Hiccups
from deploy.local.identity import Identity
from examples.demo import outcomes
from examples.demo.__main__ import HICCUPS, MACHINES, SEED, V1, V2, Act, is_mixed
from examples.demo.stage import Broken, Stage
from examples.demo.traffic import Tally

SLOTS = [f"app/app-{number}" for number in range(1, MACHINES + 1)]


def strikes(slot: str, operation: str, occurrences: range) -> list[int]:
    hiccups = Hiccups(rate=float(HICCUPS), seed=SEED)
    return [n for n in occurrences if hiccups.draw("hello", slot, operation, n)]


def test_with_its_seed_one_pass_ends_in_between_and_two_more_mend_it() -> None:
    identity = Identity(SEED, time.time)
    first, second, third, fourth = sorted(
        SLOTS, key=lambda slot: identity.machine_id("hello", slot)
    )

    assert strikes(first, "update", range(4)) == []  # new in every case, and back from v3
    assert strikes(second, "update", range(2)) == [0]  # so the legacy path stops here
    assert strikes(third, "update", range(3)) == [0, 1]  # so one retry is not enough
    assert strikes(fourth, "update", range(2)) == [0]


@pytest.mark.parametrize("operation", ["create", "metadata", "release"])
def test_with_its_seed_setting_up_meets_no_hiccup(operation: str) -> None:
    assert [strikes(slot, operation, range(3)) for slot in SLOTS] == [[]] * MACHINES


def test_what_is_not_true_ends_the_demo_and_is_not_printed(tmp_path: Path) -> None:
    screen = io.StringIO()
    stage = Stage(tmp_path, Console(file=screen))

    with pytest.raises(Broken, match=r"^not true: four has 5 letters \(seen: 4\)$"):
        stage.claim("four has 5 letters", len("four") == 5, len("four"))

    assert screen.getvalue() == ""


def test_the_guard_advances_on_simulated_deploys_and_kills_where_retrying_is_broken(
    tmp_path: Path,
) -> None:
    screen = io.StringIO()
    outcomes.tell(Stage(tmp_path, Console(file=screen)))
    assert screen.getvalue().count("\N{CHECK MARK}") == 7


@pytest.mark.parametrize(
    ("code", "machines", "mixed"),
    [(3, {V1: 2, V2: 2}, True), (0, {V1: 2, V2: 2}, False), (3, {V2: 4}, False)],
)
def test_in_between_is_both_the_exit_code_and_the_machines(
    code: int, machines: dict[str, int], mixed: bool
) -> None:
    act = Act(name="", code=code, report={}, machines=Counter(machines), tally=Tally())

    assert is_mixed(act) is mixed


def test_without_an_engine_the_story_with_images_says_so_and_ends_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--images"],
        env={**os.environ, "DOCKER_HOST": "unix:///nowhere.sock"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "to see the story with real images" in done.stdout
