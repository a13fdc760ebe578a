"""What a deploy costs: the real command against the local platform in a process of its own.

`scripts/bench deploys`. Machines are simulated and exact (bench/simulated.py),
so that the time which a deploy must take is known (bench/path.py). Smoke checks
and the minimum healthy time are off, unless --defaults asks for them: they are
seconds that a tool chooses to wait. Where FLYCTL names a flyctl and
FLY_API_BASE_URL a stub of the rest of Fly's API, flyctl deploys the same fleets.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count, product
from pathlib import Path
from statistics import median
from typing import Any

from bench.path import critical_path_s
from bench.simulated import APP, FLY_TOML, Options

PATHS = {"legacy": "0", "retrying": "5"}
_COLUMNS = (
    "tool",
    "strategy",
    "machines",
    "latency",
    "wall s",
    "path s",
    "ratio",
    "first write",
    "calls a machine",
    "by kind",
    "CPU ms a machine",
    "peak MB",
    "hiccups",
    "exit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One deploy. `first_write_s` counts from its first request, `startup_s` until that."""

    wall_s: float
    startup_s: float
    first_write_s: float
    cpu_s: float
    peak_mb: float
    calls: Mapping[str, int]
    hiccups: int
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is deployed, and how: `watches` whether what has passed its checks stays watched."""

    tool: str
    strategy: str
    options: Options
    watches: bool

    def command(self, directory: Path, image: str) -> list[str]:
        same = ["--image", image, "--strategy", self.strategy]
        if self.tool == "flyctl":
            toml = str(directory / "fly.toml")
            off = [] if self.watches else ["--smoke-checks=false"]
            return [os.environ["FLYCTL"], "deploy", "--app", APP, "--config", toml, *same, *off]
        command = str(Path(sys.executable).with_name("deploy"))
        report = str(directory / "report.json")
        same += ["--deploy-retries", PATHS[self.tool], "--report", report]
        off = [] if self.watches else ["--no-smoke-checks", "--min-healthy", "0s"]
        return [command, str(directory), *same, *off]


def main(arguments: Sequence[str]) -> None:
    """Print a table, and write it to a file where one is named."""
    asked = _parser().parse_args(arguments)
    tools = [*asked.paths, *(["flyctl"] if _has_flyctl() else [])]
    lines = [_line(_COLUMNS), _line("---" for _ in _COLUMNS)]
    sys.stdout.write("\n".join(lines) + "\n")
    for machines, latency_ms in product(asked.machines, asked.latencies):
        options = Options(
            machines=machines,
            latency_s=latency_ms / 1000,
            boot_s=asked.boot,
            check_s=asked.check,
        )
        for strategy in asked.strategies:
            rows = [
                Row(tool=tool, strategy=strategy, options=options, watches=asked.defaults)
                for tool in tools
            ]
            lines += _measured(options, rows, asked.rounds)
    if asked.out:
        asked.out.write_text(_note(asked) + "\n".join(lines) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench deploys", description=__doc__)
    several = {"nargs": "+", "metavar": "N"}
    parser.add_argument("--machines", type=int, default=[4, 20, 100, 1000], **several)  # type: ignore[arg-type]  # its stubs want each option spelt out
    parser.add_argument("--latencies", type=float, default=[0, 50], **several)  # type: ignore[arg-type]  # as above
    parser.add_argument("--strategies", nargs="+", default=["rolling"], metavar="NAME")
    parser.add_argument("--paths", nargs="+", default=list(PATHS), choices=list(PATHS))
    parser.add_argument("--boot", type=float, default=1.0, help="seconds until a machine starts")
    parser.add_argument("--check", type=float, default=0.5, help="seconds until its check passes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--defaults", action="store_true", help="with smoke checks and the minimum healthy time"
    )
    parser.add_argument("--out", type=Path)
    return parser


def _has_flyctl() -> bool:
    has_both = bool(os.environ.get("FLYCTL") and os.environ.get("FLY_API_BASE_URL"))
    if not has_both:
        sys.stdout.write("flyctl is left out: FLYCTL and FLY_API_BASE_URL name none\n\n")
    return has_both


def _measured(options: Options, rows: Sequence[Row], rounds: int) -> Iterator[str]:
    """All rows take turns on one platform; a line for each."""
    with tempfile.TemporaryDirectory() as name, _platform(options) as url:
        directory = Path(name)
        (directory / "fly.toml").write_text(FLY_TOML)
        images = count(1)
        taken: list[list[Taken]] = [[] for _ in rows]
        for _, (row, runs) in product(range(rounds), list(zip(rows, taken, strict=True))):
            runs.append(_deploy(row, directory, f"bench:{next(images)}", url))
        for row, runs in zip(rows, taken, strict=True):
            line = _line(_cells(row, runs))
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            yield line


@contextmanager
def _platform(options: Options) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.simulated", json.dumps(asdict(options))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        try:
            yield next(iter(process.stdout or ())).strip()
        finally:
            process.kill()


def _deploy(row: Row, directory: Path, image: str, url: str) -> Taken:
    _asked(url)
    report = directory / "report.json"
    report.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "FLY_FLAPS_BASE_URL": url,
        "FLY_API_TOKEN": "bench",
        "XDG_STATE_HOME": str(directory / "state"),
    }
    with (directory / "output").open("w") as output:
        began = time.time()
        process = subprocess.Popen(  # noqa: S603 - ours, or the flyctl that was named
            row.command(directory, image), env=environment, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        ended = time.time()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.stderr.write((directory / "output").read_text()[-2000:])
    asked = _asked(url)
    first = asked["first"]
    told = json.loads(report.read_text()) if report.exists() else {}
    return Taken(
        wall_s=ended - began,
        startup_s=first.get("call", ended) - began,
        first_write_s=first.get("write", ended) - first.get("call", ended),
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss / 1024,
        calls=asked["calls"],
        hiccups=told.get("hiccups_met", 0),
        exit_code=process.returncode,
    )


def _asked(url: str) -> dict[str, dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/bench") as answer:  # noqa: S310 - our own server
        found: dict[str, dict[str, Any]] = json.load(answer)
        return found


def _cells(row: Row, runs: Sequence[Taken]) -> Iterator[str]:
    options, machines = row.options, row.options.machines
    wall_s = median(run.wall_s for run in runs)
    path_s = critical_path_s(options, row.strategy)
    first_s = median(run.first_write_s for run in runs)
    calls: Counter[str] = sum((Counter(run.calls) for run in runs), Counter())
    each = {kind: number / len(runs) for kind, number in calls.most_common()}
    in_latencies = f" ({first_s / options.latency_s:.1f} L)" if options.latency_s else ""
    yield from (row.tool, row.strategy, f"{machines:,}", f"{options.latency_s * 1000:.0f} ms")
    yield f"{wall_s:.2f}"
    yield f"{path_s:.2f}"
    yield f"{wall_s / path_s:.2f}"
    yield f"{first_s:.2f} s{in_latencies}"
    yield f"{sum(each.values()) / machines:.2f}"
    yield ", ".join(f"{kind} {number:.0f}" for kind, number in each.items())
    yield f"{median(run.cpu_s for run in runs) * 1000 / machines:.2f}"
    yield f"{max(run.peak_mb for run in runs):.0f}"
    yield f"{sum(run.hiccups for run in runs)}"
    yield ", ".join(str(code) for code in sorted({run.exit_code for run in runs}))


def _line(cells: Iterator[str] | Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _note(asked: argparse.Namespace) -> str:
    busy = os.getloadavg()[0]
    return (
        "# What a deploy costs\n\n"
        f"Printed by `scripts/bench deploys`; medians of {asked.rounds}. Machines boot in "
        f"{asked.boot:g} s and pass their check {asked.check:g} s later. Smoke checks and the "
        f"minimum healthy time are {'on' if asked.defaults else 'off'}. Python "
        f"{platform.python_version()}, {os.cpu_count()} processors, which others kept busy with a "
        f"load of {busy:.0f}: compare ratios, not seconds.\n\n"
    )
