"""Commands of one's own before and after a run, with the report in their environment.

A hook gets what `deploy` was started with, without the platform's token, and
`TIDEGATE_*` beside it. Its output goes to standard error: standard output is the
run's. After its time it is killed with all that it started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deploy.notify.posting import NotDelivered
from deploy.notify.settings import Hook
from deploy.readers.report import Report

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WITHHELD = ("FLY_API_TOKEN", "FLY_ACCESS_TOKEN", "TIDEGATE_LOCAL_TOKEN")
_LONGEST = 30_000  # characters of one variable: Linux takes 128 KiB


def run_hook(name: str, hook: Hook, report: Report, environ: Mapping[str, str], cwd: Path) -> None:
    """Run it to its end. Raises NotDelivered where it fails or takes longer than its time."""
    with tempfile.TemporaryDirectory(prefix="tidegate-") as directory:
        path = Path(directory) / "report.json"
        path.write_text(f"{report.to_line()}\n", encoding="utf-8")
        with _ended_by_signals() as heed:
            code = _run(name, hook, environment(report, environ, path), cwd, heed)
    if code:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise NotDelivered(f"the {name} hook {how}")


def environment(report: Report, environ: Mapping[str, str], path: Path) -> dict[str, str]:
    """TIDEGATE_APP, _IMAGE, _RESULT and every other plain field of the report, and its file."""
    fields: Mapping[str, Any] = report.to_json()
    said = {
        f"TIDEGATE_{key.upper()}": "" if value is None else str(value)[:_LONGEST].replace("\0", "")
        for key, value in fields.items()
        if not isinstance(value, list | dict)
    }
    kept = {key: value for key, value in environ.items() if key not in _WITHHELD}
    return kept | said | {"TIDEGATE_REPORT": str(path)}


def _run(
    name: str, hook: Hook, environ: Mapping[str, str], cwd: Path, heed: Callable[[], None]
) -> int:
    """The exit code; `heed` raises for a signal that came before there was a process to end."""
    words = ["sh", "-c", hook.command] if isinstance(hook.command, str) else list(hook.command)
    try:
        process = subprocess.Popen(  # noqa: S603 - the command is the person's own
            words,
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=_stderr(),
            start_new_session=True,
        )
    except OSError as error:
        raise NotDelivered(f"the {name} hook cannot be started: {error.strerror}") from None
    try:
        heed()
        return process.wait(hook.timeout_s)
    except subprocess.TimeoutExpired:
        raise NotDelivered(f"the {name} hook has not ended within {hook.timeout_s:g} s") from None
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _ended_by_signals() -> Iterator[Callable[[], None]]:
    """Signals raise KeyboardInterrupt, so that the hook is not left behind.

    From when what is yielded is called: it raises for one that came before that.
    """
    heeded, came = False, False

    def interrupt(*_: object) -> None:
        nonlocal came
        came = True
        if heeded:
            raise KeyboardInterrupt

    def heed() -> None:
        nonlocal heeded
        heeded = True
        if came:
            raise KeyboardInterrupt

    known = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: each for number, each in known.items() if each is not signal.SIG_IGN}
    try:
        with suppress(ValueError):  # not in the main thread: signals are not ours there
            for number in before:
                signal.signal(number, interrupt)
        yield heed
    finally:
        with suppress(ValueError):
            for number, handler in before.items():
                signal.signal(number, handler)


def _stderr() -> int:
    """Standard error, or nowhere: it may be closed, or replaced by what has no file."""
    with suppress(OSError, ValueError):
        return sys.stderr.fileno()
    return subprocess.DEVNULL
