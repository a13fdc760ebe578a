"""Time zones, spans of time and opening hours: what a ramp is planned with. Pure.

A day is a day of the calendar and has 23 or 25 hours where the clocks change; hours
and minutes are those of a stopwatch. A time of day that the clocks jump over is
as much later as they jump; of one that comes twice the first is meant. Knows no flags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo

import msgspec

from rollout.errors import InvalidValue
from rollout.wording import did_you_mean, show

LONGEST_DAYS = 366

SPAN = re.compile(r"(?:([0-9]{1,4})w)?(?:([0-9]{1,4})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?")
_BETWEEN = re.compile(r"([0-9]{1,2}:[0-9]{2})-([0-9]{1,2}:[0-9]{2})")
_SATURDAY = 5  # the days before it are the weekdays


class Duration(msgspec.Struct, frozen=True):
    """So many days of the calendar, and after them so many minutes."""

    days: int
    minutes: int

    def after(self, start: datetime, zone: tzinfo) -> datetime:
        """The end of the span that begins at `start`."""
        local = start.astimezone(zone)
        end = at_time(local.date() + timedelta(days=self.days), local.time(), zone)
        return plus(end if self.days else start, timedelta(minutes=self.minutes))


class Hours(msgspec.Struct, frozen=True):
    """When something may begin: on which days, and from `opens` to `closes`, both included."""

    zone: tzinfo
    weekdays: bool = False
    opens: time = time.min
    closes: time = time.max

    @property
    def always(self) -> bool:
        """Whether there is no restriction."""
        return not self.weekdays and (self.opens, self.closes) == (time.min, time.max)

    def on(self, day: date) -> bool:
        """Whether they are open on that day."""
        return not self.weekdays or day.weekday() < _SATURDAY

    def next(self, moment: datetime) -> datetime:
        """The first open moment from `moment` on."""
        if self.always:
            return moment
        return next(max(moment, opens) for opens, _ in self.spans(moment))

    @property
    def share(self) -> float:
        """How much of a week is open, 0 to 1."""
        day = datetime.combine(date.min, self.closes) - datetime.combine(date.min, self.opens)
        return day / timedelta(days=1) * (_SATURDAY / 7 if self.weekdays else 1)

    def open_within(self, start: datetime, end: datetime) -> timedelta:
        """How much of the time from `start` to `end` is open."""
        found = timedelta(0)
        for opens, closes in self.spans(start):
            if opens >= end:
                break
            found += min(closes, end) - max(opens, start)
        return found

    def after(self, start: datetime, open_time: timedelta) -> datetime:
        """The moment at which so much open time has gone by since `start`."""
        left = open_time
        for opens, closes in self.spans(start):
            begins = max(opens, start)
            if left <= closes - begins:
                return plus(begins, left)
            left -= closes - begins
        raise AssertionError("there is always another open day")

    def spans(self, start: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Open times, (first, last moment), from the one on that is not over at `start`."""
        day = start.astimezone(self.zone).date()
        while True:
            if self.on(day):
                opens, closes = (at_time(day, t, self.zone) for t in (self.opens, self.closes))
                if closes >= start:
                    yield opens, closes
            day += timedelta(days=1)


def parse_duration(text: str, option: str) -> Duration:
    """ "7d", "2w", "36h", "1d12h", "90m"; raises InvalidValue."""
    match = SPAN.fullmatch(text)
    weeks, days, hours, minutes = (int(part or 0) for part in match.groups()) if match else [0] * 4
    found = Duration(7 * weeks + days, 60 * hours + minutes)
    if found == Duration(0, 0):
        raise InvalidValue(
            f"{option} {show(text)} is not a span of time",
            hint="write days, hours or minutes, such as 7d, 36h or 1d12h",
        )
    if found.days + found.minutes / 1440 > LONGEST_DAYS:
        raise InvalidValue(
            f"{option} {show(text)} is more than {LONGEST_DAYS} days", hint="take a shorter one"
        )
    return found


def parse_between(text: str, option: str) -> tuple[time, time]:
    """ "09:00-16:00"; raises InvalidValue."""
    fix = "write two times of day, the earlier first, such as 09:00-16:00"
    match = _BETWEEN.fullmatch(text)
    try:
        times = [time.fromisoformat(part.zfill(5)) for part in (match.groups() if match else ())]
        opens, closes = times
    except ValueError:
        raise InvalidValue(f"{option} {show(text)} is not a time of day", hint=fix) from None
    if opens >= closes:
        raise InvalidValue(f"{option} {show(text)} ends before it begins", hint=fix)
    return opens, closes


def parse_zone(name: str, option: str) -> tzinfo:
    """The time zone `name`, such as Europe/Berlin or UTC; raises InvalidValue."""
    import zoneinfo

    if name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
    if not known:
        raise InvalidValue(
            f"{option} {show(name)}: this machine has no time zones",
            hint="pip install tzdata (or install the system's tzdata package), or use --tz UTC",
        )
    hint = did_you_mean(name, sorted(known), "write one such as Europe/Berlin, or UTC")
    raise InvalidValue(f"{option} {show(name)} is not a time zone", hint=hint)


def at_time(day: date, clock: time, zone: tzinfo) -> datetime:
    """When it is `clock` o'clock on that day in that zone."""
    local = datetime.combine(day, clock, zone)
    return fixed(local.astimezone(UTC), zone)


def plus(moment: datetime, span: timedelta) -> datetime:
    """So much later by the stopwatch."""
    return moment.astimezone(UTC) + span


def fixed(moment: datetime, zone: tzinfo) -> datetime:
    """The same moment, with the offset that `zone` has then."""
    local = moment.astimezone(zone)
    return local.replace(tzinfo=timezone(local.utcoffset() or timedelta(0)), fold=0)
