"""The journal: every event of every run as JSON lines in the user's state directory.

`<state>/deploys/<app>/<run>.jsonl`, for history and timelines on this computer
only; what another computer needs to finish a deploy is on the platform. A
journal never fails a deploy: what cannot be written is one warning. It keeps
the newest 200 runs of an app and knows nothing of what the events mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import platformdirs

from deploy.events import Event, RunStarted, from_json, to_json, to_line

RUNS_KEPT = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_LENGTH = 100
_LINE_LIMIT_BYTES = 4 << 20


def default_directory() -> Path:
    """Where journals are: `$XDG_STATE_HOME/tidegate/deploys` on Linux, its like elsewhere."""
    return Path(platformdirs.user_state_dir("tidegate", appauthor=False)) / "deploys"


class Journal:
    """A reader of events that appends each one to the file of its run.

    The file is opened at `RunStarted`; what comes before it is kept until then.
    Files are 0600 and directories 0700: messages may tell of an app's insides.
    `warn` is called at most once, when the journal gives up.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        self.path: Path | None = None
        self._directory = directory
        self._warn = warn
        self._file: int | None = None
        self._early: list[bytes] = []
        self._has_given_up = False

    def __call__(self, at: float, event: Event) -> None:
        if self._has_given_up:
            return
        line = f"{to_line(to_json(at, event))}\n".encode("ascii")
        try:
            if self._file is None and isinstance(event, RunStarted):
                self._open(event)
            if self._file is None:
                self._early.append(line)
            else:
                _write_all(self._file, line)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, started: RunStarted) -> None:
        folder = self._directory / safe_name(started.app)
        self.path = folder / f"{safe_name(started.run_id)}.jsonl"
        _make_private(folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o600)
        for line in self._early:
            _write_all(self._file, line)
        self._early.clear()
        _prune(folder)

    def _give_up(self, error: OSError) -> None:
        self._has_given_up = True
        self._early.clear()
        self.close()
        where = self.path or self._directory
        reason = error.strerror or type(error).__name__
        self._warn(
            f"the journal {where} cannot be written ({reason}): "
            "the deploy goes on, `deploy report` will miss this run or its end"
        )


def read(path: Path) -> list[tuple[float, Event]]:
    """The events of one journal as (Unix seconds, event).

    A torn last line, and any line that this version cannot read, is passed over.

    Raises OSError when the file cannot be read.
    """
    with path.open("rb") as lines:
        decoded = (_decode(line) for line in iter(lambda: lines.readline(_LINE_LIMIT_BYTES), b""))
        return [entry for entry in decoded if entry is not None]


@dataclass(frozen=True, slots=True)
class Kept:
    """One journal on disk; `started_s` is in Unix seconds."""

    path: Path
    started_s: float
    started: RunStarted


def runs(directory: Path, app: str | None = None) -> list[Kept]:
    """The journals of one app, or of all, newest first; files that are none are passed over."""
    folders = [directory / safe_name(app)] if app else _listing(directory)
    kept = [found for folder in folders for path in _listing(folder) if (found := _head(path))]
    return sorted(kept, key=lambda each: (each.started_s, each.path.name), reverse=True)


def find(directory: Path, identity: str | None = None, app: str | None = None) -> Kept | None:
    """The newest run whose run or deploy id is `identity`, or begins with it; None asks for any."""
    kept = runs(directory, app)
    if not identity:
        return kept[0] if kept else None
    ids = [(each, (each.started.run_id, each.started.deploy_id)) for each in kept]
    exact = (each for each, own in ids if identity in own)
    begun = (each for each, own in ids if any(one.startswith(identity) for one in own))
    return next(exact, None) or next(begun, None)


def safe_name(name: str) -> str:
    """A file name for an app or run: itself where that is safe, else told apart by a hash."""
    plain = _UNSAFE.sub("_", name).lstrip(".")[:_NAME_LENGTH]
    if plain == name and name:
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain or 'unnamed'}-{mark}"


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _make_private(folder: Path) -> None:
    """Make the folder of an app; `deploys` and `tidegate` above it are as private as it is."""
    base = folder.parent.parent
    base.parent.mkdir(parents=True, exist_ok=True)
    for each in (base, folder.parent, folder):
        each.mkdir(mode=0o700, exist_ok=True)


def _prune(folder: Path) -> None:
    """Remove the oldest journals beyond `RUNS_KEPT`; another run may be doing the same."""
    ages = []
    for path in _listing(folder):
        with contextlib.suppress(OSError):
            ages.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(ages)[:-RUNS_KEPT]:
        with contextlib.suppress(OSError):
            path.unlink()


def _listing(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from [path for path in folder.iterdir() if path.is_dir() or path.suffix == ".jsonl"]


def _head(path: Path) -> Kept | None:
    """What a journal is of, by its first lines: notices may come before the start."""
    try:
        with path.open("rb") as lines:
            for _ in range(32):
                entry = _decode(lines.readline(_LINE_LIMIT_BYTES))
                if entry and isinstance(entry[1], RunStarted):
                    return Kept(path, entry[0], entry[1])
    except OSError:
        pass
    return None


def _decode(line: bytes) -> tuple[float, Event] | None:
    try:
        return from_json(msgspec.json.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
