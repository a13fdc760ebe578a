"""The picture of a moment: what stands in its lines, at any size."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from deploy.events import (
    BackingOff,
    HiccupMet,
    LeasesTaken,
    MachineMoved,
    PassStarted,
    Phase,
    Planned,
    Result,
    RunFinished,
)
from deploy.readers.picture import picture
from deploy.readers.timeline import Timeline
from tests.deploy.eventful import EPOCH_S, Entry, any_run


def _lines(timeline: Timeline, now_s: float, height: int, width: int = 80) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    for line in picture(timeline, now_s, width, height):
        console.print(line, soft_wrap=True)
    return out.getvalue().splitlines()


def _moved(number: int, phase: Phase, detail: str = "") -> MachineMoved:
    return MachineMoved(
        machine_id=f"148e{number}", name=f"web-{number}", group="web", phase=phase, detail=detail
    )


def test_each_machine_has_a_line_and_the_last_line_is_the_total() -> None:
    timeline = Timeline.of(
        [
            (EPOCH_S, PassStarted(number=1, of=6)),
            (EPOCH_S, _moved(1, Phase.UPDATING)),
            (EPOCH_S + 1, _moved(1, Phase.CHECKING, "0/1 passing")),
            (EPOCH_S + 2, _moved(2, Phase.QUEUED)),
        ]
    )
    assert [line.rstrip() for line in _lines(timeline, EPOCH_S + 4, 24)] == [
        "● web-1 checking        4.0 s 0/1 passing",
        "· web-2 queued",
        "[░░░░░░░░░░░░░░░░░░░░░░░░] 0/2 · 4.0 s · pass 1 of 6",
    ]


def test_between_passes_the_total_counts_down() -> None:
    timeline = Timeline.of([(EPOCH_S, BackingOff(delay_s=5.0, number=1))])
    assert _lines(timeline, EPOCH_S + 2, 24)[-1].rstrip().endswith("next pass in 3.0 s")


def test_on_a_low_terminal_failed_and_moving_machines_are_shown_and_the_rest_counted() -> None:
    timeline = Timeline.of((EPOCH_S, _moved(number, Phase.DONE)) for number in range(1, 40))
    timeline.add(EPOCH_S, _moved(90, Phase.QUEUED))
    timeline.add(EPOCH_S, _moved(91, Phase.FAILED, "exit code 1"))
    timeline.add(EPOCH_S, _moved(92, Phase.CHECKING))
    lines = _lines(timeline, EPOCH_S, 8)
    text = "\n".join(lines)
    assert len(lines) < 8
    assert "web-91" in text
    assert "web-92" in text
    assert "and 40 more: 39 done, 1 queued" in text


@given(any_run, st.integers(1, 30), st.integers(20, 120))
def test_the_picture_of_any_run_fits_the_terminal_and_takes_no_markup(
    run: list[Entry], height: int, width: int
) -> None:
    timeline = Timeline.of(run)
    lines = _lines(timeline, timeline.end_s, height, width)
    assert len(lines) <= max(3, height - 1)
    assert all(line.isprintable() and cell_len(line) <= width for line in lines)


@pytest.mark.parametrize(("hours", "shown"), [(0, "10 min"), (9, "9 h"), (1000, "1000 h")])
def test_what_takes_hours_fits_its_column(hours: int, shown: str) -> None:
    timeline = Timeline.of([(EPOCH_S, _moved(1, Phase.CREATING))])
    first = _lines(timeline, EPOCH_S + hours * 3600 + 600, 24, width=40)[0]
    assert cell_len(first) <= 40
    assert first.split("creating")[1].strip() == shown


def test_a_long_reason_stands_below_its_machine_and_is_not_cut() -> None:
    reason = "check http on port 8080: 500 Internal Server Error, said the app; " * 2
    timeline = Timeline.of([(EPOCH_S, _moved(1, Phase.FAILED, reason))])
    first, *below = _lines(timeline, EPOCH_S, 24, width=60)[:-1]
    assert first.startswith("✗ web-1 failed")
    assert " ".join(" ".join(below).split()) == " ".join(reason.split())
    assert all(line.startswith("    ") for line in below)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_names_and_signs_are_never_dropped(width: int) -> None:
    timeline = Timeline.of(
        (EPOCH_S, _moved(number, phase, "some news " * 20))
        for number, phase in enumerate((Phase.DONE, Phase.FAILED, Phase.CHECKING, Phase.BACK))
    )
    text = "\n".join(_lines(timeline, EPOCH_S, 40, width))
    for sign, number in zip("✓✗●↩", range(4), strict=True):
        assert f"{sign} web-{number} " in text


def test_what_a_run_never_came_to_is_untouched_in_the_end() -> None:
    timeline = Timeline.of(
        [
            (EPOCH_S, Planned(actions=(("web-1", "web", "update"),), unchanged=0)),
            (EPOCH_S, _moved(2, Phase.QUEUED)),
        ]
    )
    assert "queued" in _lines(timeline, EPOCH_S, 24)[0]
    timeline.add(EPOCH_S + 1, RunFinished(result=Result.FAILED, exit_code=1, message=""))
    lines = _lines(timeline, EPOCH_S + 1, 24)
    assert [line.split()[2] for line in lines[:2]] == ["untouched", "untouched"]
    assert "queued" not in "\n".join(lines)


def test_the_time_that_is_left_follows_from_the_machines_that_are_settled() -> None:
    timeline = Timeline.of(
        (EPOCH_S + second, _moved(number, phase))
        for number in range(1, 5)
        for second, phase in ((0, Phase.UPDATING), (10, Phase.DONE))
        if number < 3 or phase is Phase.UPDATING
    )
    assert "2/4" in _lines(timeline, EPOCH_S + 10, 24)[-1]
    assert "about 10 s left" in _lines(timeline, EPOCH_S + 10, 24)[-1]


def test_before_the_plan_it_says_what_is_waited_for() -> None:
    timeline = Timeline.of([(EPOCH_S, PassStarted(number=1, of=6))])
    assert "looking, taking leases" in _lines(timeline, EPOCH_S + 3, 24)[-1]


def test_leases_that_take_time_are_counted_until_something_else_happens() -> None:
    timeline = Timeline.of(
        [
            (EPOCH_S, PassStarted(number=1, of=6)),
            (EPOCH_S + 1, LeasesTaken(taken=12, of=40)),
        ]
    )
    assert "taking leases 12/40" in _lines(timeline, EPOCH_S + 2, 24)[-1]
    timeline.add(EPOCH_S + 3, Planned(actions=(("148e1", "web", "update"),), unchanged=0))
    assert "taking leases" not in _lines(timeline, EPOCH_S + 3, 24)[-1]


def test_after_a_429_the_platform_sets_the_pace() -> None:
    slowed = HiccupMet(
        operation="update",
        machine_id="148e1",
        message="update 148e1 (429): rate limited",
        outcome_known=True,
        number=1,
    )
    timeline = Timeline.of([(EPOCH_S, _moved(1, Phase.UPDATING)), (EPOCH_S + 1, slowed)])
    assert "paced by the platform" in _lines(timeline, EPOCH_S + 2, 24)[-1]
    assert "paced" not in _lines(timeline, EPOCH_S + 60, 24)[-1]
