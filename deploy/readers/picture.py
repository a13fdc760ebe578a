"""A run under way as lines of a terminal: a row per machine, a bar and what is left.

Pure: a timeline and a size in, rich's Text out. Signs and names are never
dropped: groups and times go first, reasons are wrapped below their machine.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from deploy.events import Phase
from deploy.readers.sentences import leases_line, pass_title
from deploy.readers.timeline import COLOUR, SETTLED, SIGN, Kind, Timeline, Track
from deploy.wording import count, printable, seconds, shorten

_IN_MOTION, _QUEUED = "●", "·"
_LONGEST_NAME = 32
_LONGEST_REASON = 4  # lines
_PHASE_WIDTH = max(len(phase) for phase in Phase)
_TIME_WIDTH = 9  # `2 min 5 s`
_BAR_WIDTHS = (8, 24)
_UNURGENT = 3  # the rank of what waits its turn or is settled
_PACED_S = 10.0  # for so long after a 429 the platform sets the pace


def picture(timeline: Timeline, now_s: float, width: int, height: int) -> list[Text]:
    """The lines of a moment, at most `height` - 1 of them: the last is the cursor's."""
    total = _total(timeline, now_s, width)
    room = max(1, height - 1 - len(total))
    sizes = _Sizes.of(timeline.tracks, width)
    rows = [(_rank(track), _row(track, timeline, now_s, sizes)) for track in timeline.tracks]
    if sum(len(lines) for _, lines in rows) <= room:
        return [line for _, lines in rows for line in lines] + total
    return _most(rows, timeline, room, width) + total


@dataclass(frozen=True)
class _Sizes:
    """How wide the columns are; 0 for one that is left out."""

    width: int
    name: int
    group: int
    time: int

    @classmethod
    def of(cls, tracks: Iterable[Track], width: int) -> _Sizes:
        names = [cell_len(_name(track)) for track in tracks] or [1]
        groups = {printable(track.group, 16) for track in tracks}
        name = min(max(names), max(6, width - _PHASE_WIDTH - 3))
        left = width - 2 - name - 1 - _PHASE_WIDTH
        time = _TIME_WIDTH if left > _TIME_WIDTH else 0
        group = max(map(cell_len, groups)) if len(groups) > 1 else 0
        return cls(width, name, group if left - time - 1 - group > 16 else 0, time)


def _name(track: Track) -> str:
    return printable(track.label, _LONGEST_NAME)


def _row(track: Track, timeline: Timeline, now_s: float, sizes: _Sizes) -> list[Text]:
    kind = track.kind
    line = Text(no_wrap=True)
    line.append(SIGN.get(kind, _QUEUED if kind is Kind.IDLE else _IN_MOTION), COLOUR[kind])
    line.append(f" {set_cell_size(shorten(_name(track), sizes.name), sizes.name)} ")
    if sizes.group:
        line.append(f"{set_cell_size(printable(track.group, 16), sizes.group)} ", "dim")
    line.append(set_cell_size(_phase(track, timeline), _PHASE_WIDTH), COLOUR[kind])
    if sizes.time:
        took_s = track.duration_s(now_s)
        took = seconds(took_s) if took_s or kind is not Kind.IDLE else ""
        if len(took) > _TIME_WIDTH:  # `10 h 10 min`
            took = shorten(" ".join(took.split()[:2]), _TIME_WIDTH)
        line.append(took.rjust(_TIME_WIDTH + 1), "dim")
    return [line, *_reason(line, track, sizes.width)]


def _phase(track: Track, timeline: Timeline) -> str:
    if timeline.finished is not None and track.phase is Phase.QUEUED:
        return "untouched"
    return str(track.phase)


def _reason(line: Text, track: Track, width: int) -> list[Text]:
    """The newest word on a machine: behind its row if there is room, else below it."""
    is_queued = track.phase is Phase.QUEUED
    words = "" if is_queued else printable(track.detail, width * _LONGEST_REASON)
    style = "red" if track.kind is Kind.FAILED else "dim"
    room = width - line.cell_len - 1
    if cell_len(words) <= room:
        line.append(f" {words}" if words else "", style)
        return []
    if track.kind is Kind.FAILED or words.startswith("hiccup") or track.phase is Phase.WAITING:
        below = textwrap.wrap(words, max(8, width - 4))[:_LONGEST_REASON]
        return [Text(f"    {part}", style, no_wrap=True, overflow="ellipsis") for part in below]
    if room > 8:
        line.append(f" {shorten(words, room)}", style)
    return []


def _rank(track: Track) -> int:
    """Failed, in motion, held up by a hiccup; 3 for what waits its turn or is settled."""
    if track.kind is Kind.FAILED:
        return 0
    if track.kind is not Kind.IDLE and track.kind not in SETTLED:
        return 1
    is_held_up = track.kind is Kind.IDLE and (track.hiccups or track.phase is Phase.WAITING)
    return 2 if is_held_up else _UNURGENT


def _most(
    rows: list[tuple[int, list[Text]]], timeline: Timeline, room: int, width: int
) -> list[Text]:
    """Where not all fit: what failed and what moves, in their order, and the rest as numbers."""
    chosen = _chosen(rows, max(1, room - 1))
    shown = [line for i in sorted(chosen) for line in rows[i][1]][: max(1, room - 1)]
    hidden = [track for i, track in enumerate(timeline.tracks) if i not in chosen]
    phases = Counter(_phase(track, timeline) for track in hidden)
    numbers = ", ".join(f"{many} {phase}" for phase, many in phases.items())
    more = f"  and {len(hidden)} more: {numbers}" if chosen else f"  {numbers}"
    return [*shown, Text(shorten(more, width), "dim", no_wrap=True)][:room]


def _chosen(rows: list[tuple[int, list[Text]]], room: int) -> set[int]:
    """The rows that are shown, one at the least where there is any: the most urgent first."""
    urgent = sorted((rank, i) for i, (rank, _) in enumerate(rows) if rank < _UNURGENT)
    chosen: set[int] = set()
    for _, i in urgent:
        room -= len(rows[i][1])
        if room < 0 and chosen:
            break
        chosen.add(i)
    return chosen


def _total(timeline: Timeline, now_s: float, width: int) -> list[Text]:
    """`[████░░░░] 12/40 · 14.0 s · about 20 s left · pass 2 of 6 · 2 hiccups`, in a line or two."""
    settled, total = timeline.tally
    facts = [f"{settled}/{total}", seconds(now_s - timeline.begin_s)]
    more = [pass_title(timeline.passes[-1].started)] if timeline.passes else []
    if timeline.hiccups:
        more.append(count(len(timeline.hiccups), "hiccup"))
    more += _pace(timeline, now_s)
    shortest, longest = _BAR_WIDTHS
    one_line = " · ".join([*facts, *more])
    room = width - cell_len(one_line) - 3
    if room >= shortest:
        return [_bar(settled, total, min(room, longest), one_line)]
    first = " · ".join(facts)
    bar = _bar(settled, total, min(max(width - cell_len(first) - 3, 1), longest), first)
    second = Text(" · ".join(more), "bold", no_wrap=True, overflow="ellipsis")
    second.truncate(width, overflow="ellipsis")
    bar.truncate(width, overflow="ellipsis")
    return [bar, second] if more else [bar]


def _bar(settled: int, total: int, width: int, words: str) -> Text:
    done = width * settled // total if total else 0
    bar = Text("[", no_wrap=True)
    bar.append("█" * done, "green")
    bar.append("░" * (width - done), "dim")
    bar.append("] ")
    bar.append(words, "bold")
    return bar


def _pace(timeline: Timeline, now_s: float) -> list[str]:
    """What sets the pace now: the next pass, the platform, or the machines that are left."""
    if timeline.finished is not None:
        return []
    if timeline.resting:
        since_s, pause = timeline.resting
        return [f"next pass in {seconds(max(0.0, since_s + pause.delay_s - now_s))}"]
    if timeline.leases:
        return [leases_line(timeline.leases)]
    if not timeline.tracks:
        return ["looking, taking leases"] if timeline.passes else []
    if any(now_s - at < _PACED_S and "(429)" in met.message for at, met in timeline.hiccups):
        return ["paced by the platform"]
    left_s = _left_s(timeline, now_s)
    if left_s is None:
        return []
    return [f"about {f'{left_s:.0f} s' if left_s < 59.5 else seconds(left_s)} left"]


def _left_s(timeline: Timeline, now_s: float) -> float | None:
    """How long the rest will take at the rate of those that are settled; None for too few."""
    settled, total = timeline.tally
    begun = [track.began_s for track in timeline.tracks if track.began_s is not None]
    if settled < 2 or settled == total or not begun:
        return None
    return (now_s - min(begun)) / settled * (total - settled)
