"""Percentages and a span of time become dated steps."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollout.errors import EditRefused, InvalidValue
from rollout.flag import Ramp, Step, percent_text, time_text
from rollout.ramps.hours import Duration, Hours, parse_duration
from rollout.ramps.ramp import after_pause, jumps, one_way, plan, usual_steps

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 11, 23, 9, tzinfo=BERLIN)
WORK = Hours(BERLIN, True, time(9), time(16))
WEEKDAYS = Hours(BERLIN, True)
WEEK = [5_000, 10_000, 25_000, 50_000, 100_000]


def shown(steps: tuple[Step, ...] | list[Step]) -> list[str]:
    return [f"{s.at:%a} {time_text(s.at)} {percent_text(s.threshold)}" for s in steps]


def test_a_week_puts_each_step_on_a_day_of_its_own_at_the_same_time() -> None:
    assert shown(plan(0, WEEK, MONDAY, Duration(7, 0), Hours(BERLIN), MONDAY)) == [
        "Mon 2026-11-23T09:00+01:00 5",
        "Wed 2026-11-25T09:00+01:00 10",
        "Fri 2026-11-27T09:00+01:00 25",
        "Sat 2026-11-28T09:00+01:00 50",
        "Mon 2026-11-30T09:00+01:00 100",
    ]


def test_on_weekdays_nothing_begins_at_the_weekend() -> None:
    saturday = MONDAY + timedelta(days=5)
    assert shown(plan(0, WEEK, saturday, Duration(7, 0), WORK, MONDAY)) == [
        "Mon 2026-11-30T09:00+01:00 5",
        "Tue 2026-12-01T09:00+01:00 10",
        "Thu 2026-12-03T09:00+01:00 25",
        "Fri 2026-12-04T09:00+01:00 50",
        "Mon 2026-12-07T09:00+01:00 100",
    ]


def test_shorter_than_the_days_needed_the_steps_share_the_open_hours() -> None:
    assert shown(plan(0, WEEK, MONDAY, Duration(2, 0), WORK, MONDAY)) == [
        "Mon 2026-11-23T09:00+01:00 5",
        "Mon 2026-11-23T12:30+01:00 10",
        "Mon 2026-11-23T16:00+01:00 25",
        "Tue 2026-11-24T12:30+01:00 50",
        "Wed 2026-11-25T09:00+01:00 100",
    ]


def test_what_is_closed_makes_a_ramp_longer_and_never_steeper() -> None:
    """A day from a Friday afternoon on goes on on Monday, at the pace of any other day."""
    friday = datetime(2026, 11, 27, 15, 30, tzinfo=BERLIN)
    assert shown(plan(0, WEEK, friday, Duration(1, 0), WORK, MONDAY)) == [
        "Fri 2026-11-27T15:30+01:00 5",
        "Mon 2026-11-30T09:45+01:00 10",
        "Mon 2026-11-30T11:00+01:00 25",
        "Mon 2026-11-30T12:15+01:00 50",
        "Mon 2026-11-30T13:30+01:00 100",
    ]


@given(st.integers(0, 7 * 24 * 60 - 1), st.integers(1, 20 * 60), st.sampled_from([WORK, WEEKDAYS]))
def test_a_ramp_of_hours_takes_at_least_as_long_as_asked(
    begins_min: int, over_min: int, hours: Hours
) -> None:
    start = hours.next(MONDAY + timedelta(minutes=begins_min))
    steps = plan(0, [5_000, 100_000], start, Duration(0, over_min), hours, MONDAY)
    assert steps[-1].at >= (start + timedelta(minutes=over_min)).replace(second=0, microsecond=0)
    assert all(hours.next(step.at) == step.at for step in steps)


def test_across_a_change_of_the_clocks_days_keep_their_time_of_day() -> None:
    start = datetime(2027, 3, 26, 9, tzinfo=BERLIN)
    assert shown(plan(0, WEEK, start, Duration(4, 0), Hours(BERLIN), start)) == [
        "Fri 2027-03-26T09:00+01:00 5",
        "Sat 2027-03-27T09:00+01:00 10",
        "Sun 2027-03-28T09:00+02:00 25",
        "Mon 2027-03-29T09:00+02:00 50",
        "Tue 2027-03-30T09:00+02:00 100",
    ]


@pytest.mark.parametrize("night", [date(2027, 3, 28), date(2027, 10, 31)])
def test_across_a_change_of_the_clocks_hours_are_equally_long(night: date) -> None:
    start = datetime.combine(night, time(0, 30), BERLIN)
    steps = plan(0, WEEK, start, parse_duration("4h", ""), Hours(BERLIN), start)
    gaps = {after.at - before.at for before, after in pairwise(steps)}
    assert gaps == {timedelta(hours=1)}
    assert len({step.at.utcoffset() for step in steps}) == 2


def test_whoever_is_inside_stays_until_the_ramp_begins() -> None:
    steps = plan(3_000, WEEK, MONDAY + timedelta(days=2), Duration(7, 0), Hours(BERLIN), MONDAY)
    assert shown(steps)[:2] == ["Sun 2026-11-22T00:00+01:00 3", "Wed 2026-11-25T09:00+01:00 5"]
    assert Ramp(steps).current(MONDAY - timedelta(hours=20)) == steps[0]


def test_a_first_step_that_changes_nothing_is_left_out() -> None:
    steps = plan(5_000, WEEK, MONDAY, Duration(7, 0), Hours(BERLIN), MONDAY)
    assert [step.threshold for step in steps] == WEEK
    assert shown(steps)[0] == "Sun 2026-11-22T00:00+01:00 5"


def test_steps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidValue, match="5 steps do not fit"):
        plan(0, WEEK, MONDAY, parse_duration("3m", ""), Hours(BERLIN), MONDAY)


_hours = st.builds(
    lambda zone, weekdays, between: Hours(zone, weekdays, *between),
    st.sampled_from([UTC, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")]),
    st.booleans(),
    st.sampled_from([(time.min, time.max), (time(9), time(16)), (time(1, 30), time(3, 30))]),
)
_starts = st.integers(0, 60 * 24 * 730).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
_thresholds = st.lists(st.integers(0, 100_000), min_size=2, max_size=8, unique=True).map(sorted)
_durations = st.builds(Duration, st.integers(0, 30), st.integers(0, 3000)).filter(
    lambda duration: duration != Duration(0, 0)
)


@given(st.integers(0, 100_000), _thresholds, _starts, _durations, _hours)
@example(0, [1, 2], datetime(2027, 3, 28, 0, 59, tzinfo=UTC), Duration(1, 0), Hours(BERLIN))
def test_every_ramp_is_in_order_within_hours_and_reaches_its_end(
    current: int, thresholds: list[int], start: datetime, over: Duration, hours: Hours
) -> None:
    try:
        steps = plan(current, thresholds, start, over, hours, start)
    except InvalidValue:
        return
    assert all(before.at < after.at for before, after in pairwise(steps))
    assert steps[-1].threshold == thresholds[-1] or len(steps) == 1
    ramp = Ramp(steps)
    if current:
        step = ramp.current(start - timedelta(minutes=1))
        assert step is not None
        assert step.threshold == current
        steps = steps[1:]
    for step in steps:
        assert step.at >= start.replace(second=0, microsecond=0)
        assert (step.at.second, step.at.microsecond) == (0, 0)
        local = step.at.astimezone(hours.zone)
        assert hours.on(local.date())
        assert hours.opens <= local.time() or hours.opens == time(1, 30)  # a time that is skipped
        assert local.time() <= hours.closes or hours.closes == time(3, 30)


def test_the_usual_steps_lie_between_both_ends() -> None:
    assert usual_steps(5_000, 100_000) == [5_000, 10_000, 25_000, 50_000, 75_000, 100_000]
    assert usual_steps(0, 5_000) == [0, 1_000, 2_000, 5_000]
    assert usual_steps(50_000, 0) == [50_000, 25_000, 10_000, 5_000, 2_000, 1_000, 0]


@pytest.mark.parametrize("wrong", [[5], [5, 5], [5, 10, 7], []])
def test_steps_go_one_way(wrong: list[int]) -> None:
    with pytest.raises(InvalidValue, match="does not go one way"):
        one_way(wrong, "--steps")
    one_way([1, 2, 3], "--steps")
    one_way([3, 2, 1], "--steps")


def waiting(*days: int, hour: int = 9) -> list[Step]:
    first = MONDAY.replace(hour=hour)
    return [Step(first + timedelta(days=day), 1_000 * (day + 10)) for day in days]


def test_after_a_pause_daily_steps_keep_their_time_of_day() -> None:
    begun, rest = waiting(0), waiting(1, 2)
    paused = MONDAY + timedelta(hours=3)
    moved = after_pause(begun, rest, paused, paused + timedelta(hours=50), None)
    assert [step.at - before.at for before, step in zip(rest, moved, strict=True)] == [
        timedelta(days=3)
    ] * 2


def test_after_a_pause_hourly_steps_move_by_exactly_that() -> None:
    begun = [Step(MONDAY, 1)]
    rest = [Step(MONDAY + timedelta(hours=1), 2), Step(MONDAY + timedelta(hours=2), 3)]
    paused = MONDAY + timedelta(minutes=30)
    moved = after_pause(begun, rest, paused, paused + timedelta(minutes=20), None)
    assert [step.at - MONDAY for step in moved] == [
        timedelta(hours=1, minutes=20),
        timedelta(hours=2, minutes=20),
    ]


def test_after_a_pause_the_hours_given_are_kept() -> None:
    rest = waiting(3, 4)  # Thursday and Friday
    paused = MONDAY + timedelta(days=2, hours=3)
    moved = after_pause(waiting(0, 1), rest, paused, paused + timedelta(days=2), WORK)
    assert [f"{step.at:%a %H:%M}" for step in moved] == ["Mon 09:00", "Tue 09:00"]


def test_a_pause_that_lies_ahead_is_refused() -> None:
    with pytest.raises(EditRefused, match="is paused since") as caught:
        after_pause([], waiting(1), MONDAY, MONDAY - timedelta(minutes=1), None)
    assert "clock" in caught.value.hint


@given(
    st.lists(st.integers(1, 10_000), min_size=1, max_size=6, unique=True).map(sorted),
    st.integers(0, 20_000),
    _hours | st.none(),
)
def test_after_a_pause_every_step_lies_ahead_and_in_order(
    minutes: list[int], pause: int, hours: Hours | None
) -> None:
    paused = MONDAY.astimezone(UTC)
    rest = [Step(paused + timedelta(minutes=m), n) for n, m in enumerate(minutes)]
    now = paused + timedelta(minutes=pause)
    moved = after_pause([Step(paused, 0)], rest, paused, now, hours)
    assert [step.threshold for step in moved] == [step.threshold for step in rest]
    assert all(step.at > now for step in moved)
    assert all(before.at < after.at for before, after in pairwise(moved))


def test_jumps_are_rises_beyond_the_limit() -> None:
    steps = [Step(MONDAY, 5_000), Step(MONDAY, 30_000), Step(MONDAY, 1_000)]
    assert jumps(steps, 0, 5_000) == [(5_000, steps[1])]
    assert jumps(steps, 0, 4_999) == [(0, steps[0]), (5_000, steps[1])]
