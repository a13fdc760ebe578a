from __future__ import annotations

from hypothesis import given

from deploy.notify.spans import Call, spans_of
from deploy.readers.timeline import Timeline
from tests.deploy.eventful import EPOCH_S, Entry, Story, any_run


def test_a_run_has_its_passes_its_machines_in_them_and_calls_in_those() -> None:
    timeline = Timeline.of(Story(broken=1, hiccups=0).tell())
    track = timeline.tracks[0]
    began_s = track.began_s or 0.0
    calls = [
        Call("update", track.machine_id, began_s, began_s + 0.1),
        Call("list", "", timeline.passes[0].begin_s, began_s, "503"),
        Call("read app", "", EPOCH_S, EPOCH_S + 0.1),
    ]
    spans = spans_of(timeline, calls)
    by_name = {span.name: span for span in spans}

    run, parents = spans[0], [spans[span.parent] for span in spans[1:] if span.parent is not None]
    assert (run.name, run.parent) == ("deploy deploy", None)
    assert run.attributes["tidegate.result"] == "failed"
    assert run.problem
    assert len(parents) == len(spans) - 1
    assert [span.attributes["tidegate.direction"] for span in spans if span.name == "pass"] == [
        "forward",
        "back",
    ]
    update = by_name["call update"]
    assert update.parent is not None
    machine = spans[update.parent]
    assert (machine.name, machine.attributes["tidegate.name"]) == ("machine", "web-1")
    assert machine.problem == "check http: 500 Internal Server Error"
    assert machine.parent is not None
    assert spans[machine.parent].name == "pass"
    assert by_name["call list"].problem == "503"
    assert by_name["call list"].parent == machine.parent
    assert by_name["call read app"].parent == 0


def test_a_machine_that_took_two_passes_has_a_span_in_each() -> None:
    timeline = Timeline.of(Story(machines=1, hiccups=0.7, seed=3).tell())
    assert len(timeline.passes) > 1
    machines = [span for span in spans_of(timeline, []) if span.name == "machine"]
    assert len({span.parent for span in machines}) == len(timeline.passes)


@given(any_run)
def test_every_span_lies_behind_its_parent_and_ends_after_it_begins(entries: list[Entry]) -> None:
    calls = [Call("list", "", at, at + 1) for at, _ in entries]
    for place, span in enumerate(spans_of(Timeline.of(entries), calls)):
        assert span.end_s >= span.begin_s
        assert span.parent is None if place == 0 else span.parent is not None
        assert span.parent is None or span.parent < place
