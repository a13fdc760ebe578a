"""What a flag will be when, as lines for people with a small chart. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo

from rollout.flag import Flag, Ramp, percent_text, time_text
from rollout.ramps.hours import fixed

WIDTH = 20
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def lines(flag: Flag, now: datetime, zone: tzinfo | None, *, ascii_only: bool) -> Iterator[str]:
    """The flag in one line and, for a ramp, a line with a bar for each step.

    Times are shown in `zone`, or with the offsets that the file gives them.
    """

    def at(moment: datetime) -> str:
        return time_text(fixed(moment, zone) if zone else moment)

    ramp = flag.rollout
    off = "off (enabled: false), " if not flag.enabled else ""
    stands = f"{flag.key}: {off}{_percent(flag.threshold_at(now))}"
    if not isinstance(ramp, Ramp):
        yield f"{stands}, no ramp"
        return
    last = (*ramp.steps, *ramp.waiting)[-1]
    if ramp.paused:
        yield f"{stands}, paused since {at(ramp.paused)}, {_count(len(ramp.waiting))} waiting"
    elif last.at > now:
        yield f"{stands} now, {_percent(last.threshold)} from {at(last.at)}"
    else:
        yield f"{stands} since {at(last.at)}, the ramp is over"
    current = ramp.current(now)
    steps = [step for step in ramp.steps if not (ramp.paused == step.at and not step.threshold)]
    rows = [(step, "<- now" if step is current else "") for step in steps]
    rows += [(step, "waiting") for step in ramp.waiting]
    width = max(len(at(step.at)) for step, _ in rows)
    for step, mark in rows:
        day = (step.at.astimezone(zone) if zone else step.at).strftime("%a")
        drawn = bar(step.threshold, ascii_only=ascii_only).ljust(WIDTH)
        share = f"{percent_text(step.threshold):>7} %"
        yield f"  {day} {at(step.at):<{width}} {share}  {drawn}  {mark}".rstrip()


def bar(threshold: int, *, ascii_only: bool) -> str:
    """A bar of up to WIDTH characters; what is above 0 shows."""
    if ascii_only:
        return "#" * max(round(threshold * WIDTH / 100_000), threshold > 0)
    whole, rest = divmod(max(threshold * WIDTH * 8 // 100_000, threshold > 0), 8)
    return _EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")


def _percent(threshold: int) -> str:
    return f"{percent_text(threshold)} %"


def _count(number: int) -> str:
    return "1 step" if number == 1 else f"{number} steps"
