"""Live progress on a terminal: one line per machine and a total, redrawn in place.

The only file of the readers that needs rich, and imported only for a terminal.
Lines that stay (the path and why, warnings, the closing report) are printed
above the picture. All text is rich's Text, never markup.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from deploy.events import (
    Event,
    LeasesTaken,
    MachineMoved,
    Noticed,
    PassFinished,
    PassStarted,
    Planned,
)
from deploy.readers.once import Once
from deploy.readers.picture import picture
from deploy.readers.report import Report, render_text, report_of
from deploy.readers.sentences import notice_line, pass_result, story_lines
from deploy.readers.timeline import Timeline
from deploy.readers.voices import Lines, is_terminal

_REFRESH_HZ = 8


class LiveProgress:
    """A reader of events that draws; `now` is the clock that stamps them, in Unix seconds."""

    def __init__(
        self, out: TextIO, err: TextIO, *, no_color: bool, now: Callable[[], float]
    ) -> None:
        self._console = Console(file=out, no_color=no_color, highlight=False, emoji=False)
        self._err = None if is_terminal(err) else Lines(err)
        self._now = now
        self._timeline = Timeline()
        self._once = Once(tells_hiccups=False)
        # The picture is redrawn by rich's thread while events come in on ours.
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._is_gone = False

    def __call__(self, at: float, event: Event) -> None:
        with self._lock:
            self._timeline.add(at, event)
        for each in self._once.take(event):
            self._tell(each)

    def _tell(self, event: Event) -> None:
        match event:
            case Noticed() if self._err:
                self._err.write(f"warning: {notice_line(event)}")
            case Noticed():
                self._print(Text(f"warning: {notice_line(event)}", style="yellow"))
            case PassFinished() if event.left:
                self._print(Text(pass_result(event), style="dim"))
            case LeasesTaken():
                self._begin_drawing()
            case PassStarted() | Planned() | MachineMoved():
                self._story(event)
                self._begin_drawing()
            case _:
                self._story(event)

    @property
    def report(self) -> Report:
        with self._lock:
            return report_of(self._timeline)

    def __enter__(self) -> LiveProgress:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._once.rest():
            self._tell(each)
        if self._live is not None:
            self._safely(self._live.stop)
            self._live = None
        if self._timeline.finished is not None:
            self._close(self.report)

    def _story(self, event: Event) -> None:
        for line in story_lines(event):
            self._print(Text(line))

    def _close(self, report: Report) -> None:
        if report.exit_code and self._err:
            self._err.write(render_text(report))
            return
        first, *rest = render_text(report, self._console.width).split("\n")
        self._print(Text(first, style="bold red" if report.exit_code else "bold green"))
        for line in rest:
            # A table's row is not folded at words: it can still be read as a row, and copied.
            self._print(Text(line), is_row=line.startswith("  "))

    def _begin_drawing(self) -> None:
        if self._live is None and not self._is_gone:
            self._live = Live(
                console=self._console,
                get_renderable=self._picture,
                refresh_per_second=_REFRESH_HZ,
            )
            self._safely(self._live.start)

    def _picture(self) -> RenderableType:
        with self._lock:
            is_over = self._timeline.finished is not None
            now_s = self._timeline.end_s if is_over else max(self._now(), self._timeline.end_s)
            return Group(*picture(self._timeline, now_s, *self._console.size))

    def _print(self, text: Text, *, is_row: bool = False) -> None:
        self._safely(lambda: self._console.print(text, soft_wrap=is_row))

    def _safely(self, draw: Callable[[], object]) -> None:
        """A terminal that goes away ends the drawing and not the deploy."""
        if self._is_gone:
            return
        try:
            draw()
        except (OSError, ValueError):
            self._is_gone = True
