"""The benchmark that scripts/bench runs: it must measure the right thing, and say so.

The peers are not installed here, but for flagd; scripts/bench brings them along.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import bulk, clients, flags, ours, peers, processes
from bench.definitions import KEY
from bench.timing import ROUNDS, race
from rollout.bucketing import Draw, bucket

UNITS = [f"app-{number}" for number in range(4000)]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("make", [ours.decider, ours.evaluate, peers.flagd])
def test_a_contender_has_exactly_the_cohort_of_the_standard(
    make: Callable[[], peers.Contender],
) -> None:
    contender = make()
    assert [unit for unit in UNITS if contender.is_inside(unit)] == [
        unit for unit in UNITS if bucket(Draw(KEY), unit) < 5000
    ]
    contender.run(UNITS[:10])


def test_the_floor_hashes_the_unit_alone_and_has_five_percent_too() -> None:
    floor = ours.floor()
    floor.run(UNITS)
    assert 4.5 <= sum(map(floor.is_inside, UNITS)) * 100 / len(UNITS) <= 5.5


def test_in_a_race_everybody_runs_in_every_round_in_turns() -> None:
    ran: list[str] = []
    rounds: list[int] = []
    took = race(
        {"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, on_round=rounds.append
    )
    assert set(took) == {"a", "b"}
    assert len(rounds) >= ROUNDS
    assert ran.count("a") == ran.count("b") == len(rounds)
    assert ran[:4] == ["a", "b", "b", "a"]


def test_a_peer_that_cannot_run_is_named_with_the_reason() -> None:
    def absent() -> peers.Contender:
        raise ModuleNotFoundError("No module named 'absent'")

    def broken() -> peers.Contender:
        raise OSError("asks a server")

    def unfair() -> peers.Contender:
        return peers.Contender("unfair", "mmh3", "value", lambda _: None, lambda _: True)

    units = [f"app-{number}" for number in range(40_000)]
    lines = list(flags.decisions(units, [*ours.OURS, absent, broken, unfair], {"x": "too old"}))
    assert lines[-4:] == [
        f"| {name} |  | left out: {reason} |  |  |  |"
        for name, reason in (
            ("x", "too old"),
            ("absent", "cannot be imported: No module named 'absent'"),
            ("broken", "cannot run offline: OSError: asks a server"),
            ("unfair", "has 100.00 % of the units inside, and not 5 %"),
        )
    ]
    floors = sum(line.startswith("| the floor") for line in lines)
    assert sum(line.startswith("| tidegate") for line in lines) == len(ours.OURS) - floors == 3


def test_the_bulk_contenders_do_the_work_of_cohort_and_diff(tmp_path: Path) -> None:
    for run in bulk.contenders(UNITS, tmp_path).values():
        run()
    assert (tmp_path / "units").read_bytes().split() == [unit.encode() for unit in UNITS]


def test_a_diff_is_measured_in_a_process_of_its_own() -> None:
    ballast = bytearray(200_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])
    peak = bulk.diff_peak(2000)
    assert 5 < peak.memory_mb < 100
    assert len(ballast) > 0
    assert (
        f"{sum(5000 <= bucket(Draw(KEY), f'app-{n:08d}') < 10_000 for n in range(2000))}"
        in peak.output
    )


def test_the_processes_run(tmp_path: Path) -> None:
    for run in processes.contenders(tmp_path).values():
        run()


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), ([], 2), (["nonsense"], 2)])
def test_the_script_prints_its_usage(arguments: list[str], code: int) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "bench", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "usage: scripts/bench flags" in done.stdout + done.stderr


def test_a_benchmark_that_is_not_there_is_an_error_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "nothing"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert done.stderr == "there is no bench/nothing.py: see scripts/bench --help\n"


def test_the_clients_of_openfeature_are_asked_for_the_same(tmp_path: Path) -> None:
    with clients.contenders(UNITS[:20], tmp_path) as runs:
        assert list(runs) == [clients.IN_MEMORY, "tidegate", "flagd"]
        for run in runs.values():
            run()
