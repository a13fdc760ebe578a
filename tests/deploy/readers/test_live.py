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

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from deploy.events import BackingOff, HiccupMet, MachineMoved, PassStarted, Phase
from deploy.readers.live import LiveProgress, picture
from deploy.readers.timeline import Timeline
from tests.deploy.eventful import EPOCH_S, Entry, Story, any_run

SCRIPT = """
import os, sys
from deploy.readers.progress import open_progress
from tests.deploy.eventful import EPOCH_S, Story
with open_progress("text", sys.stdout, sys.stderr, os.environ, lambda: EPOCH_S) as progress:
    for at, event in Story(machines=4, hiccups=0).tell():
        progress(at, event)
"""


def _lines(timeline: Timeline, now_s: float, height: int, width: int = 80) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(picture(timeline, now_s, height))
    return out.getvalue().splitlines()


def _moved(number: int, phase: Phase, detail: str = "") -> MachineMoved:
    return MachineMoved(
        machine_id=f"148e{number}", name=f"web-{number}", group="web", phase=phase, detail=detail
    )


def test_each_machine_has_a_line_and_the_last_line_is_the_total() -> None:
    timeline = Timeline.of(
        [
            (EPOCH_S, PassStarted(number=1, of=6)),
            (EPOCH_S, _moved(1, Phase.UPDATING)),
            (EPOCH_S + 1, _moved(1, Phase.CHECKING, "0/1 passing")),
            (EPOCH_S + 2, _moved(2, Phase.QUEUED)),
        ]
    )
    assert [line.rstrip() for line in _lines(timeline, EPOCH_S + 4, 24)] == [
        "● web-1 web checking      4.0 s 0/1 passing",
        "· web-2 web queued",
        "pass 1 of 6 · 0 done, 2 left · 4.0 s",
    ]


def test_between_passes_the_total_counts_down() -> None:
    timeline = Timeline.of([(EPOCH_S, BackingOff(delay_s=5.0, number=1))])
    assert _lines(timeline, EPOCH_S + 2, 24)[-1].rstrip().endswith("next pass in 3.0 s")


def test_on_a_low_terminal_failed_and_moving_machines_are_shown_and_the_rest_counted() -> None:
    timeline = Timeline.of((EPOCH_S, _moved(number, Phase.DONE)) for number in range(1, 40))
    timeline.add(EPOCH_S, _moved(90, Phase.QUEUED))
    timeline.add(EPOCH_S, _moved(91, Phase.FAILED, "exit code 1"))
    timeline.add(EPOCH_S, _moved(92, Phase.CHECKING))
    lines = _lines(timeline, EPOCH_S, 8)
    text = "\n".join(lines)
    assert len(lines) < 8
    assert "web-91" in text
    assert "web-92" in text
    assert "and 39 more: 39 done" in text


@given(any_run, st.integers(1, 30), st.integers(20, 120))
def test_the_picture_of_any_run_fits_the_terminal_and_takes_no_markup(
    run: list[Entry], height: int, width: int
) -> None:
    timeline = Timeline.of(run)
    lines = _lines(timeline, timeline.end_s, height, width)
    assert len(lines) <= max(3, height - 1)
    assert all(line.isprintable() for line in lines)


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


def _on_terminal(environ: dict[str, str]) -> str:
    """What the script writes to a terminal of 30 lines by 100 columns."""
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env={**os.environ, **environ},
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
    assert "  web-1: done" in written
