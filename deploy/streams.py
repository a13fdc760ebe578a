"""Standard output and error that cannot change how a command ends.

A reader that has gone, a full disk or a stream that was closed from the start
(`>&-`) loses words and nothing else: the exit code says how the deploy ended.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys


def forgive_output() -> None:
    """Make writing to standard output and error safe from here on."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file or socket would take its place
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is sys.__stdout__:  # and not one that a test has put in its place
        sys.stdout = _forgiving(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _forgiving(sys.stderr, 2)


class Forgiving(io.TextIOWrapper):
    """Text output that goes nowhere once it cannot be written; unknown characters are escaped."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except (OSError, ValueError) as error:
            self._let_go(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except (OSError, ValueError) as error:
            self._let_go(error)

    def _let_go(self, error: Exception) -> None:
        """What is still buffered goes nowhere, or the interpreter fails at it again as it exits."""
        if isinstance(error, OSError) and error.errno != errno.EPIPE and self is not sys.stderr:
            sys.stderr.write(f"warning: the output cannot be written: {error.strerror}\n")
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


def _forgiving(stream: io.TextIOBase | None, descriptor: int) -> Forgiving:
    """The stream's own descriptor again; None is how Python has one that was closed."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    is_prompt = descriptor == 2 or raw.isatty()
    return Forgiving(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=is_prompt)
