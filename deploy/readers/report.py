"""The report of a run: one frozen value, as a versioned JSON object and as text for people.

It is also the record of the experiment: which path the flag chose, what the
retries were needed for, and how the app stands. Pure: events in, values out.
The JSON object is documented in docs/events.md.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from deploy.errors import EXIT_IN_BETWEEN
from deploy.events import (
    Cause,
    Event,
    FlagDecision,
    MachineStands,
    PathChosen,
    Result,
    RunFinished,
    RunStarted,
    to_line,
)
from deploy.hints import Invocation, Left, ways_out
from deploy.readers.timeline import Timeline
from deploy.wording import (
    count,
    natural,
    printable,
    seconds,
    short_image,
    short_version,
    table,
)

REPORT_VERSION = 2

# Results after which an app may be mixed: the text names every machine.
_MIXED = frozenset({Result.IN_BETWEEN, Result.INTERRUPTED})
_DEEPEST = 40  # of an indentation that is kept
_DROPPABLE = ("ID", "VERSION", "GROUP", "STATE", "IMAGE")
_COLUMNS = ("MACHINE", "ID", "GROUP", "VERSION", "IMAGE", "STATE", "RUNS", "DETAIL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run in one object, `at` the Unix seconds of its last event.

    `result` and `finished` are None while it has no end; its exit code is then that of
    an app in between, which it may be. `deploy` is the deploy's id under the name that a
    flag's bucket_by has for it; `assigned` is what the flag says of the deploy, also where
    the number of retries was given by hand.
    Times are ISO 8601 in UTC, durations seconds. All hiccups are in `hiccups_mended` when the run
    ends done, but for those of machines that it leaves over. A machine's duration is from its
    first phase of work to its last phase, filed under its id (its name, where it had none).
    """

    at: float = 0.0
    app: str = ""
    deploy: str = ""
    deploy_id: str = ""
    run_id: str = ""
    command: str = ""
    image: str = ""
    image_before: str = ""
    strategy: str = ""
    user: str = ""
    commit: str = ""
    decision: FlagDecision | None = None
    assigned: FlagDecision | None = None
    path: str = ""
    retries_allowed: int = 0
    passes_used: int = 0
    retries_used: int = 0
    passes_back: int = 0
    hiccups_met: int = 0
    hiccups_mended: int = 0
    result: Result | None = None
    cause: Cause | None = None
    exit_code: int = EXIT_IN_BETWEEN
    message: str = ""
    hint: str = ""
    machines: tuple[MachineStands, ...] = ()
    leftovers: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    started: str | None = None
    finished: str | None = None
    duration_s: float = 0.0
    machine_durations_s: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[tuple[float, Event]]) -> Report:
        return report_of(Timeline.of(events))

    def to_json(self) -> dict[str, Any]:
        """The last line of `--output json` and the object in the file of `--report`."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {"v": REPORT_VERSION, "at": fields.pop("at"), "event": "report", **fields}

    def to_line(self) -> str:
        """The same as one line of ASCII, without its end."""
        return to_line(self.to_json())


def report_of(timeline: Timeline) -> Report:
    """What the timeline of a run amounts to."""
    chosen, finished = timeline.chosen, timeline.finished
    forward = sum(lap.started.direction != "back" for lap in timeline.passes)
    met = len(timeline.hiccups)
    left = " ".join(finished.leftovers) if finished else ""
    mended = sum(
        not (hiccup.machine_id and hiccup.machine_id in left) for _, hiccup in timeline.hiccups
    )
    is_done = finished is not None and finished.result in (Result.DONE, Result.UNCHANGED)
    return Report(
        **_fields(timeline.started),
        **_fields(finished),
        **_decided(chosen),
        deploy=timeline.started.deploy_id if timeline.started else "",
        at=round(timeline.end_s, 3),
        passes_used=forward,
        retries_used=max(0, forward - 1),
        passes_back=len(timeline.passes) - forward,
        hiccups_met=met,
        hiccups_mended=mended if is_done else 0,
        notices=tuple(notice.message for notice in timeline.notices),
        started=iso(timeline.begin_s),
        finished=iso(timeline.end_s) if finished else None,
        duration_s=round(timeline.duration_s, 3),
        machine_durations_s={
            track.key: round(track.duration_s(timeline.end_s), 3)
            for track in timeline.tracks
            if track.moves
        },
    )


def render_text(report: Report, width: int = 0) -> str:
    """The closing words of a run, for people: what came of it, who runs what, what to do next.

    `width` is that of a terminal; 0 for a place where lines may have any length.
    """
    lines = [headline(report), *log_lines(report)]
    if report.machines and _is_mixed(report):
        lines += ["", *(f"  {row}" for row in machine_table(report.machines, width - 2)), ""]
    lines += [f"left over: {printable(each)}" for each in report.leftovers]
    if step := next_step(report):
        lines.append(f"next: {step}")
    return "\n".join(lines)


def headline(report: Report) -> str:
    """`done: hello runs v2 (4 machines, 2 passes, 3 hiccups recovered, 12.3 s)`."""
    if report.result is None:
        name = printable(report.app) or "the run"
        return f"unfinished: {name} has no end on record ({_facts(report)})"
    words = printable(report.message) or _standing(report)
    return f"{str(report.result).replace('-', ' ')}: {words} ({_facts(report)})"


def recovered(report: Report) -> str:
    """What follows the number of hiccups: ` recovered`, `, 2 recovered`, or nothing."""
    mended = report.hiccups_mended
    if mended == report.hiccups_met:
        return " recovered" if mended else ""
    return f", {mended} recovered" if mended else ""


def log_lines(report: Report) -> list[str]:
    """The end of a failed machine's log, each line indented; none without one."""
    lines = [f"  {_indented(line)}" for line in report.log]
    return ["its last lines:", *lines] if lines else []


def _indented(line: str) -> str:
    """A line of a log as it was set: tracebacks are read by their indentation."""
    text = line.expandtabs(4)
    return " " * min(len(text) - len(text.lstrip(" ")), _DEEPEST) + printable(text)


def next_step(report: Report) -> str:
    """The hint that the run gave; of one without an end, where to look."""
    called = Invocation(app=report.app)
    if report.hint:
        return printable(report.hint)
    if report.result is None:
        return printable(ways_out(Left.UNKNOWN, called))
    return printable(f"{called.status()} shows the machines")


def machine_table(machines: Iterable[MachineStands], width: int = 0) -> list[str]:
    """Aligned rows under a heading, by group and name; columns that say nothing are left out.

    In a `width`, details stand below their machines, and columns go that do not fit.
    """
    ordered = in_order(machines)
    shorten_images = _tells_apart(ordered)
    rows = [_COLUMNS, *(_cells(each, shorten_images) for each in ordered)]
    whole = table(rows)
    if width <= 0 or max(map(len, whole)) <= width:
        return whole
    heading, *lines = table([row[:-1] for row in rows], width=width, droppable=_DROPPABLE)
    for number, row in reversed(list(enumerate(rows[1:], 1))):
        lines[number:number] = [f"  {part}" for part in textwrap.wrap(row[-1], max(8, width - 2))]
    return [heading, *lines]


def in_order(machines: Iterable[MachineStands]) -> list[MachineStands]:
    """By group, then by name with its numbers as numbers: web-2 before web-10."""
    return sorted(
        machines, key=lambda each: (each.group, natural(each.name), natural(each.machine_id))
    )


def iso(at: float) -> str | None:
    """`2026-11-23T00:36:12.345Z`; None for a time that no calendar holds."""
    try:
        moment = datetime.fromtimestamp(at, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def state_words(machine: MachineStands) -> str:
    """`started`, or `started, cordoned, checks 1/2`: what a look at the machine shows."""
    checks = f"checks {machine.checks}" if machine.checks else ""
    words = (machine.state, "cordoned" if machine.cordoned else "", checks)
    return printable(", ".join(word for word in words if word))


def _fields(event: RunStarted | RunFinished | None) -> dict[str, Any]:
    """What the report says in the words of an event: its fields by name, none without one."""
    names = [each.name for each in dataclasses.fields(event)] if event else []
    return {name: getattr(event, name) for name in names}


def _decided(chosen: PathChosen | None) -> dict[str, Any]:
    if chosen is None:
        return {}
    decision = chosen.decision or FlagDecision(source="option")
    return {
        "path": chosen.path,
        "retries_allowed": chosen.retries,
        "decision": dataclasses.replace(decision, sentence=chosen.sentence),
        "assigned": chosen.assigned,
    }


def _is_mixed(report: Report) -> bool:
    """After a run that is done, one or two lines are enough, whatever else the app has."""
    if report.result in (Result.DONE, Result.UNCHANGED):
        return False
    return report.result in _MIXED or len({each.runs for each in report.machines}) > 1


def _standing(report: Report) -> str:
    """`hello: 3 machines run new, 1 machine runs old`, where the run sent no message."""
    runs = Counter(each.runs for each in report.machines)
    told = ", ".join(f"{count(many, 'machine')} {what}" for what, many in sorted(runs.items()))
    return printable(f"{report.app}: {told}" if told else report.app) or "no machine known"


def _facts(report: Report) -> str:
    there = sum(1 for each in report.machines if each.runs != "gone")
    facts = [count(there, "machine")] if there else []
    if report.passes_used > 1:
        facts.append(count(report.passes_used, "pass"))
    if report.hiccups_met:
        facts.append(count(report.hiccups_met, "hiccup") + recovered(report))
    return ", ".join([*facts, seconds(report.duration_s)])


def _tells_apart(machines: Iterable[MachineStands]) -> bool:
    """Whether images can be shown short: no two of them look the same then."""
    images = {each.image for each in machines}
    return len({short_image(image) for image in images}) == len(images)


def _cells(machine: MachineStands, shorten_images: bool) -> tuple[str, ...]:
    is_named = bool(machine.name)
    return (
        printable(machine.name or machine.machine_id, 32),
        printable(machine.machine_id, 32) if is_named else "",
        printable(machine.group, 20),
        short_version(machine.version),
        short_image(machine.image) if shorten_images else printable(machine.image),
        state_words(machine),
        printable(machine.runs),
        printable(machine.detail, 120),
    )
