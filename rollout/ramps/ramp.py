"""Percentages and a span of time -> the dated steps of a ramp; and the same after a pause. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from fractions import Fraction
from itertools import pairwise

from rollout.errors import EditRefused, InvalidValue
from rollout.flag import Step, percent_text, time_text
from rollout.ramps.hours import Duration, Hours, at_time, fixed, plus

_USUAL = (1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 75_000)
_NEARLY_A_DAY = timedelta(hours=20)
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


def usual_steps(first: int, last: int) -> list[int]:
    """Thresholds from `first` to `last`, by way of 1, 2, 5, 10, 25, 50 and 75 %."""
    low, high = sorted((first, last))
    between = [threshold for threshold in _USUAL if low < threshold < high]
    return [first, *(between if first < last else reversed(between)), last]


def plan(
    current: int,
    thresholds: Sequence[int],
    start: datetime,
    over: Duration,
    hours: Hours,
    now: datetime,
) -> tuple[Step, ...]:
    """The steps of a ramp through `thresholds`, the first at `start`, the last `over` later.

    Over whole days each step is on a day of its own, at the same time of day, as far as
    there are enough open days by then; otherwise the steps are equally far apart, and
    where `hours` are closed the last is later. All are within `hours`. Where somebody is
    inside now (`current`), a step from before yesterday's end keeps them there until the
    ramp begins, whatever the clock of the one who asks.
    Raises InvalidValue when the steps do not fit into the time.
    """
    start = hours.next(start)
    moments = _on_days(len(thresholds), start, over, hours) or _spread(
        len(thresholds), start, over, hours
    )
    steps = [
        Step(fixed(moment.replace(second=0, microsecond=0), hours.zone), threshold)
        for moment, threshold in zip(moments, thresholds, strict=True)
    ]
    if current:
        yesterday = min(now, start).astimezone(hours.zone).date() - _DAY
        steps.insert(0, Step(at_time(yesterday, time.min, hours.zone), current))
    kept = [
        step
        for before, step in pairwise([Step(steps[0].at, -1), *steps])
        if step.threshold != before.threshold
    ]
    if any(after.at <= before.at for before, after in pairwise(kept)):
        raise InvalidValue(
            f"{len(thresholds)} steps do not fit into that time",
            hint="take fewer --steps, a longer --over or a wider --between",
        )
    return tuple(kept)


def after_pause(
    begun: Sequence[Step],
    waiting: Sequence[Step],
    paused: datetime,
    now: datetime,
    hours: Hours | None,
) -> list[Step]:
    """The steps that waited, later by the time of the pause.

    Where the steps are a day or more apart, by whole days, rounded up, so that the time
    of day stays. With `hours` all are moved into them. Raises EditRefused when the pause
    lies ahead.
    """
    if now < paused:
        raise EditRefused(
            f"the ramp is paused since {time_text(paused)}, and it is {time_text(now)} now",
            hint="set the clock of this machine, or give the time with --at",
        )
    pause = _MINUTE * math.ceil((now - paused) / _MINUTE)
    gaps = [after.at - before.at for before, after in pairwise([*begun[-1:], *waiting])]
    days = math.ceil(pause / _DAY) if min(gaps, default=_DAY) >= _NEARLY_A_DAY else None
    moved: list[Step] = []
    for step in waiting:
        at = step.at + (pause if days is None else timedelta(days=days))
        if hours:
            at = _in_hours(step.at, pause, days, hours, moved[-1].at if moved else None)
        moved.append(Step(at, step.threshold))
    return moved


def jumps(steps: Sequence[Step], level: int, most: int) -> list[tuple[int, Step]]:
    """The steps that raise the level by more than `most`, each with the level before it."""
    before = [level, *(step.threshold for step in steps)]
    return [
        (was, step) for was, step in zip(before, steps, strict=False) if step.threshold - was > most
    ]


def one_way(thresholds: Sequence[int], option: str) -> None:
    """Raises InvalidValue unless the thresholds only rise or only fall."""
    up = list(thresholds) == sorted(set(thresholds))
    down = list(thresholds) == sorted(set(thresholds), reverse=True)
    if not (up or down) or len(thresholds) < 2:
        raise InvalidValue(
            f"{option} {','.join(map(percent_text, thresholds))} does not go one way",
            hint="write at least two percentages, each above the one before, or each below",
        )


def _on_days(count: int, start: datetime, over: Duration, hours: Hours) -> list[datetime]:
    """One moment on each of `count` days, or nothing if there are not as many days."""
    if over.minutes:
        return []
    local = start.astimezone(hours.zone)
    days = [local.date() + _DAY * number for number in range(over.days + 1)]
    days = [day for day in days if hours.on(day)]
    if len(days) < count:
        return []
    # Halves are rounded up: rather later than earlier.
    chosen = [
        math.floor(Fraction(i * (len(days) - 1), count - 1) + Fraction(1, 2)) for i in range(count)
    ]
    return [start, *(at_time(days[index], local.time(), hours.zone) for index in chosen[1:])]


def _spread(count: int, start: datetime, over: Duration, hours: Hours) -> list[datetime]:
    """Moments equally far apart in the open time from `start` on, the last at the end or later.

    However little of the span is open, the steps are no closer to each other than in
    any other week: what is closed makes a ramp longer, never steeper.
    """
    end = over.after(start, hours.zone)
    if hours.always:
        return [plus(start, (end - start) * number / (count - 1)) for number in range(count)]
    open_time = max(hours.open_within(start, end), (end - start) * hours.share)
    found = [hours.after(start, open_time * number / (count - 1)) for number in range(count)]
    found[-1] = max(found[-1], hours.next(end))
    return found


def _in_hours(
    at: datetime, pause: timedelta, days: int | None, hours: Hours, after: datetime | None
) -> datetime:
    local = at.astimezone(hours.zone)
    if days is None:
        moved = plus(at, pause)
    else:
        moved = at_time(local.date() + _DAY * days, local.time(), hours.zone)
    moved = hours.next(moved)
    if after and moved <= after:
        day = after.astimezone(hours.zone).date() + _DAY
        moved = hours.next(at_time(day, local.time(), hours.zone))
    return fixed(moved, hours.zone)
