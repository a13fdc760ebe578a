"""Platforms that go on by themselves: begun with `up --detach`, ended with `down`.

Each has a file named after its port, which holds its process id and which it
keeps locked for as long as it lives (flock(2)): who can lock the file knows that
the platform is gone, whatever process has its id by now.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from deploy.errors import UsageProblem

ENDS_WITHIN_S = 15.0
_LOOK_EVERY_S = 0.05
_READY = b"ready"


def directory() -> Path:
    """Where the files and, if nothing else is said, the logs are."""
    return platformdirs.user_state_path("tidegate", appauthor=False) / "local"


@dataclass(frozen=True, slots=True)
class Claim:
    """The locked file of one platform, and the pipe on which it says that it serves."""

    file: int
    ready: tuple[int, int]

    def say_ready(self) -> None:
        os.write(self.ready[1], _READY)
        os.close(self.ready[1])


def claim(port: int) -> Claim:
    """Take the file of a port. Raises UsageProblem."""
    path = directory() / f"{port}.pid"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageProblem(
            f"cannot detach: {path} cannot be written and locked: {error.strerror}",
            hint="set XDG_STATE_HOME to a directory of yours, or leave --detach out",
        ) from None
    return Claim(file, os.pipe())


def leave(claimed: Claim, log: Path) -> bool:
    """Go on in the background: False there, True in the process that was started by a person.

    There, standard output and error go to the end of `log`. Here it returns when
    the platform serves. Raises UsageProblem if it ends before that.
    """
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise UsageProblem(
            f"cannot detach: the log {log} cannot be written: {error.strerror}",
            hint="choose another one with --log",
        ) from None
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(claimed.ready[0])
        return False
    os.close(claimed.ready[1])
    os.truncate(claimed.file, 0)
    os.write(claimed.file, f"{child}\n".encode())
    if os.read(claimed.ready[0], len(_READY)) != _READY:
        raise UsageProblem("the platform ended before it served", hint=f"its log says why: {log}")
    return True


def end(port: int | None) -> int:
    """End the platform of a port, or the only one; its port. Raises UsageProblem."""
    path = _choose(port)
    with suppress(OSError, ValueError):
        os.kill(int(path.read_text()), signal.SIGTERM)
    deadline = time.monotonic() + ENDS_WITHIN_S
    while _is_alive(path):
        if time.monotonic() > deadline:
            raise UsageProblem(
                f"the platform on port {path.stem} has not ended in {ENDS_WITHIN_S:g} s",
                hint=f"`deploy local down` again, or kill the process whose id is in {path}",
            )
        time.sleep(_LOOK_EVERY_S)
    path.unlink(missing_ok=True)
    return int(path.stem)


def _choose(port: int | None) -> Path:
    alive = {int(path.stem): path for path in _files() if _is_alive(path)}
    if port is None and len(alive) > 1:
        ports = ", ".join(str(port) for port in sorted(alive))
        raise UsageProblem(f"several platforms run detached: {ports}", hint="name one with --port")
    found = alive.get(port) if port is not None else next(iter(alive.values()), None)
    if found is None:
        which = "" if port is None else f" on port {port}"
        raise UsageProblem(
            f"no platform runs detached{which}", hint="begin one with `deploy local up --detach`"
        )
    return found


def _files() -> Iterator[Path]:
    return (path for path in directory().glob("*.pid") if path.stem.isdigit())


def _is_alive(path: Path) -> bool:
    with suppress(OSError):
        file = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
    return False
