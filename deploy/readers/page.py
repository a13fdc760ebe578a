"""A finished run as one self-contained web page: facts, timeline, machines. No script, no network.

Every text from outside goes through `_text`; the page's own policy forbids all
but its inline style, so that even a mistake here could load and run nothing.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from importlib import resources

from deploy.events import Event, MachineStands, Result
from deploy.readers.report import (
    Report,
    in_order,
    log_lines,
    next_step,
    recovered,
    report_of,
    state_words,
)
from deploy.readers.timeline import SETTLED, SIGN, Kind, Lap, Span, Timeline, Track, hiccup_words
from deploy.wording import count, printable, seconds, short_image, short_version

_CLASS = {kind: kind.name.lower() for kind in Kind} | {Kind.BACK: "back-mark"}
_TONE = {
    None: "dull",
    Result.DONE: "good",
    Result.UNCHANGED: "good",
    Result.ROLLED_BACK: "warn",
    Result.INTERRUPTED: "warn",
}
_RUNS_TONE = {"new": "good", "old": "warn", "gone": "dull"}
# Per cent of the picture that a label needs on a narrow screen; half of it on a wide one.
_ROOM_FOR_WORD, _ROOM_FOR_NUMBER = 24.0, 6.0
_TICKS = 7
_LONG = 20  # rows: from here on both axes are at the top and at the bottom
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600)


def render_html(events: Iterable[tuple[float, Event]]) -> str:
    """The page of one run as text, ready to be written as UTF-8."""
    timeline = Timeline.of(events)
    report = report_of(timeline)
    style = resources.files("deploy.readers").joinpath("page.css").read_text(encoding="utf-8")
    title = f"{report.command or 'deploy'} of {report.app or 'an app'}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{_text(title)}: {_result(report)}</title>
<style>
{style}</style>
</head>
<body>
{_header(report)}
{_facts(report)}
{_plot(timeline)}
{_log(report)}
{_hiccups(timeline)}
{_machines(report, timeline)}
{_notes(report)}
<footer>tidegate · deploy {_text(report.deploy_id)} · run {_text(report.run_id)}</footer>
</body>
</html>
"""


def _text(value: object) -> str:
    return html.escape(printable(str(value)), quote=True)


def _result(report: Report) -> str:
    return _text(report.result or "unfinished").replace("-", " ")


def _header(report: Report) -> str:
    tone = _TONE.get(report.result, "bad")
    message = report.message or ("" if report.result else "This run has no end on record.")
    step = "" if report.result in (Result.DONE, Result.UNCHANGED) else next_step(report)
    return (
        f'<header><h1>{_text(report.app or "a run")} <span class="badge {tone}">'
        f"{_result(report)}</span></h1>"
        f'<p class="lead">{_text(message)}</p>'
        + (f'<p class="soft">Next: {_commands(step)}</p>' if step else "")
        + "</header>"
    )


def _commands(step: str) -> str:
    """Backquoted words as code."""
    parts = _text(step).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _facts(report: Report) -> str:
    moment = (report.started or "").replace("T", " ")[:19]
    is_all = 0 < report.hiccups_met == report.hiccups_mended
    hiccups = f"{report.hiccups_met}" + (", all recovered" if is_all else recovered(report))
    passes = str(report.passes_used)
    if report.passes_back:
        passes += f" forward, {report.passes_back} back"
    facts = (
        ("Command", report.command),
        ("By", report.user),
        ("Commit", report.commit[:12]),
        ("Image", short_image(report.image)),
        ("Image before", ", ".join(map(short_image, report.image_before.split(", ")))),
        ("Strategy", report.strategy),
        ("Path", report.path),
        ("Passes", passes),
        ("Retries", f"{report.retries_used} of {report.retries_allowed} used"),
        ("Hiccups", hiccups if report.hiccups_met else "none"),
        ("Started", f"{moment} UTC" if moment else ""),
        ("Took", seconds(report.duration_s)),
        ("Exit code", str(report.exit_code)),
    )
    cells = "".join(f"<div><dt>{k}</dt><dd>{_text(v)}</dd></div>" for k, v in facts if v)
    return f"<section><dl>{cells}</dl>{_decision(report)}</section>"


def _log(report: Report) -> str:
    """The end of the failed machine's log."""
    _, *lines = log_lines(report) or [""]
    if not lines:
        return ""
    text = html.escape("\n".join(lines), quote=True)
    return f"<section><h2>The failed machine's last lines</h2><pre>{text}</pre></section>"


def _decision(report: Report) -> str:
    """The sentence, and where the app and the rollout stand between 0 and 100 %."""
    decision = report.decision
    if decision is None:
        return ""
    scale = ""
    if decision.bucket is not None and decision.percent is not None:
        at, percent = (_clamp(n) for n in (decision.bucket / 1000, decision.percent))
        scale = (
            f'<div class="cohort" role="img" aria-label="the app is at {at:g} %, the rollout at '
            f'{percent:g} %"><i style="width:{percent:g}%"></i><b style="left:{at:g}%"></b></div>'
        )
    source = (
        "" if decision.source == "option" else f"<p class=soft>from {_text(decision.source)}</p>"
    )
    return f'<div class="why"><p>{_text(decision.sentence)}</p>{scale}{source}</div>'


def _clamp(percent: float) -> float:
    return min(100.0, max(0.0, percent))


def _plot(timeline: Timeline) -> str:
    tracks = [track for track in timeline.tracks if track.moves or track.hiccups]
    if not tracks:
        return (
            '<section><h2>Timeline</h2><p class="soft">No machine moved in this run.</p></section>'
        )
    groups = list(dict.fromkeys(track.group for track in tracks))
    rows = []
    for group in groups:
        if len(groups) > 1:
            rows.append(f'<div class="group">{_text(group or "no group")}</div>')
        rows += [_row(track, timeline) for track in tracks if track.group == group]
    return (
        f'<section><h2>Timeline</h2><div class="plot{" long" if len(rows) > _LONG else ""}">'
        f'<div class="back-drop">{_bands(timeline)}{_axis(timeline)}</div>'
        f"{''.join(rows)}</div>{_legend(tracks, timeline)}</section>"
    )


def _percent(timeline: Timeline, at_s: float) -> float:
    """Where a moment is between the first event and the last."""
    if timeline.duration_s <= 0:
        return 0.0
    return _clamp(100 * (at_s - timeline.begin_s) / timeline.duration_s)


def _place(timeline: Timeline, begin_s: float, end_s: float) -> str:
    left, right = _percent(timeline, begin_s), _percent(timeline, end_s)
    return f"left:{left:.3f}%;width:{right - left:.3f}%"


def _bands(timeline: Timeline) -> str:
    """A band per pass; what lies between is the waiting for the next one."""
    laps = timeline.passes
    nexts_s = [*(lap.begin_s for lap in laps[1:]), timeline.end_s]
    return "".join(_band(lap, next_s, timeline) for lap, next_s in zip(laps, nexts_s, strict=False))


def _band(lap: Lap, next_s: float, timeline: Timeline) -> str:
    is_back = lap.started.direction == "back"
    end_s = next_s if lap.end_s is None else lap.end_s
    room = _percent(timeline, next_s) - _percent(timeline, lap.begin_s)
    label = _band_label("back" if is_back else "pass", lap.started.number, room)
    return (
        f'<div class="band{" back" if is_back else ""}" '
        f'style="{_place(timeline, lap.begin_s, end_s)}"><span>{label}</span>'
        f'<span class="below">{label}</span></div>'
    )


def _band_label(word: str, number: int, room: float) -> str:
    """What fits into `room` per cent of the picture; on a narrow screen what is `roomy` goes."""
    if room >= _ROOM_FOR_WORD:
        return f"{word} {number}"
    if room >= _ROOM_FOR_WORD / 2:
        return f'<em class="roomy">{word} </em>{number}'
    if room >= _ROOM_FOR_NUMBER:
        return str(number)
    return f'<em class="roomy">{number}</em>' if room >= _ROOM_FOR_NUMBER / 2 else ""


def _axis(timeline: Timeline) -> str:
    span_s = timeline.duration_s
    if span_s <= 0:
        return ""
    step_s = next((step for step in _STEPS_S if span_s / step <= _TICKS), span_s / _TICKS)
    moments = [n * step_s for n in range(_TICKS + 1) if n * step_s <= span_s * 0.97]
    return "".join(
        f'<div class="tick{" roomy" if number % 2 else ""}" style="left:{100 * at / span_s:.3f}%">'
        f'<span>{_tick(at)}</span><span class="above">{_tick(at)}</span></div>'
        for number, at in enumerate(moments)
    )


def _tick(at_s: float) -> str:
    return f"{at_s:g} s" if at_s < 60 else seconds(at_s)


def _row(track: Track, timeline: Timeline) -> str:
    spans = track.spans(timeline.end_s)
    bars = "".join(_span(span, timeline) for span in spans)
    marks = "".join(_hiccup(at_s, track, timeline) for at_s in {at for at, _ in track.hiccups})
    told = ", ".join(f"{span.phase} {seconds(span.end_s - span.begin_s)}" for span in spans)
    label, title = _text(track.label), _text(f"{track.label} {track.machine_id}")
    phase, took = "", ""
    if track.moves:
        phase, took = str(track.phase), seconds(track.duration_s(timeline.end_s))
    return (
        f'<div class="row"><div class="name" title="{title}">{label}</div>'
        f'<div class="track" role="img" aria-label="{label}: {_text(told)}">{bars}{marks}</div>'
        f'<div class="end"><span class="phase">{phase}</span>'
        f'<span class="soft">{took}</span></div></div>'
    )


def _span(span: Span, timeline: Timeline) -> str:
    """A bar, or a round mark where the machine came to rest."""
    detail = f": {span.detail}" if span.detail else ""
    if span.kind in SETTLED or span.kind is Kind.FAILED:
        return (
            f'<b class="rest {_CLASS[span.kind]}" title="{_text(f"{span.phase}{detail}")}" '
            f'style="left:{_percent(timeline, span.begin_s):.3f}%">{SIGN[span.kind]}</b>'
        )
    title = f"{span.phase}, {seconds(span.end_s - span.begin_s)}{detail}"
    place = _place(timeline, span.begin_s, span.end_s)
    return f'<i class="{_CLASS[span.kind]}" title="{_text(title)}" style="{place}"></i>'


def _hiccup(at_s: float, track: Track, timeline: Timeline) -> str:
    met = [hiccup for at, hiccup in track.hiccups if at == at_s]
    title = "; ".join(map(hiccup_words, met))
    return (
        f'<b class="hiccup" title="hiccup: {_text(title)}" '
        f'style="left:{_percent(timeline, at_s):.3f}%"></b>'
    )


def _legend(tracks: list[Track], timeline: Timeline) -> str:
    seen = {span.kind for track in tracks for span in track.spans(timeline.end_s)}
    entries = [
        f'<span><i class="{"rest " if kind in SIGN else ""}{_CLASS[kind]}"></i>{kind}</span>'
        for kind in Kind
        if kind in seen
    ]
    if any(track.hiccups for track in tracks):
        entries.append('<span><i class="hiccup"></i>hiccup</span>')
    return f'<div class="legend">{"".join(entries)}</div>'


def _hiccups(timeline: Timeline) -> str:
    """Every hiccup in words: for print, and for those who cannot hover over a mark."""
    labels = {id(hiccup): track.label for track in timeline.tracks for _, hiccup in track.hiccups}
    rows = [
        {
            "At": seconds(at - timeline.begin_s),
            "Machine": _text(labels.get(id(hiccup), hiccup.name or hiccup.machine_id)),
            "Hiccup": _text(hiccup_words(hiccup)),
            "Outcome": "settled" if hiccup.outcome_known else "unknown at first",
        }
        for at, hiccup in timeline.hiccups
    ]
    return _table(count(len(rows), "hiccup"), rows)


def _machines(report: Report, timeline: Timeline) -> str:
    """Every machine at the end; of a run without an end, how far each one got."""
    if report.machines:
        ordered = in_order(report.machines)
        rows = [_stands(machine) for machine in ordered]
        title = count(len(rows), "machine")
    else:
        rows = [_last_seen(track) for track in timeline.tracks]
        title = f"{count(len(rows), 'machine')}, as last heard of"
    return _table(title, rows)


def _table(title: str, rows: list[dict[str, str]]) -> str:
    """A section with a table; columns that say nothing are left out, as is a table without rows."""
    if not rows:
        return ""
    used = [name for name in rows[0] if any(row[name] for row in rows)]
    headings = "".join(f"<th>{name}</th>" for name in used)
    body = "".join(f"<tr>{''.join(_cell(name, row) for name in used)}</tr>" for row in rows)
    return (
        f'<section><h2>{title}</h2><div class="wide"><table><thead><tr>{headings}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _cell(name: str, row: dict[str, str]) -> str:
    kind = ' class="prose"' if name in ("Detail", "Hiccup") else ""
    return f'<td{kind} data-name="{name}">{row[name]}</td>'


def _stands(machine: MachineStands) -> dict[str, str]:
    return {
        "Machine": _text(machine.name or machine.machine_id),
        "Id": _short(machine.machine_id, machine.machine_id, "code"),
        "Group": _text(machine.group),
        "Region": _text(machine.region),
        "Version": _short(short_version(machine.version), machine.version, "code"),
        "Image": _short(short_image(machine.image), machine.image, "span"),
        "State": _text(state_words(machine)),
        "Runs": _pill(machine.runs, _RUNS_TONE.get(machine.runs, "bad")),
        "Detail": _text(machine.detail),
    }


def _last_seen(track: Track) -> dict[str, str]:
    return {
        "Machine": _text(track.label),
        "Id": _short(track.machine_id, track.machine_id, "code"),
        "Group": _text(track.group),
        "Last seen": _text(track.phase),
        "Detail": _text(track.detail),
    }


def _short(text: str, whole: str, tag: str) -> str:
    return f'<{tag} title="{_text(whole)}">{_text(text)}</{tag}>' if text else ""


def _pill(word: str, tone: str) -> str:
    return f'<span class="badge {tone}">{_text(word)}</span>'


def _notes(report: Report) -> str:
    lists = (("Left over", report.leftovers), ("Noticed", report.notices))
    items = (
        (title, "".join(f"<li>{_text(text)}</li>" for text in texts)) for title, texts in lists
    )
    return "".join(f"<section><h2>{title}</h2><ul>{li}</ul></section>" for title, li in items if li)
