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
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from functools import cache, partial
from itertools import accumulate, takewhile
from pathlib import Path
from typing import IO, Final, NamedTuple, Self, TypeVar

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
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BUFFER: Final = 1 << 16


class Part(NamedTuple):
    """The lines of a file from one offset to another, in bytes, or all that is in it."""

    path: str
    start: int = 0
    end: int = sys.maxsize


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
        self.parts: Sequence[Part] = [Part(name) for name in self.files]

    def __iter__(self) -> Iterator[R]:
        self.broken, self.broken_count = [], 0
        for part in self.parts:
            self.path = part.path
            try:
                with self._open(part.path) as file:
                    yield from self._records(part, file)
            except OSError as error:
                self._name(part.path, error.strerror or str(error))

    def only(self, parts: Sequence[Part]) -> Self:
        """The records of these parts alone."""
        some = copy(self)
        some.parts = parts
        return some

    def name_all(self, *parts: Self) -> None:
        """Name what could not be read of these parts, which are all that there is."""
        self.broken = [place for part in parts for place in part.broken][:_NAMED]
        self.broken_count = sum(part.broken_count for part in parts)

    def line_after(self, path: str, offset: int) -> int | None:
        """Where a line begins there or later; None where the file may not be one of lines."""
        try:
            with self._open(path) as file:
                self._decode(file.readline(LONGEST))
                file.seek(offset)
                for piece in _pieces(file):
                    if piece.endswith(b"\n"):
                        break
                return file.tell()
        except (OSError, *_UNREADABLE):
            return None

    def _open(self, path: str) -> IO[bytes]:
        if path != STDIN:
            return Path(path).open("rb", _BUFFER)
        if self._stdin is None:
            self._stdin, name = tempfile.mkstemp()
            Path(name).unlink()
            weakref.finalize(self, os.close, self._stdin)
            with os.fdopen(os.dup(self._stdin), "wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        os.lseek(self._stdin, 0, os.SEEK_SET)
        return os.fdopen(os.dup(self._stdin), "rb")

    def _records(self, part: Part, file: IO[bytes]) -> Iterator[R]:
        first = file.readline(LONGEST + 1)
        if (trouble := _foreign(first)) is not None:
            self._name(part.path, trouble)
            return iter(())
        if not first.strip():
            rest = first + file.read(LONGEST)
            if not rest.strip():
                self._name(part.path, "it is empty")
                return iter(())
        elif (record := self._whole(first, file)) is not None:
            return iter((record,))
        file.seek(part.start)
        return self._lines(part, file)

    def _whole(self, first: bytes, file: IO[bytes]) -> R | None:
        """The one object of a file that goes over several lines, None for anything else."""
        try:
            self._decode(first)
        except _UNREADABLE:
            pass
        else:
            return None
        text = first + file.read(LONGEST)
        try:
            record = self._decode(text)
        except _UNREADABLE:
            return None
        return record if record.event == "report" else None

    def _lines(self, part: Part, file: IO[bytes]) -> Iterator[R]:
        _, at, end = part
        decode = self._decode
        for number, line in enumerate(_pieces(file), 1):
            if at >= end:
                return
            at += len(line)
            try:
                record = decode(line)
            except _UNREADABLE as error:
                if line.strip():
                    self._name(_place(part, number), _trouble(line, error))
                continue
            if record.event == "report":
                yield record
            elif not record.event:
                self._name(_place(part, number), "it is not a report")

    def _name(self, place: str, trouble: str) -> None:
        self.broken_count += 1
        if len(self.broken) < _NAMED:
            self.broken.append(f"{show(place)}: {trouble}")


def _foreign(first: bytes) -> str | None:
    """What a file is that does not begin as text in UTF-8 does; None if it may be that."""
    if first.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        return "it is compressed: unpack it first"
    if first.startswith((BOM_UTF8, BOM_UTF16_LE, BOM_UTF16_BE)):
        return "it begins with a byte order mark: write it as UTF-8 without one"
    return None


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The lines that are left; one of more than `LONGEST` bytes in as many pieces as it needs."""
    return iter(partial(file.readline, LONGEST), b"")


def _place(part: Part, number: int) -> str:
    """A line by its number in the whole file, of which `number` is that in the part."""
    return f"{part.path}:{_lines_before(part) + number}"


@cache
def _lines_before(part: Part) -> int:
    if not part.start:
        return 0
    with Path(part.path).open("rb", _BUFFER) as file:
        ends = accumulate(map(len, _pieces(file)))
        return sum(1 for _ in takewhile(part.start.__ge__, ends))


def _trouble(line: bytes, error: Exception) -> str:
    if len(line) >= LONGEST:
        return f"a line of more than {LONGEST >> 20} MiB"
    if isinstance(error, msgspec.ValidationError):
        return f"it is not a report: {error}"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
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
