"""Live progress: what a person sees on a terminal of a given size."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios

import pyte
import pytest
from hypothesis import given, settings

from deploy.events import HiccupMet, Phase
from deploy.readers.live import LiveProgress
from tests.deploy.eventful import EPOCH_S, Entry, Story, any_run

SCRIPT = """
import os, sys
from deploy.readers.progress import open_progress
from tests.deploy.eventful import EPOCH_S, Story
told = Story({story}).tell()
with open_progress("text", sys.stdout, sys.stderr, os.environ, lambda: EPOCH_S) as progress:
    for at, event in told[:{stop}]:
        progress(at, event)
    if sys.argv[1:]:
        progress._live.stop()  # draws once more
        os._exit(0)
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@settings(max_examples=30)
@given(any_run)
def test_no_run_breaks_the_drawing(run: list[Entry]) -> None:
    screen = Terminal()
    with LiveProgress(screen, screen, no_color=True, now=lambda: EPOCH_S) as progress:
        for at, event in run:
            progress(at, event)
    assert progress.report.hiccups_met == sum(isinstance(event, HiccupMet) for _, event in run)


def test_a_terminal_that_goes_away_ends_the_drawing_and_not_the_run() -> None:
    screen = Terminal()
    story = Story().tell()
    with LiveProgress(screen, screen, no_color=True, now=lambda: EPOCH_S) as progress:
        progress(*story[0])
        screen.close()
        for at, event in story[1:]:
            progress(at, event)
    assert progress.report.exit_code == 0


def _on_terminal(
    environ: dict[str, str],
    *,
    story: str = "machines=4, hiccups=0",
    columns: int = 100,
    rows: int = 30,
    stop: int | None = None,
) -> str:
    """What the script writes to a terminal; it leaves after `stop` events."""
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(story=story, stop=stop), *(["stop"] if stop else [])],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env={k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | environ,
    )
    os.close(inside)
    written = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux says the other side is closed with EIO
            break
        if not chunk:
            break
        written += chunk
    os.close(terminal)
    assert child.wait(timeout=60) == 0
    return written.decode()


def _screen(story: str, columns: int, *, stop: int | None = None, rows: int = 40) -> list[str]:
    """The lines that a person sees in the end, those that scrolled away included."""
    screen = pyte.HistoryScreen(columns, rows, history=10_000)
    steering = {"TERM": "xterm-256color", "NO_COLOR": ""}
    written = _on_terminal(steering, story=story, columns=columns, rows=rows, stop=stop)
    pyte.Stream(screen).feed(written)
    above = ["".join(line[x].data for x in range(columns)) for line in screen.history.top]
    return [line.rstrip() for line in [*above, *screen.display]]


WIDTHS = [40, 80, 200]
STORIES = {
    "success": "machines=4, hiccups=0",
    "failure": "machines=4, hiccups=0.6, retries=1",
    "way back": "machines=4, hiccups=0, broken=1",
    "200 machines": "machines=200, hiccups=0.1, window=20",
}


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("story", STORIES)
def test_the_end_of_a_run_has_every_name_with_its_sign_and_fits(columns: int, story: str) -> None:
    lines = _screen(STORIES[story], columns)
    text = "\n".join(lines)
    if story != "200 machines":
        for number in range(1, 5):
            assert re.search(rf"^[✓✗↩·●] web-{number} ", text, re.MULTILINE), text
    else:
        assert re.search(r"\d+ done", text), text
        assert "/200" in text
    closing = {"success": "done: ", "failure": "in between: ", "way back": "failed: "}
    assert closing.get(story, "done: ") in text, text


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_failing_machine_keeps_its_name_and_its_whole_reason(columns: int) -> None:
    story = Story(machines=4, hiccups=0, broken=1).tell()
    failed = next(i for i, (_, e) in enumerate(story) if getattr(e, "phase", None) is Phase.FAILED)
    lines = _screen(STORIES["way back"], columns, stop=failed + 1)
    text = " ".join(" ".join(lines).split())
    assert "✗ web-1 failed" in text
    assert "check http: 500 Internal Server Error" in text
    assert any(line.startswith("· web-4 queued") for line in lines)
    assert any("0/4" in line for line in lines)


@pytest.mark.parametrize("columns", WIDTHS)
def test_of_200_machines_those_in_motion_are_shown_and_the_rest_counted(columns: int) -> None:
    lines = _screen(STORIES["200 machines"], columns, stop=600, rows=24)
    text = "\n".join(lines)
    assert re.search(r"and \d+ more: ", text) or re.search(r"^  \d+ ", text, re.MULTILINE)
    assert "/200" in text
    assert not re.search(r"^· web-\d+ +queued", text, re.MULTILINE)


HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|9[0-7])m")


def test_a_terminal_gets_a_picture_in_colour_and_its_cursor_back() -> None:
    written = _on_terminal({"TERM": "xterm-256color", "NO_COLOR": ""})
    assert HIDE_CURSOR in written
    assert written.rindex(SHOW_CURSOR) > written.rindex(HIDE_CURSOR)
    assert COLOUR.search(written)
    assert "done: hello runs hello:v2" in written


def test_no_color_takes_the_colours_and_leaves_the_picture() -> None:
    written = _on_terminal({"TERM": "xterm-256color", "NO_COLOR": "1"})
    assert HIDE_CURSOR in written
    assert not COLOUR.search(written)


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_dumb_terminal_gets_plain_lines(term: str) -> None:
    written = _on_terminal({"TERM": term})
    assert "\x1b" not in written
    assert "  [1/4] web-1: done" in written
