"""Spans of time, zones and opening hours, across the days on which clocks change."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.errors import InvalidValue
from rollout.ramps.hours import (
    Duration,
    Hours,
    at_time,
    fixed,
    parse_between,
    parse_duration,
    parse_zone,
)

BERLIN = ZoneInfo("Europe/Berlin")
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "days", "minutes"),
    [("7d", 7, 0), ("2w", 14, 0), ("36h", 0, 2160), ("1d12h", 1, 720), ("90m", 0, 90)],
)
def test_a_duration_is_read(text: str, days: int, minutes: int) -> None:
    assert parse_duration(text, "--over") == Duration(days, minutes)


@pytest.mark.parametrize("text", ["", "7", "d", "0d", "-1d", "1.5d", "7 d", "1h1d", "٧d", "7D"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not a span of time"):
        parse_duration(text, "--over")


@pytest.mark.parametrize("text", ["367d", "53w", "9000h", "366d1m"])
def test_a_duration_of_more_than_a_year_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="more than 366 days"):
        parse_duration(text, "--over")


def test_hours_of_the_day_are_read() -> None:
    assert parse_between("9:00-16:30", "--between") == (time(9), time(16, 30))


@pytest.mark.parametrize("text", ["", "9-16", "09:00", "24:00-25:00", "09:00-09:00", "16:00-09:00"])
def test_what_are_no_hours_is_named(text: str) -> None:
    with pytest.raises(InvalidValue, match="--between"):
        parse_between(text, "--between")


def test_zones_are_found_by_name() -> None:
    assert parse_zone("UTC", "--tz") is UTC
    assert parse_zone("Europe/Berlin", "--tz") == BERLIN


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("../../etc/passwd", "write one such as"),
        ("Europe", "did you mean Europe/Rome?"),
        ("", "write one such as"),
        ("a\0b", "write one such as"),
    ],
)
def test_a_zone_that_does_not_exist_is_named(name: str, hint: str) -> None:
    with pytest.raises(InvalidValue, match="is not a time zone") as caught:
        parse_zone(name, "--tz")
    assert hint in caught.value.hint


def test_a_machine_without_time_zones_is_told_what_to_install() -> None:
    program = (
        "import sys, zoneinfo\n"
        "zoneinfo.reset_tzpath(to=())\n"
        "sys.modules['tzdata'] = None\n"
        "from rollout.errors import InvalidValue\n"
        "from rollout.ramps.hours import parse_zone\n"
        "print(parse_zone('UTC', '--tz'))\n"
        "try:\n"
        "    parse_zone('Europe/Berlin', '--tz')\n"
        "except InvalidValue as error:\n"
        "    print(error.message, '|', error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    utc, said = done.stdout.splitlines()
    assert utc == "UTC"
    assert said.startswith(
        "--tz Europe/Berlin: this machine has no time zones | pip install tzdata"
    )


def test_a_time_that_the_clocks_jump_over_comes_later_and_one_twice_comes_first() -> None:
    spring = at_time(date(2027, 3, 28), time(2, 30), BERLIN)
    assert spring.isoformat() == "2027-03-28T03:30:00+02:00"
    autumn = at_time(date(2027, 10, 31), time(2, 30), BERLIN)
    assert autumn.isoformat() == "2027-10-31T02:30:00+02:00"


def test_days_are_of_the_calendar_and_hours_of_the_stopwatch() -> None:
    start = datetime(2027, 3, 27, 9, tzinfo=BERLIN)
    day = Duration(1, 0).after(start, BERLIN)
    hours = Duration(0, 24 * 60).after(start, BERLIN)
    assert fixed(day, BERLIN).isoformat() == "2027-03-28T09:00:00+02:00"
    assert fixed(hours, BERLIN).isoformat() == "2027-03-28T10:00:00+02:00"


_moments = st.integers(0, 60 * 24 * 730).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
_names = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
_zones = st.sampled_from([UTC, *map(ZoneInfo, _names)])
_clocks = st.times().map(lambda t: t.replace(second=0, microsecond=0))


@given(_moments, _zones, st.booleans(), _clocks, _clocks)
def test_the_next_open_moment_is_open_and_not_before(
    moment: datetime, zone: ZoneInfo, weekdays: bool, one: time, other: time
) -> None:
    opens, closes = sorted((one, other))
    hours = Hours(zone, weekdays, opens, closes)
    found = hours.next(moment)
    assert moment <= found <= moment + timedelta(days=4)
    local = found.astimezone(zone)
    assert hours.on(local.date())
    assert hours.next(found) == found
    ends = at_time(local.date(), closes, zone)
    assert at_time(local.date(), opens, zone) <= found <= ends


@given(_moments, _zones)
def test_open_spans_follow_one_another(moment: datetime, zone: ZoneInfo) -> None:
    spans = Hours(zone, True, time(1), time(3)).spans(moment)
    for (_, closes), (opens, _) in pairwise(next(spans) for _ in range(8)):
        assert closes < opens


def test_a_moment_within_hours_is_taken_as_it_is() -> None:
    hours = Hours(BERLIN, True, time(9), time(16))
    for clock in (time(9), time(12, 34), time(16)):
        monday = at_time(date(2026, 11, 23), clock, BERLIN)
        assert hours.next(monday) == monday
    late = at_time(date(2026, 11, 20), time(16, 1), BERLIN)
    assert hours.next(late) == at_time(date(2026, 11, 23), time(9), BERLIN)
