"""Charts as SVG, without a script: lines over time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rollout.outcomes.site.parts import text

_WIDTH, _HEIGHT = 820, 240
_DAY_S = 86_400.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 26


class Line(NamedTuple):
    """Points (Unix time, value) in a tone; dotted where it is `ahead` of now."""

    points: Sequence[tuple[float, float]]
    tone: str
    ahead: bool = False


class Mark(NamedTuple):
    """Something that happened, with its words."""

    at: float
    value: float
    words: str
    tone: str


class Level(NamedTuple):
    """A line across with its name."""

    value: float
    name: str


class Chart(NamedTuple):
    """Lines between `low` and `high`; `ticks` are (value, label) on the left."""

    label: str
    lines: Sequence[Line]
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    marks: Sequence[Mark] = ()
    levels: Sequence[Level] = ()
    now: float | None = None


def draw(chart: Chart) -> str:
    """The chart as an SVG; nothing without two moments."""
    moments = [at for line in chart.lines for at, _ in line.points]
    if not moments or min(moments) == max(moments):
        return ""
    scale = _Scale(min(moments), max(moments), chart.low, chart.high)
    parts = [*_grid(chart, scale), *_days(scale)]
    for level in chart.levels:
        y = scale.y(level.value)
        parts.append(f'<line class="bar" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
    if chart.now is not None:
        x = scale.x(chart.now)
        parts.append(f'<line class="now" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
    for line in chart.lines:
        places = " ".join(f"{scale.x(at)},{scale.y(value)}" for at, value in line.points)
        kind = "path ahead" if line.ahead else "path"
        parts.append(f'<polyline class="{kind} {line.tone}" points="{places}"/>')
    for level in chart.levels:
        place = f'x="{_WIDTH - _RIGHT}" y="{scale.y(level.value) - 4:.1f}"'
        parts.append(f'<text class="name" {place} text-anchor="end">{text(level.name)}</text>')
    for mark in chart.marks:
        place = f'cx="{scale.x(mark.at)}" cy="{scale.y(mark.value)}"'
        words = text(mark.words)
        parts.append(f'<circle class="{mark.tone}" {place} r="4"><title>{words}</title></circle>')
    return (
        f'<div class="wide"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{text(chart.label)}">{"".join(parts)}</svg></div>'
    )


class _Scale(NamedTuple):
    begin: float
    end: float
    low: float
    high: float

    def x(self, at: float) -> float:
        share = (at - self.begin) / (self.end - self.begin)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        share = min(1.0, max(0.0, share))
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def _grid(chart: Chart, scale: _Scale) -> Iterator[str]:
    for value, label in chart.ticks:
        y = scale.y(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text(label)}</text>'


def _days(scale: _Scale) -> Iterator[str]:
    """Five dates along the bottom; with the time of day where two might be the same."""
    form = "%Y-%m-%d" if scale.end - scale.begin >= 4 * _DAY_S else "%m-%d %H:%M"
    for number in range(5):
        at = scale.begin + (scale.end - scale.begin) * number / 4
        day = datetime.fromtimestamp(at, tz=UTC).strftime(form)
        anchor = "start" if number == 0 else "end" if number == 4 else "middle"
        yield f'<text x="{scale.x(at)}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{day}</text>'
