"""What a flag will be when, as lines for people with a small chart. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo

from rollout.flag import Flag, Ramp, Step, percent_text, share_text, time_text
from rollout.ramps.hours import fixed
from rollout.wording import count

WIDTH = 20
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def lines(flag: Flag, now: datetime, zone: tzinfo | None, *, ascii_only: bool) -> Iterator[str]:
    """The flag in one line and, for a ramp, a line with a bar for each step.

    Times are shown in `zone`, or with the offsets that the file gives them.
    """
    off = "off (enabled: false), " if not flag.enabled else ""
    stands = f"{flag.key}: {off}{share_text(flag.threshold_at(now))}"
    ramp = flag.rollout
    if not isinstance(ramp, Ramp):
        yield f"{stands}, no ramp"
        return
    yield stands + _course(ramp, now, zone)
    steps = shown_steps(ramp)
    width = max(len(_at(step.at, zone)) for step in steps)
    for step in steps:
        day = (step.at.astimezone(zone) if zone else step.at).strftime("%a")
        drawn = bar(step.threshold, ascii_only=ascii_only).ljust(WIDTH)
        share = f"{percent_text(step.threshold):>7} %"
        mark = _mark(ramp, step, now)
        yield f"  {day} {_at(step.at, zone):<{width}} {share}  {drawn}  {mark}".rstrip()


def shown_steps(ramp: Ramp) -> list[Step]:
    """The steps that the file has, those waiting last."""
    # A pause before the beginning is a step to 0 that the file does not have.
    begun = [step for step in ramp.steps if not (ramp.paused == step.at and not step.threshold)]
    return [*begun, *ramp.waiting]


def _mark(ramp: Ramp, step: Step, now: datetime) -> str:
    if step in ramp.waiting:
        return "waiting"
    return "<- now" if step is ramp.current(now) else ""


def _course(ramp: Ramp, now: datetime, zone: tzinfo | None) -> str:
    """Where the ramp is, as the end of a sentence."""
    if ramp.paused:
        waiting = count(len(ramp.waiting), "step")
        return f", paused since {_at(ramp.paused, zone)}, {waiting} waiting"
    last = ramp.steps[-1]
    if last.at > now:
        return f" now, {share_text(last.threshold)} from {_at(last.at, zone)}"
    return f" since {_at(last.at, zone)}, the ramp is over"


def _at(moment: datetime, zone: tzinfo | None) -> str:
    return time_text(fixed(moment, zone) if zone else moment)


def bar(threshold: int, *, ascii_only: bool) -> str:
    """A bar of up to WIDTH characters; what is above 0 shows."""
    if ascii_only:
        return "#" * max(round(threshold * WIDTH / 100_000), threshold > 0)
    whole, rest = divmod(max(threshold * WIDTH * 8 // 100_000, threshold > 0), 8)
    return _EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")
