"""One fold for every picture of a run: whose event it was, how long it took, never an error."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from deploy.events import Event, HiccupMet, MachineMoved, Phase, Planned, RunFinished
from deploy.readers.chart import HICCUP, render_timeline
from deploy.readers.timeline import KIND, SETTLED, Kind, Timeline
from tests.deploy.eventful import EPOCH_S, Entry, Story, any_run


def _moved(phase: Phase, machine_id: str = "", name: str = "web-1") -> MachineMoved:
    return MachineMoved(machine_id=machine_id, name=name, group="web", phase=phase)


def _timeline(*events: Event) -> Timeline:
    return Timeline.of((EPOCH_S + i, event) for i, event in enumerate(events))


def test_every_phase_has_a_kind() -> None:
    assert set(KIND) == set(Phase)
    assert set(KIND.values()) == set(Kind)


def test_a_machine_planned_by_name_created_without_an_id_and_then_known_is_one() -> None:
    timeline = _timeline(
        Planned(actions=(("web-1", "web", "create"),), unchanged=0),
        _moved(Phase.CREATING),
        _moved(Phase.STARTING, "148e1"),
        _moved(Phase.DONE, "148e1"),
    )
    (track,) = timeline.tracks
    assert (track.key, track.label, track.verb, track.phase) == ("148e1", "web-1", "create", "done")
    assert track.duration_s(timeline.end_s) == 2.0


def test_two_machines_of_one_name_are_two() -> None:
    timeline = _timeline(
        _moved(Phase.DESTROYING, "148e1"),
        _moved(Phase.GONE, "148e1"),
        _moved(Phase.CREATING),
        _moved(Phase.DONE, "148e2"),
    )
    assert [(track.key, track.phase) for track in timeline.tracks] == [
        ("148e1", Phase.GONE),
        ("148e2", Phase.DONE),
    ]


def test_a_machine_planned_by_id_keeps_it_when_its_name_is_heard() -> None:
    planned = Planned(actions=(("148e1", "web", "update"),), unchanged=0)
    timeline = _timeline(planned, _moved(Phase.UPDATING, "148e1"))
    (track,) = timeline.tracks
    assert (track.key, track.label) == ("148e1", "web-1")


def test_queueing_is_no_work_and_standing_done_takes_no_time() -> None:
    timeline = _timeline(
        _moved(Phase.QUEUED), _moved(Phase.UPDATING), _moved(Phase.CHECKING), _moved(Phase.DONE)
    )
    assert timeline.tracks[0].duration_s(EPOCH_S + 1000) == 2.0


def test_a_machine_in_motion_takes_until_now() -> None:
    timeline = _timeline(_moved(Phase.QUEUED), _moved(Phase.UPDATING))
    assert timeline.tracks[0].duration_s(EPOCH_S + 11) == 10.0


def test_a_phase_heard_of_again_is_one_span() -> None:
    timeline = _timeline(_moved(Phase.CHECKING), _moved(Phase.CHECKING), _moved(Phase.DONE))
    spans = [(span.phase, span.end_s - span.begin_s) for span in timeline.tracks[0].spans(EPOCH_S)]
    assert spans == [(Phase.CHECKING, 2.0), (Phase.DONE, 0.0)]


def test_a_hiccup_is_the_newest_word_until_the_machine_moves_on() -> None:
    hiccup = HiccupMet(
        operation="update", machine_id="148e1", message="503", outcome_known=True, number=1
    )
    timeline = _timeline(_moved(Phase.UPDATING, "148e1"), hiccup)
    assert timeline.tracks[0].detail == "hiccup: update: 503"
    timeline.add(EPOCH_S + 9, _moved(Phase.STARTING, "148e1"))
    assert timeline.tracks[0].detail == ""


def _hiccup(machine_id: str, message: str, name: str = "") -> HiccupMet:
    return HiccupMet(
        operation="call",
        machine_id=machine_id,
        message=message,
        outcome_known=True,
        number=1,
        name=name,
    )


def test_a_hiccup_of_a_machine_that_never_moves_has_a_bar_of_its_own() -> None:
    run: list[Entry] = [(EPOCH_S, _hiccup("148e9", "503")), (EPOCH_S + 1, _moved(Phase.UPDATING))]
    bar = next(line for line in render_timeline(run, 80).split("\n") if line.startswith("148e9"))
    assert HICCUP in bar


def test_a_hiccup_of_a_create_belongs_to_the_machine_of_its_name() -> None:
    waiting = MachineMoved(
        machine_id="", name="web-2", group="web", phase=Phase.WAITING, detail="504"
    )
    timeline = _timeline(
        _moved(Phase.CREATING), waiting, _hiccup("", "504", "web-2"), _hiccup("", "504")
    )
    assert [(track.label, len(track.hiccups)) for track in timeline.tracks] == [
        ("web-1", 0),
        ("web-2", 1),
    ]


@given(any_run)
def test_no_run_breaks_the_fold_and_time_only_goes_forward(run: list[Entry]) -> None:
    timeline = Timeline.of(run)
    assert timeline.duration_s >= 0
    for track in timeline.tracks:
        assert track.label
        assert track.duration_s(timeline.end_s) >= 0
        for span in track.spans(timeline.end_s):
            assert span.begin_s <= span.end_s
    moves = sum(isinstance(event, MachineMoved) for _, event in run)
    assert sum(len(track.moves) for track in timeline.tracks) == moves
    concerned = [track for track in timeline.tracks if track.moves or track.verb]
    settled = [track for track in concerned if track.kind in SETTLED]
    assert timeline.tally == (len(settled), len(concerned))


@given(any_run, st.integers(0, 200), st.booleans())
@example([(0.0, _moved(Phase.UPDATING, name="x" * 80))], 1, True)
def test_no_line_of_the_chart_is_wider_than_the_screen(
    run: list[Entry], width: int, only_ascii: bool
) -> None:
    heading, *lines = render_timeline(run, width, only_ascii=only_ascii).splitlines()
    assert heading.isprintable()
    for line in lines:
        assert line.isprintable()
        assert len(line) <= max(40, width)


def test_the_chart_has_a_bar_per_machine_its_passes_and_its_hiccups() -> None:
    lines = render_timeline(Story(machines=5, seed=5).tell(), 100).splitlines()
    assert lines[0].startswith("done: hello runs hello:v2 (5 machines, 2 passes, ")
    assert "|pass 1" in lines[2]
    assert "|pass 2" in lines[2]
    bars = [line for line in lines if line.startswith("web-")]
    assert len(bars) == 5
    assert all("✓" in bar and "done" in bar for bar in bars)
    assert sum(HICCUP in bar for bar in bars) >= 1
    assert lines[-1].endswith("! hiccup")


def test_paint_gets_every_cell_of_a_machine_with_its_kind() -> None:
    kinds: list[Kind | None] = []

    def paint(text: str, kind: Kind | None) -> str:
        kinds.append(kind)
        return text

    run = Story(hiccups=0).tell()
    assert render_timeline(run, 80, paint=paint) == render_timeline(run, 80)
    assert {Kind.WRITE, Kind.START, Kind.CHECK, Kind.DONE} <= set(kinds)


def test_a_run_in_which_nothing_moved_says_so() -> None:
    ended = [entry for entry in Story(machines=0).tell() if isinstance(entry[1], RunFinished)]
    assert render_timeline(ended, 80).endswith("no machine moved in this run")
