"""A run as spans: run, pass, machine, call. Pure: a timeline and the calls in, values out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploy.readers.report import report_of
from deploy.readers.timeline import KIND, Kind, Lap, Timeline, Track


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the platform, in Unix seconds; `problem` is why it failed, else empty."""

    operation: str
    machine_id: str
    begin_s: float
    end_s: float
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """`parent` is the place of its parent in the list of all, None for the run.

    `events` are (Unix seconds, name); `problem` is why it failed, else empty.
    """

    name: str
    parent: int | None
    begin_s: float
    end_s: float
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)
    events: tuple[tuple[float, str], ...] = ()
    problem: str = ""
    is_call: bool = False


def spans_of(timeline: Timeline, calls: Sequence[Call]) -> list[Span]:
    """Every span, each behind its parent; the first is the run."""
    spans = [_run(timeline, calls)]
    passes: list[int] = []
    machines: dict[str, list[int]] = {}
    for lap in timeline.passes:
        passes.append(len(spans))
        spans.append(_pass(lap, timeline))
    for track in timeline.tracks:
        for place, until_s in zip(passes, _until(timeline), strict=True):
            if (machine := _machine(track, spans[place], place, until_s)) is not None:
                machines.setdefault(track.machine_id, []).append(len(spans))
                spans.append(machine)
    for call in sorted(calls, key=lambda each: each.begin_s):
        own = machines.get(call.machine_id, []) if call.machine_id else []
        places = [*own, *passes]
        parent = next((place for place in places if _holds(spans[place], call)), 0)
        spans.append(_call(call, parent))
    return spans


def _run(timeline: Timeline, calls: Sequence[Call]) -> Span:
    report = report_of(timeline)
    return Span(
        name=f"deploy {report.command}",
        parent=None,
        begin_s=timeline.begin_s,
        end_s=max([timeline.end_s, *(call.end_s for call in calls)]),
        attributes={
            "tidegate.app": report.app,
            "tidegate.image": report.image,
            "tidegate.deploy": report.deploy_id,
            "tidegate.run": report.run_id,
            "tidegate.strategy": report.strategy,
            "tidegate.path": report.path,
            "tidegate.retries_allowed": report.retries_allowed,
            "tidegate.result": str(report.result or ""),
            "tidegate.exit_code": report.exit_code,
        },
        events=tuple((timeline.begin_s, text) for text in report.notices),
        problem=report.message if report.exit_code else "",
    )


def _pass(lap: Lap, timeline: Timeline) -> Span:
    outcome = lap.outcome
    return Span(
        name="pass",
        parent=0,
        begin_s=lap.begin_s,
        end_s=timeline.end_s if lap.end_s is None else lap.end_s,
        attributes={
            "tidegate.pass": lap.started.number,
            "tidegate.direction": lap.started.direction,
            **({"tidegate.done": outcome.done, "tidegate.left": outcome.left} if outcome else {}),
        },
        problem=outcome.reason if outcome and outcome.left else "",
    )


def _until(timeline: Timeline) -> list[float]:
    """Where each pass ends: what happens from the next one's beginning on is that one's."""
    return [*(lap.begin_s for lap in timeline.passes[1:]), math.inf][: len(timeline.passes)]


def _machine(track: Track, lap: Span, place: int, until_s: float) -> Span | None:
    """What happened to one machine in one pass; None where nothing did."""
    moves = [(at, move) for at, move in track.moves if lap.begin_s <= at < until_s]
    begin_s = next((at for at, move in moves if KIND[move.phase] is not Kind.IDLE), None)
    if begin_s is None:
        return None
    last = moves[-1][1]
    hiccups = [(at, each) for at, each in track.hiccups if begin_s <= at < until_s]
    events = [(at, str(move.phase)) for at, move in moves]
    events += [(at, f"hiccup: {each.message}") for at, each in hiccups]
    return Span(
        name="machine",
        parent=place,
        begin_s=begin_s,
        end_s=max(at for at, _ in events),
        attributes={
            "tidegate.machine": track.machine_id,
            "tidegate.name": track.name,
            "tidegate.group": track.group,
            "tidegate.phase": str(last.phase),
        },
        events=tuple(sorted(events)),
        problem=last.detail if KIND[last.phase] is Kind.FAILED else "",
    )


def _call(call: Call, parent: int) -> Span:
    return Span(
        name=f"call {call.operation}",
        parent=parent,
        begin_s=call.begin_s,
        end_s=call.end_s,
        attributes={"tidegate.machine": call.machine_id} if call.machine_id else {},
        problem=call.problem,
        is_call=True,
    )


def _holds(span: Span, call: Call) -> bool:
    return span.begin_s <= call.begin_s <= span.end_s
