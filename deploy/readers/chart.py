"""The timeline of a run as text: one bar per machine, as wide as asked for.

Colour is a function handed in, so that this file knows no terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby

from deploy.events import Event
from deploy.readers.report import headline, report_of
from deploy.readers.timeline import SETTLED, SIGN, Kind, Timeline, Track
from deploy.wording import printable, seconds, shorten

# What a cell shows: a kind of phase, a mark, or nothing.
Paint = Callable[[str, Kind | None], str]

HICCUP = "!"
_GLYPHS = {
    Kind.IDLE: "·",
    Kind.WRITE: "█",
    Kind.START: "▓",
    Kind.CHECK: "▒",
    Kind.SWITCH: "▞",
    Kind.STOP: "░",
    **SIGN,
}
_ASCII = dict(zip(_GLYPHS, ".#=-~:v<xX", strict=True))
_NARROWEST = 40
_LONGEST_LABEL = 24

Cell = tuple[str, Kind | None]
_EMPTY: Cell = (" ", None)


def plain(text: str, _: Kind | None) -> str:
    """The paint of a place without colours."""
    return text


def render_timeline(
    events: Iterable[tuple[float, Event]],
    width: int,
    *,
    paint: Paint = plain,
    only_ascii: bool = False,
) -> str:
    """The run's heading, a bar per machine, passes and seconds, and what the glyphs mean.

    No line is wider than `width` columns (40 at the least) but the heading.
    """
    timeline = Timeline.of(events)
    glyphs = _ASCII if only_ascii else _GLYPHS
    tracks = [track for track in timeline.tracks if track.moves or track.hiccups]
    heading = headline(report_of(timeline))
    if not tracks:
        return f"{heading}\nno machine moved in this run"
    labels = [printable(track.label, _LONGEST_LABEL) for track in tracks]
    tails = [_tail(track, timeline) for track in tracks]
    margin, tail_width = max(map(len, labels)), max(map(len, tails))
    bar_width = max(_NARROWEST, width) - margin - tail_width - 4
    if bar_width < 10:
        margin, tails, tail_width = max(4, margin // 2), [""] * len(tracks), 0
        bar_width = max(_NARROWEST, width) - margin - 4
        labels = [shorten(label, margin) for label in labels]
    scale = _Scale(timeline, bar_width)
    blank = " " * margin
    lines = [heading, "", f"{blank}  {_ruler(timeline, scale)}".rstrip()]
    for label, track, tail in zip(labels, tracks, tails, strict=True):
        bar = _painted(_bar(track, timeline, scale, glyphs), paint)
        lines.append(f"{label.ljust(margin)}  {bar}  {tail}".rstrip())
    lines += [f"{blank}  {_axis(timeline, scale)}", "", *_legend(tracks, glyphs, paint, width)]
    return "\n".join(lines)


class _Scale:
    """Seconds to columns: the first event is column 0, the last one the last column."""

    def __init__(self, timeline: Timeline, width: int) -> None:
        self.width = width
        self._begin_s = timeline.begin_s
        self._per_s = (width - 1) / timeline.duration_s if timeline.duration_s > 0 else 0.0

    def column(self, at_s: float) -> int:
        return min(self.width - 1, max(0, int((at_s - self._begin_s) * self._per_s)))


def _bar(track: Track, timeline: Timeline, scale: _Scale, glyphs: dict[Kind, str]) -> list[Cell]:
    """Later phases paint over earlier ones; a mark that would be lost under one is kept."""
    cells = [_EMPTY] * scale.width
    for span in track.spans(timeline.end_s):
        first, last = scale.column(span.begin_s), scale.column(span.end_s)
        cell = (glyphs[span.kind], span.kind)
        if span.kind in SETTLED or span.kind is Kind.FAILED:
            cells[first] = cell
            cells[first + 1 :] = [_EMPTY] * (scale.width - first - 1)
        else:
            cells[first : last + 1] = [cell] * (last + 1 - first)
    for at_s, _ in track.hiccups:
        cells[scale.column(at_s)] = (HICCUP, Kind.FAILED)
    return cells


def _painted(cells: list[Cell], paint: Paint) -> str:
    runs = groupby(cells, key=lambda cell: cell[1])
    return "".join(paint("".join(glyph for glyph, _ in run), kind) for kind, run in runs)


def _tail(track: Track, timeline: Timeline) -> str:
    phase = str(track.phase) if track.moves else ""
    return f"{phase:<9} {seconds(track.duration_s(timeline.end_s)):>7}"


def _ruler(timeline: Timeline, scale: _Scale) -> str:
    """`|pass 1      |pass 2  |3 <1`: where passes begin, `<` for one of going back."""
    cells = [" "] * scale.width
    columns = [scale.column(lap.begin_s) for lap in timeline.passes]
    for lap, column, limit in zip(
        timeline.passes, columns, [*columns[1:], scale.width], strict=False
    ):
        sign = "<" if lap.started.direction == "back" else "|"
        word = f"{sign}pass {lap.started.number}"
        if len(word) > limit - column:
            word = f"{sign}{lap.started.number}"
        cells[column : column + len(word)] = word
    return "".join(cells[: scale.width])


def _axis(timeline: Timeline, scale: _Scale) -> str:
    end = seconds(timeline.duration_s)
    return f"0 s{end.rjust(scale.width - 3)}"


def _legend(
    tracks: Iterable[Track], glyphs: dict[Kind, str], paint: Paint, width: int
) -> list[str]:
    """The glyphs that occur, folded to the width."""
    tracks = list(tracks)
    seen = {span.kind for track in tracks for span in track.spans(0.0)}
    entries = [(glyphs[kind], kind, str(kind)) for kind in Kind if kind in seen]
    if any(track.hiccups for track in tracks):
        entries.append((HICCUP, Kind.FAILED, "hiccup"))
    lines, used = [""], 0
    for glyph, kind, word in entries:
        size = len(word) + 4
        if used + size > max(_NARROWEST, width):
            lines, used = [*lines, ""], 0
        lines[-1] += f"{paint(glyph, kind)} {word}  "
        used += size
    return [line.rstrip() for line in lines]
