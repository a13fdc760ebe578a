"""Reports from files, directories, patterns and standard input, one record at a time.

A file holds one JSON object, or one on each line; lines that are other events of a run are
passed over. What cannot be read is named and counted, and reading goes on.
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Final, TypeVar

import msgspec

from rollout.errors import SourceProblem
from rollout.outcomes.record import Record
from rollout.wording import show

R = TypeVar("R", bound=Record)

LONGEST: Final = 16 << 20
"""A report of more bytes than that is not one."""

STDIN: Final = "-"
PARQUET: Final = ".parquet"
_SUFFIXES: Final = (".json", ".jsonl", ".ndjson", PARQUET)
_NAMED: Final = 20


class Reports(Iterable[R]):
    """The records of all files, each as a `kind`; can be gone through again.

    `path` is the file that is being read.

    `parquet` are files that are left to DuckDB (parquet.py).
    `broken` names the first 20 places that could not be read, `broken_count` how many there
    were; `empty` are the patterns and directories in which there was nothing.
    """

    def __init__(self, places: Iterable[str], kind: type[R]) -> None:
        """Raises SourceProblem for a path that is not there."""
        self.files: list[str] = []
        self.empty: list[str] = []
        for place in places:
            found = list(_files(place))
            if not found:
                self.empty.append(place)
            self.files += found
        every = sorted(set(self.files))
        self.files = [name for name in every if not name.endswith(PARQUET)]
        self.parquet = [name for name in every if name.endswith(PARQUET)]
        self.broken: list[str] = []
        self.broken_count = 0
        self.path = ""
        self._stdin: int | None = None
        self._decode = msgspec.json.Decoder(kind).decode

    def __iter__(self) -> Iterator[R]:
        self.broken, self.broken_count = [], 0
        for path in self.files:
            self.path = path
            try:
                with self._open(path) as file:
                    yield from self._records(path, file)
            except OSError as error:
                self._name(path, error.strerror or str(error))

    def _open(self, path: str) -> IO[bytes]:
        if path != STDIN:
            return Path(path).open("rb")
        if self._stdin is None:
            self._stdin, name = tempfile.mkstemp()
            Path(name).unlink()
            weakref.finalize(self, os.close, self._stdin)
            with os.fdopen(os.dup(self._stdin), "wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        os.lseek(self._stdin, 0, os.SEEK_SET)
        return os.fdopen(os.dup(self._stdin), "rb")

    def _records(self, path: str, file: IO[bytes]) -> Iterator[R]:
        first = file.readline(LONGEST + 1)
        if not first.strip():
            rest = first + file.read(LONGEST)
            if not rest.strip():
                self._name(path, "it is empty")
                return
            file.seek(0)
        elif (record := self._whole(first, file)) is not None:
            yield record
            return
        file.seek(0)
        yield from self._lines(path, file)

    def _whole(self, first: bytes, file: IO[bytes]) -> R | None:
        """The one object of a file that goes over several lines, None for anything else."""
        try:
            self._decode(first)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        else:
            return None
        text = first + file.read(LONGEST)
        try:
            record = self._decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return record if record.event == "report" else None

    def _lines(self, path: str, file: IO[bytes]) -> Iterator[R]:
        for number, line in enumerate(iter(partial(file.readline, LONGEST), b""), 1):
            try:
                record = self._decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if line.strip():
                    self._name(f"{path}:{number}", _trouble(line, error))
                continue
            if record.event == "report":
                yield record
            elif not record.event:
                self._name(f"{path}:{number}", "it is not a report")

    def _name(self, place: str, trouble: str) -> None:
        self.broken_count += 1
        if len(self.broken) < _NAMED:
            self.broken.append(f"{show(place)}: {trouble}")


def _trouble(line: bytes, error: Exception) -> str:
    if len(line) >= LONGEST:
        return f"a line of more than {LONGEST >> 20} MiB"
    if isinstance(error, msgspec.ValidationError):
        return f"it is not a report: {error}"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return f"it is not JSON: {error}" if line.endswith(b"\n") else "it is cut off, or not JSON"


def _files(place: str) -> Iterator[str]:
    there = Path(place)
    if place == STDIN or there.is_file():
        yield place
    elif there.is_dir():
        yield from _walk(place)
    elif there.exists():
        yield place
    elif glob.has_magic(place):
        found = glob.iglob(place, recursive=True)  # noqa: PTH207 -- absolute patterns, too
        yield from (path for path in found if Path(path).is_file())
    else:
        raise SourceProblem(
            f"there are no reports at {show(place)}",
            hint="give a file, a directory, a pattern in quotes, or - for standard input",
        )


def _walk(place: str) -> Iterator[str]:
    for directory, _, names in os.walk(place):
        wanted = (name for name in names if name.endswith(_SUFFIXES) and name[0] != ".")
        yield from (os.path.join(directory, name) for name in wanted)  # noqa: PTH118 -- many
