"""How places without a terminal are spoken to: pipes and files, and GitHub Actions.

A voice knows its streams and their rules and nothing of events.
"""

from __future__ import annotations

import contextlib
import os
from typing import Protocol, TextIO

from deploy.readers.report import Report, headline, next_step, render_text
from deploy.wording import printable


class Voice(Protocol):
    """How a place without a terminal is spoken to."""

    def say(self, line: str) -> None: ...
    def warn(self, message: str) -> None: ...
    def begin(self, title: str) -> None: ...
    def end(self) -> None: ...
    def close(self, report: Report) -> None: ...


class PlainVoice:
    """Bare lines, for pipes and files."""

    def __init__(self, out: Lines, err: Lines) -> None:
        self._out = out
        self._err = err

    def say(self, line: str) -> None:
        self._out.write(line)

    def warn(self, message: str) -> None:
        self._err.write(f"warning: {message}")

    def begin(self, title: str) -> None:
        self._out.write(title)

    def end(self) -> None:
        """A pass needs no closing line of its own."""

    def close(self, report: Report) -> None:
        (self._err if report.exit_code else self._out).write(render_text(report))


class GithubVoice:
    """Workflow commands of GitHub Actions, on standard output so that they stay in order.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """

    def __init__(self, out: Lines) -> None:
        self._out = out
        self._is_open = False

    def say(self, line: str) -> None:
        self._out.write(inert(line))

    def warn(self, message: str) -> None:
        self._out.write(workflow_command("warning", message))

    def begin(self, title: str) -> None:
        self.end()
        self._is_open = True
        self._out.write(workflow_command("group", title))

    def end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._out.write("::endgroup::")

    def close(self, report: Report) -> None:
        self.end()
        if report.exit_code:
            title = f"deploy {printable(report.app)}".rstrip()
            message = f"{headline(report)}\nnext: {next_step(report)}"
            self._out.write(workflow_command("error", message, title=title))
        for line in render_text(report).splitlines():
            self.say(line)


def workflow_command(name: str, message: str, *, title: str = "") -> str:
    """`::error title=deploy hello::message`, escaped as the runner unescapes it."""
    data = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    escaped = title.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    escaped = escaped.replace(":", "%3A").replace(",", "%2C")
    return f"::{name}{f' title={escaped}' if title else ''}::{data}"


def inert(line: str) -> str:
    """A line that the runner takes for no command, whatever names and messages are in it.

    The runner looks for `::` at the start, past blanks, and for `##[` anywhere.
    """
    line = line.replace("##[", "## [")
    return line.replace("::", ": :", 1) if line.lstrip().startswith("::") else line


class Lines:
    """Lines to a stream, each flushed; what its encoding lacks is escaped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_gone = False

    def write(self, line: str) -> None:
        if self._is_gone:
            return
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        text = line.encode(encoding, "backslashreplace").decode(encoding)
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._fall_silent()

    def _fall_silent(self) -> None:
        """Send what is still buffered nowhere, or the interpreter complains of it at its exit."""
        self._is_gone = True
        with contextlib.suppress(OSError, ValueError):
            gone = self._stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, gone)
            os.close(nowhere)


def is_terminal(stream: TextIO) -> bool:
    """Whether the stream is a terminal; a closed one is not."""
    try:
        return stream.isatty()
    except (OSError, ValueError):
        return False
