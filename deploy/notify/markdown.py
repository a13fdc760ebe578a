"""A run as Markdown, for the step summary of GitHub Actions: the end, machines, timeline. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploy.events import MachineStands
from deploy.readers.report import Report, headline, in_order, next_step, report_of, state_words
from deploy.readers.timeline import AT_REST, Kind, Timeline
from deploy.wording import count, printable, seconds, short_image, shorten

MOST_ROWS = 100  # of each table: a summary may have 1 MiB
_LONGEST_CELL = 300
_ACTIVE = "\\`*_{}[]<>|#~!&@"
_MARKS = {0: "✅", 1: "↩️"}
_OTHERWISE = "❌"


def render_markdown(timeline: Timeline) -> str:
    """The whole summary; text of apps and servers is inert in it."""
    report = report_of(timeline)
    mark = _MARKS.get(report.exit_code, _OTHERWISE)
    lines = [
        f"## {mark} {_inert(report.command)} {_inert(report.app)}",
        "",
        _inert(headline(report)),
    ]
    if report.exit_code:
        lines += ["", f"Next: {_inert(next_step(report))}"]
    lines += ["", *_table(("", ""), _facts(report))]
    if report.log:
        lines += ["", "The failed machine's last lines:", ""]
        lines += [f"    {printable(line)}" for line in report.log]
    if report.machines:
        rows = [_machine(each) for each in in_order(report.machines)]
        heading = ("Machine", "Id", "Group", "Image", "State", "Runs", "Detail")
        lines += ["", "### Machines", "", *_table(heading, rows)]
    if moves := list(_moves(timeline)):
        lines += ["", "### Timeline", "", *_table(("At", "What", "", "Took"), moves)]
    return "\n".join(lines) + "\n"


def _facts(report: Report) -> list[tuple[str, ...]]:
    facts = {
        "image": report.image,
        "image before": report.image_before,
        "deploy": report.deploy_id,
        "strategy": report.strategy,
        "path": report.decision.sentence if report.decision else "",
        "by": report.user,
        "revision": report.commit,
        "passes": f"{report.passes_used} forward, {report.passes_back} back",
        "hiccups": str(report.hiccups_met),
    }
    return [(name, fact) for name, fact in facts.items() if fact]


def _machine(machine: MachineStands) -> tuple[str, ...]:
    return (
        machine.name or machine.machine_id,
        machine.machine_id,
        machine.group,
        short_image(machine.image),
        state_words(machine),
        machine.runs,
        machine.detail,
    )


def _moves(timeline: Timeline) -> Iterator[tuple[str, ...]]:
    """Passes, hiccups, and machines when they come to rest, in the order of time."""
    found: list[tuple[float, tuple[str, ...]]] = []
    for lap in timeline.passes:
        back = ", going back" if lap.started.direction == "back" else ""
        reason = lap.outcome.reason if lap.outcome else ""
        found.append((lap.begin_s, (f"pass {lap.started.number}{back}", reason, "")))
    for track in timeline.tracks:
        for at, hiccup in track.hiccups:
            found.append((at, (track.label, f"hiccup: {hiccup.message}", "")))
        for span in track.spans(timeline.end_s):
            if span.kind in AT_REST and span.kind is not Kind.IDLE:
                took = seconds(span.begin_s - (track.began_s or span.begin_s))
                words = f"{span.phase}: {span.detail}" if span.detail else str(span.phase)
                found.append((span.begin_s, (track.label, words, took)))
    for at, row in sorted(found, key=lambda each: each[0]):
        yield (f"+{seconds(at - timeline.begin_s)}", *row)


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    every = list(rows)
    lines = [_row(heading), _row(("---",) * len(heading))]
    lines += [_row(tuple(map(_inert, row))) for row in every[:MOST_ROWS]]
    if len(every) > MOST_ROWS:
        lines += ["", f"and {count(len(every) - MOST_ROWS, 'row')} more: `deploy report` has all"]
    return lines


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _inert(text: str) -> str:
    """One line in which no character means anything to Markdown or HTML."""
    line = shorten(printable(text), _LONGEST_CELL)
    return "".join(f"&#{ord(c)};" if c in _ACTIVE else c for c in line)
