"""Live progress on a terminal: one line per machine and a total, redrawn in place.

The only file of the readers that needs rich, and imported only for a terminal.
Lines that stay (the path and why, warnings, the closing report) are printed
above the picture. All text is rich's Text, never markup.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.events import Event, MachineMoved, Noticed, PassFinished, Phase, Planned
from deploy.readers.report import Report, render_text, report_of
from deploy.readers.sentences import notice_line, pass_result, pass_title, story_lines
from deploy.readers.timeline import COLOUR, SETTLED, SIGN, Kind, Timeline, Track
from deploy.readers.voices import Lines, is_terminal
from deploy.wording import count, printable, seconds

_IN_MOTION = "●"
_REFRESH_HZ = 8
_PHASE_WIDTH = max(len(phase) for phase in Phase)


class LiveProgress:
    """A reader of events that draws; `now` is the clock that stamps them, in Unix seconds."""

    def __init__(
        self, out: TextIO, err: TextIO, *, no_color: bool, now: Callable[[], float]
    ) -> None:
        self._console = Console(file=out, no_color=no_color, highlight=False, emoji=False)
        self._err = None if is_terminal(err) else Lines(err)
        self._now = now
        self._timeline = Timeline()
        # The picture is redrawn by rich's thread while events come in on ours.
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._is_gone = False

    def __call__(self, at: float, event: Event) -> None:
        with self._lock:
            self._timeline.add(at, event)
        match event:
            case Noticed() if self._err:
                self._err.write(f"warning: {notice_line(event)}")
            case Noticed():
                self._print(Text(f"warning: {notice_line(event)}", style="yellow"))
            case PassFinished() if event.left:
                self._print(Text(pass_result(event), style="dim"))
            case Planned() | MachineMoved():
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
        first, *rest = render_text(report).split("\n")
        self._print(Text(first, style="bold red" if report.exit_code else "bold green"))
        for line in rest:
            # A table is not folded: what runs over the edge can still be read and copied.
            self._print(Text(line))

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
            return picture(self._timeline, now_s, self._console.height)

    def _print(self, text: Text) -> None:
        self._safely(lambda: self._console.print(text, soft_wrap=True))

    def _safely(self, draw: Callable[[], object]) -> None:
        """A terminal that goes away ends the drawing and not the deploy."""
        if self._is_gone:
            return
        try:
            draw()
        except (OSError, ValueError):
            self._is_gone = True


def picture(timeline: Timeline, now_s: float, height: int) -> RenderableType:
    """A line per machine and a total, in at most `height` - 1 lines."""
    shown, hidden = _fit(timeline.tracks, max(1, height - 4))
    grid = Table.grid(padding=(0, 1))
    for _ in ("sign", "machine", "group"):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True, min_width=_PHASE_WIDTH)
    grid.add_column(no_wrap=True, justify="right", min_width=7)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for track in shown:
        grid.add_row(*_row(track, now_s))
    rest = [_line(f"  and {_tally(hidden)}", "dim")] if hidden else []
    return Group(grid, *rest, _line(_total(timeline, now_s), "bold"))


def _line(words: str, style: str) -> Text:
    return Text(words, style=style, no_wrap=True, overflow="ellipsis")


def _row(track: Track, now_s: float) -> tuple[Text, ...]:
    kind = track.kind
    is_idle = kind is Kind.IDLE and not track.duration_s(now_s)
    return (
        Text(SIGN.get(kind, "·" if kind is Kind.IDLE else _IN_MOTION), style=COLOUR[kind]),
        Text(printable(track.label, 32)),
        Text(printable(track.group, 16), style="dim"),
        Text(str(track.phase), style=COLOUR[kind]),
        Text("" if is_idle else seconds(track.duration_s(now_s)), style="dim"),
        Text(printable(track.detail, 200), style="red" if kind is Kind.FAILED else "dim"),
    )


def _fit(tracks: list[Track], rows: int) -> tuple[list[Track], list[Track]]:
    """What is shown and what is counted: failed and moving machines come first, in their order."""
    if len(tracks) <= rows:
        return tracks, []
    ordered = sorted(tracks, key=_rank)
    shown = {id(track) for track in ordered[: max(1, rows - 1)]}
    return (
        [track for track in tracks if id(track) in shown],
        [track for track in tracks if id(track) not in shown],
    )


def _rank(track: Track) -> int:
    """Failed, in motion, held up by a hiccup, queued, settled."""
    if track.kind in SETTLED:
        return 4
    if track.kind is Kind.FAILED:
        return 0
    if track.kind is not Kind.IDLE:
        return 1
    return 2 if track.hiccups or track.phase is Phase.WAITING else 3


def _tally(tracks: list[Track]) -> str:
    phases = Counter(str(track.phase) for track in tracks)
    return f"{len(tracks)} more: " + ", ".join(f"{n} {phase}" for phase, n in phases.items())


def _total(timeline: Timeline, now_s: float) -> str:
    """`pass 2 of 6 · 3 done, 1 left · 2 hiccups · 14.0 s`."""
    ours = [track for track in timeline.tracks if track.moves or track.verb]
    settled = sum(track.kind in SETTLED for track in ours)
    parts = [pass_title(timeline.passes[-1].started)] if timeline.passes else []
    parts.append(f"{settled} done, {len(ours) - settled} left")
    if timeline.hiccups:
        parts.append(count(len(timeline.hiccups), "hiccup"))
    parts.append(seconds(now_s - timeline.begin_s))
    if timeline.resting:
        since_s, pause = timeline.resting
        left_s = max(0.0, since_s + pause.delay_s - now_s)
        parts.append(f"next pass in {seconds(left_s)}")
    return " · ".join(parts)
