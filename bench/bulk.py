"""Millions of units: the price of one in bulk, and the memory that ten million take."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bench.definitions import KEY
from bench.ours import FLAGS_TEXT, flags
from rollout.review import cohort
from rollout.sources.units import Units

_BATCH = 8192
_PEAK = """\
import json, os, subprocess, sys, time
began = time.monotonic()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
out = child.stdout.read()
_, status, used = os.wait4(child.pid, 0)
scale = 1 if sys.platform == "darwin" else 1024
print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_maxrss * scale,
                  time.monotonic() - began, out.decode()]))
"""


class Peak(NamedTuple):
    """What a process took: its peak resident memory, its time, and what it printed."""

    memory_mb: float
    seconds: float
    output: str


def contenders(units: Iterable[str], directory: Path) -> dict[str, Callable[[], object]]:
    """What `cohort` and `diff` do for each unit: with the units at hand, and from a file."""
    data = [unit.encode() for unit in units]
    batches = [data[start : start + _BATCH] for start in range(0, len(data), _BATCH)]
    path = directory / "units"
    path.write_bytes(b"\n".join(data))
    before, after, now = flags(5)[KEY], flags(10)[KEY], datetime.now(UTC)

    def from_file(work: Callable[[list[bytes]], object]) -> None:
        with path.open("rb") as stream:
            for batch in Units(stream, str(path)):
                work(batch)

    def members(batch: list[bytes]) -> object:
        return cohort.members(before, batch, now)

    def tally(batch: list[bytes]) -> object:
        return cohort.tally(before, after, batch, now)

    return {
        "cohort, units in memory": lambda: [members(batch) for batch in batches],
        "diff, units in memory": lambda: [tally(batch) for batch in batches],
        "cohort, reading a file": lambda: from_file(members),
        "diff, reading a file": lambda: from_file(tally),
    }


def diff_peak(count: int) -> Peak:
    """`rollout diff` of a bump from 5 to 10 %, as a process, over `count` distinct units."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for percent in (5, 10):
            text = FLAGS_TEXT.format(key=KEY, percent=percent)
            (directory / f"{percent}.yaml").write_text(text)
        with (directory / "units").open("w") as file:
            file.writelines(f"app-{number:08d}\n" for number in range(count))
        command = [sys.executable, "-m", "rollout", "diff", "5.yaml", "10.yaml", "--units", "units"]
        # A small process starts the one that is measured: on Linux the peak of a child
        # begins with the memory of its parent, and this one is full of peers.
        done = subprocess.run(  # noqa: S603 -- our own command
            [sys.executable, "-c", _PEAK, *command],
            cwd=directory,
            capture_output=True,
            check=True,
        )
    exit_code, peak_bytes, seconds, output = json.loads(done.stdout)
    if exit_code != 0:
        raise SystemExit(f"rollout diff left with {exit_code}: {done.stderr.decode()}")
    return Peak(peak_bytes / 1e6, seconds, output)
