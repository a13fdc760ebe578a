"""Units for a command: opened, and with a bar on a terminal that says how far it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rollout.sources.units import Units, open_units
from rollout.wording import count, printable


@contextmanager
def opened(path: str, *, bar: bool = True) -> Iterator[Units]:
    """The units at `path` (`-` is standard input); the bar goes to standard error."""
    if not (bar and sys.stderr.isatty()):
        with open_units(path) as units:
            yield units
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    total = None
    with suppress(OSError, ValueError):
        total = Path(path).stat().st_size or None
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("units", total=total)
        with open_units(path, lambda size: progress.advance(task, size)) as units:
            yield units


def write_lines(units: list[bytes], before: bytes = b"") -> None:
    """Write units to standard output, byte for byte; a terminal gets no control characters."""
    if not units:
        return
    if sys.stdout.isatty():
        units = [printable(unit.decode()).encode() for unit in units]
    sys.stdout.flush()
    sys.stdout.buffer.write(before + (b"\n" + before).join(units) + b"\n")
    sys.stdout.buffer.flush()  # before what standard error says about it


def left_out(units: Units, sign: str) -> str:
    """What was no unit, as the end of a sentence that goes on behind `sign`."""
    return f"{sign} left out {count(units.empty, 'empty line')}" if units.empty else ""
