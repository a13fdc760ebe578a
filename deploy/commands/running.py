"""A run with its readers attached: what it tells is shown and kept, and its code is the exit's."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import click

from deploy.api.connection import on_call
from deploy.commands.notifying import open_notifier
from deploy.commands.target import Target
from deploy.ending import broken_off
from deploy.errors import EXIT_INTERRUPTED, OwnFault, UsageProblem, as_ours, each_of
from deploy.events import Emit, RunFinished, emitter
from deploy.readers import atomic, journal
from deploy.readers.progress import Progress, open_progress
from deploy.readers.record import Record

# A run that tells what happens; None where there was nothing to do.
Start = Callable[[Emit], Awaitable[RunFinished | None]]


def run_and_leave(target: Target, options: dict[str, Any], start: Start) -> None:
    """Run with its readers attached, write the report, leave with the run's code."""
    report_path: Path | None = options["report_path"]
    if report_path is not None and not report_path.absolute().parent.is_dir():
        raise UsageProblem(
            f"--report: {report_path.parent} is not a directory",
            hint="make it first, or name a file in a directory that is there",
        )
    with ExitStack() as readers:
        now = steady_clock()
        # Entered first: notifications are sent when the closing report is on the screen.
        others = readers.enter_context(open_notifier(target, options, os.environ, now, warn))
        on_call.set(others.call)
        progress = readers.enter_context(
            open_progress(options["output"], sys.stdout, sys.stderr, os.environ, now)
        )
        kept = readers.enter_context(journal.Journal(journal.default_directory(), warn))
        records = [Record(directory, warn)] if (directory := options.get("reports")) else []
        finished = _finish(start, emitter(now, progress, kept, *records, others), progress)
        if finished is None:
            click.echo("nothing to do: no deploy is unfinished", err=True)
            return
    if report_path is not None:
        try:
            atomic.write_text(report_path, f"{progress.report.to_line()}\n")
        except OSError as error:
            warn(f"--report {report_path} could not be written: {error.strerror}")
    sys.exit(finished.exit_code)


def _finish(start: Start, emit: Emit, progress: Progress) -> RunFinished | None:
    """The run to its end; one that has begun and fails without an end of its own gets one.

    So that the report has its result and exit code. Raises what ends a run before
    that, and faults of our own.
    """
    try:
        return anyio.run(start, emit, backend_options={"use_uvloop": True})
    except Exception as error:
        if not progress.report.run_id:
            raise
        worst = max(map(as_ours, each_of(error)), key=lambda each: each.exit_code)
        finished = broken_off(worst, progress.report.app)
        emit(finished)
        if isinstance(worst, OwnFault):
            raise
        return finished


def steady_clock(
    wall_s: Callable[[], float] = time.time, steady_s: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """Unix seconds that pass evenly: read off the wall once, whatever is done to it later."""
    ahead_s = wall_s() - steady_s()
    return lambda: ahead_s + steady_s()


def leave_at_once() -> None:
    """After a second signal: nothing is waited for; the terminal gets its cursor back."""
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h\n")
    os._exit(EXIT_INTERRUPTED)


def warn(message: str) -> None:
    click.echo(f"warning: {message}", err=True)
