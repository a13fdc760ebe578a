"""Lines of text -> batches of units, in constant memory: one unit on each line, as it stands.

Line ends are LF or CRLF, the last one may be missing, a BOM is no part of the first
unit. Empty lines are no units and are counted apart. Nothing else is trimmed, and a
unit on two lines counts twice. Knows nothing of flags.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rollout.errors import InvalidValue, SourceProblem
from rollout.wording import show

LONGEST_UNIT_BYTES = 1 << 20
"""A line may have up to 1 MiB; one that is longer is hardly a unit."""

_CHUNK_BYTES = 1 << 17  # small enough for the caches, large enough for the loops


class Units:
    """The units that a stream holds, as lists of UTF-8 bytes; read once, by iterating.

    `found` and `empty` count the units and the empty lines so far. Iterating raises
    InvalidValue for a line that is no unit, naming its number.
    """

    def __init__(
        self, stream: IO[bytes], source: str, on_bytes: Callable[[int], None] | None = None
    ) -> None:
        self.source = source
        self.found = 0
        self.empty = 0
        self._stream = stream
        self._on_bytes = on_bytes
        self._lines_before = 0

    def __iter__(self) -> Iterator[list[bytes]]:
        texts = self._texts()
        for text in texts:
            yield self._batch(text.removeprefix(codecs.BOM_UTF8))
            break
        for text in texts:
            yield self._batch(text)

    def _texts(self) -> Iterator[bytes]:
        """The stream in pieces of whole lines; the last piece may lack its end.

        A piece is at most as long as a chunk and the longest unit.
        """
        stream = self._stream
        read = getattr(stream, "read1", stream.read)
        try:
            while text := read(_CHUNK_BYTES):
                if not text.endswith(b"\n"):
                    text += stream.readline(LONGEST_UNIT_BYTES + 1)
                yield text
                if self._on_bytes:
                    self._on_bytes(len(text))
        except OSError as error:
            raise _unreadable(self.source, error) from None

    def _batch(self, text: bytes) -> list[bytes]:
        """The units of some whole lines, the last of which may lack its end."""
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        lines = text.split(b"\n")
        ends = len(lines) - 1
        if not lines[-1]:
            lines.pop()
        try:
            if not text.isascii():
                text.decode()  # the whole is valid exactly when each line is
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start)
            shown = show(lines[line].decode(errors="backslashreplace"))
            raise self._wrong(line, f"{shown} is not text that UTF-8 can carry") from None
        if len(text) > LONGEST_UNIT_BYTES:
            longest = max(range(len(lines)), key=lambda index: len(lines[index]))
            if len(lines[longest]) > LONGEST_UNIT_BYTES:
                raise self._wrong(longest, f"has more than {LONGEST_UNIT_BYTES:,} bytes")
        self._lines_before += ends
        units = lines if all(lines) else [line for line in lines if line]
        self.found += len(units)
        self.empty += len(lines) - len(units)
        return units

    def _wrong(self, index: int, message: str) -> InvalidValue:
        where = f"{self.source}:{self._lines_before + index + 1}"
        return InvalidValue(f"{where}: the unit {message}", hint="write one unit on each line")


@contextmanager
def open_units(path: str, on_bytes: Callable[[int], None] | None = None) -> Iterator[Units]:
    """The units in the file at `path`, or on standard input for `-`; raises SourceProblem."""
    if path == "-":
        if sys.stdin is None:
            raise SourceProblem(
                "standard input is closed", hint="name a file with one unit on each line"
            )
        yield Units(sys.stdin.buffer, "<stdin>", on_bytes)
        return
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 -- closed by the with below
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    with stream:
        yield Units(stream, path, on_bytes)


def _unreadable(path: str, error: OSError | ValueError) -> SourceProblem:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SourceProblem(
        f"the units in {show(path)} cannot be read: {reason}",
        hint="name a file with one unit on each line, or - for standard input",
    )
