"""Whose a container is: every platform knows its own, and those of platforms that are gone.

A platform keeps a file locked for as long as it lives (flock(2)), and everything
that it makes in an engine carries that file's path as a label. Who can lock the file
knows that the platform is gone, however it ended, and may remove what it left. What
has no such label, or comes from another computer, is never touched.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import platformdirs

PLATFORM, HOST, STATE = "tidegate.platform", "tidegate.host", "tidegate.state"


class Owner:
    """One platform as the owner of what it makes; a context manager that holds its file.

    `state` is the directory of --state, empty without: volumes outlive the platform
    for as long as that is there.
    """

    def __init__(self, state: Path | None = None) -> None:
        self.id = secrets.token_hex(4)
        self.state = str(state or "")
        self._path = _directory() / f"{self.id}.lock"
        self._file = -1

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        unlocked = self._path.with_suffix(".new")  # nobody may find it before it is locked
        self._file = os.open(unlocked, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlocked.rename(self._path)
        return self

    def __exit__(self, *_error: object) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._file)

    @property
    def labels(self) -> dict[str, str]:
        return {PLATFORM: str(self._path), HOST: socket.gethostname()}

    @property
    def volume_labels(self) -> dict[str, str]:
        return self.labels | ({STATE: self.state} if self.state else {})

    def volume_name(self, volume: str) -> str:
        """The same for every platform that goes on with the same state."""
        of = hashlib.sha256(self.state.encode()).hexdigest()[:8] if self.state else self.id
        return f"tidegate-{of}-{volume}"

    def made(self, labels: Mapping[str, str]) -> bool:
        """Whether this platform made what carries these labels."""
        return labels.get(PLATFORM) == str(self._path)


def is_left_over(labels: Mapping[str, str]) -> bool:
    """Whether the platform that made this is gone, and nothing needs it any more."""
    path, state = labels.get(PLATFORM), labels.get(STATE)
    is_from_here = labels.get(HOST) == socket.gethostname()
    if not path or not is_from_here or (state and Path(state).is_dir()):
        return False
    return not _is_held(Path(path))


def forget_left_over() -> None:
    """Remove the files of platforms that were killed."""
    for path in _directory().glob("*.lock"):
        if not _is_held(path):
            path.unlink(missing_ok=True)


def _directory() -> Path:
    return platformdirs.user_state_path("tidegate", appauthor=False) / "local" / "engine"


def _is_held(path: Path) -> bool:
    """Whether somebody holds the file's lock; in doubt, somebody does."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(file)
        return False
    os.close(file)
    return True
