"""Output that matters only if it ends badly: a build's.

A terminal shows its newest line in place, GitHub Actions a group that is closed, a pipe
nothing; where it fails all of it is shown, as far back as it is kept.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from deploy.readers.voices import Lines, inert, is_terminal, workflow_command
from deploy.wording import printable

LINES_KEPT = 2000


class Folded:
    """Takes lines; the bases of those for a terminal and for GitHub Actions keep it quiet."""

    def __init__(self, stream: TextIO) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._stream = stream
        self._out = Lines(stream)

    def say(self, line: str) -> None:
        """One line of what goes on; it may be shown, and it is kept."""
        self.lines.append(line)

    def say_for_good(self, line: str) -> None:
        """A line that is shown in any case."""
        self._out.write(line)

    def close(self, *, is_good: bool) -> None:
        if not is_good:
            for line in self.lines:
                self._out.write(printable(line, 1000))


class _InPlace(Folded):
    def say(self, line: str) -> None:
        super().say(line)
        width = shutil.get_terminal_size().columns - 1
        self._draw(printable(line, 1000)[:width])

    def close(self, *, is_good: bool) -> None:
        self._draw("")
        super().close(is_good=is_good)

    def _draw(self, text: str) -> None:
        self._stream.write(f"\r\x1b[K{text}")
        self._stream.flush()


class _InGroup(Folded):
    def __init__(self, stream: TextIO, title: str) -> None:
        super().__init__(stream)
        self._out.write(workflow_command("group", title))

    def say(self, line: str) -> None:
        self._out.write(inert(printable(line, 1000)))

    def close(self, *, is_good: bool) -> None:  # noqa: ARG002 - it has been shown
        self._out.write("::endgroup::")


@contextmanager
def fold(stream: TextIO, environ: Mapping[str, str], title: str) -> Iterator[Folded]:
    """What the place that the stream leads to allows."""
    if environ.get("GITHUB_ACTIONS") == "true":
        folded: Folded = _InGroup(stream, title)
    elif is_terminal(stream) and environ.get("TERM") != "dumb":
        folded = _InPlace(stream)
    else:
        folded = Folded(stream)
    is_good = False
    try:
        yield folded
        is_good = True
    finally:
        folded.close(is_good=is_good)
