"""What reading outcomes costs: a million records as JSON lines, ten million as Parquet.

Each is a process of its own, with its child if it has one, timed by the wall clock and by
processor time; memory is the peak of both, looked at every 20 ms. Records are reports as a
deploy of two machines writes them, 1.3 kB each.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

import click

from bench.memory import memory_kb
from rollout.bucketing import Draw, bucket

FLAG = "deploy-retries"
RECORDS, ROWS = 1_000_000, 10_000_000
_APPS = 4000
_START = 1_795_000_000
_PATH = (5, 5, 10, 25, 25, 50, 50)
_HEADING = """\
# What reading outcomes costs

Printed by `scripts/bench outcomes`. `rollout outcomes` as a process, over reports of two
machines each (1.3 kB), 4 % of them failures of 4,000 apps. At most 5 s and 100 MB for a
million, 10 s and 600 MB for ten million in Parquet.
"""


class Cost(NamedTuple):
    """Seconds by the wall clock and of the processor, and the peak of memory in MB."""

    wall_s: float
    processor_s: float
    memory_mb: float


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench outcomes", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the records")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there as well")
    options = parser.parse_args(arguments)
    lines = []
    for line in table(100 if options.quick else 1):
        click.echo(line)
        lines.append(line)
    if options.out:
        options.out.write_text("\n".join([_HEADING, *lines, ""]), "utf-8")


def table(smaller: int) -> Iterator[str]:
    """The lines of the table, in Markdown, as they become known."""
    yield "| | records | wall, s | processor, s | peak, MB |"
    yield "|---|--:|--:|--:|--:|"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for by in ("app", "deploy"):
            flags = _flags(directory, by)
            reports = directory / "reports.jsonl"
            write(reports, RECORDS // smaller, by)
            yield _row(f"JSON lines, bucket_by {by}", RECORDS // smaller, cost(flags, reports))
            reports.unlink()
        flags, parquet = _flags(directory, "app"), directory / "reports.parquet"
        # In another process: a child begins with its parent's peak of memory for its own.
        with Pool(1) as pool:
            pool.apply(write_parquet, (directory, parquet, ROWS // smaller))
        yield _row("Parquet, bucket_by app", ROWS // smaller, cost(flags, parquet))


def write(path: Path, count: int, by: str) -> None:
    """So many reports, one on each line, over a week in which the percentage rises."""
    rng = random.Random(1)  # noqa: S311 -- seeded chance, not secrets
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps(report(number, count, by, rng), separators=(",", ":")) + "\n")


def report(number: int, count: int, by: str, rng: random.Random) -> dict[str, object]:
    """The report of one deploy of two machines."""
    app, deploy = f"app-{rng.randrange(_APPS)}", f"01k{number:013d}"
    unit = app if by == "app" else deploy
    percent = _PATH[number * len(_PATH) // count]
    place = bucket(Draw(FLAG), unit)
    inside, failed = place < percent * 1000, rng.random() < 0.04
    said = {
        "source": "flags.yaml", "sentence": f"{FLAG}: auto -> {5 if inside else 0}", "flag": FLAG,
        "unit": unit, "bucket": place, "percent": float(percent),
        "variant": "inside" if inside else "outside", "reason": "SPLIT",
        "value": 5 if inside else 0, "error": "",
    }  # fmt: skip
    machine = {
        "machine_id": "d891234a567", "name": "web-1", "group": "web", "region": "fra",
        "version": "01JDVZ6Q1MW3R8X9Y2Z4A5B6C7", "image": f"registry/{app}:v2", "state": "started",
        "cordoned": False, "checks": "1/1", "runs": "new", "detail": "",
    }  # fmt: skip
    return {
        "v": 2, "at": round(_START + number * 604_800 / count, 3), "event": "report", "app": app,
        "deploy": deploy, "deploy_id": deploy, "run_id": f"{deploy}r", "command": "deploy",
        "image": f"registry/{app}:v2", "strategy": "rolling", "decision": said, "assigned": said,
        "path": "retrying" if inside else "legacy", "retries_allowed": 5 if inside else 0,
        "passes_used": 1, "retries_used": 0, "passes_back": 0, "hiccups_met": 0,
        "hiccups_mended": 0, "result": "in-between" if failed else "done",
        "cause": "platform" if failed else None, "exit_code": 3 if failed else 0,
        "message": f"{app} runs registry/{app}:v2", "hint": "", "machines": [machine, machine],
        "leftovers": [], "notices": [], "started": "2026-11-23T00:36:12.345Z",
        "finished": "2026-11-23T00:36:52.345Z", "duration_s": round(rng.expovariate(1 / 40), 3),
        "machine_durations_s": {"d891234a567": 12.345},
    }  # fmt: skip


def write_parquet(directory: Path, path: Path, count: int) -> None:
    """So many reports as Parquet: a hundredth of them written, and each repeated as others."""
    import duckdb

    seed = directory / "seed.jsonl"
    write(seed, count // 100, "app")
    duckdb.sql(
        f"COPY (SELECT r.* REPLACE (r.deploy || '-' || n AS deploy, r.run_id || n AS run_id) "  # noqa: S608 -- paths of ours
        f"FROM read_json('{seed}') AS r, range(100) AS t(n)) TO '{path}' (FORMAT parquet)"
    )
    seed.unlink()


def cost(flags: Path, reports: Path) -> Cost:
    """`rollout outcomes` as a process of its own."""
    command = [sys.executable, "-m", "rollout", "outcomes", FLAG, "--at", "2027-01-01T00:00Z"]
    command += ["--file", str(flags), "--output", "json", "--reports", str(reports)]
    began, peak_kb = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 -- our own command
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak_kb = max(peak_kb, memory_kb(process.pid))
        time.sleep(0.02)
    wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"rollout outcomes ended with {process.returncode}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, peak_kb / 1024)


def _flags(directory: Path, by: str) -> Path:
    path = directory / f"{by}.yaml"
    rest = "percent: 50, inside: 5, outside: 0"
    path.write_text(f"version: 1\nflags:\n  {FLAG}: {{bucket_by: {by}, {rest}}}\n")
    return path


def _row(what: str, count: int, spent: Cost) -> str:
    return (
        f"| {what} | {count:,} | {spent.wall_s:.1f} | {spent.processor_s:.1f} | "
        f"{spent.memory_mb:.0f} |"
    )
