"""The pages of the site, each a text under its path. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

from rollout.bucketing import bucket
from rollout.evaluate import evaluate
from rollout.flag import Flag, Ramp, level_text, share_text, value_text
from rollout.outcomes.account import Account
from rollout.outcomes.site import evidence, past
from rollout.outcomes.site.charts import draw
from rollout.outcomes.site.parts import badge, document, facts, section, table, text
from rollout.outcomes.site.past import Version
from rollout.outcomes.site.run import Run, run_page

MOST_RUNS: Final = 1000
MOST_UNITS: Final = 5000
_TONES: Final = {"done": "good", "unchanged": "good", "rolled-back": "warn", "interrupted": "warn",
                 "leased": "dull", None: "dull"}  # fmt: skip


class Site(NamedTuple):
    """All that there is to show. `timelines` are the runs that have a page of their own already."""

    flags: Mapping[str, Flag]
    versions: Sequence[Version]
    accounts: Mapping[str, Account]
    runs: Sequence[Run]
    runs_left_out: int
    units: Mapping[str, frozenset[str]]
    """Attribute -> units in the records."""
    timelines: Mapping[str, str]
    """Path under deploys/ -> the page as it was written beside the record."""
    now: datetime
    notes: Sequence[str] = ()


def pages(site: Site) -> Iterator[tuple[str, str]]:
    """(path, HTML) of every page."""
    made = site.now.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield "index.html", document("Flags", _index(site), made=made)
    for key in site.flags:
        body = _flag(site, key)
        yield f"flags/{file_name(key)}.html", document(key, body, root="../", made=made)
    yield "deploys.html", document("Deploys", _deploys(site), made=made)
    for run in site.runs:
        path = run_path(run)
        whole = site.timelines.get(path)
        yield (
            f"deploys/{path}",
            whole
            or document(
                f"{run.command or 'deploy'} of {run.app}", run_page(run), root="../../", made=made
            ),
        )
    yield "units.html", document("Units", _units(site), made=made)


def run_path(run: Run) -> str:
    """Where the page of a run is, under deploys/."""
    return f"{file_name(run.app)}/{file_name(f'{run.key}-{run.run_id}')}.html"


def file_name(name: str) -> str:
    """`name` as the name of a file that no path can escape from, another one for another name."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name, re.ASCII):
        return name
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:60]
    return f"{safe}-{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _index(site: Site) -> str:
    rows = []
    for key, flag in site.flags.items():
        account = site.accounts.get(key)
        link = f'<a href="flags/{text(file_name(key))}.html">{text(key)}</a>'
        verdict = evidence.verdict_badge(account) if account else ""
        words = text(account.verdict.sentence) if account else text(flag.description)
        rows.append([link, _state(flag, site.now), text(flag.owner), text(flag.expires), verdict,
                     words])  # fmt: skip
    heads = ("Flag", "Rollout", "Owner", "Expires", "Guard", "")
    notes = "".join(f'<p class="soft">{text(note)}</p>' for note in site.notes)
    body = table(heads, rows) if rows else '<p class="soft">There are no flags.</p>'
    return f"<header><h1>Flags</h1></header><section>{body}{notes}</section>"


def _state(flag: Flag, now: datetime) -> str:
    share = level_text(flag, now)
    if not flag.enabled:
        return f"{badge('off', 'bad')} {text(share)}"
    if not isinstance(flag.rollout, Ramp):
        return text(share)
    return (
        f"{text(share)} {badge('paused', 'warn') if flag.rollout.paused else badge('ramp', 'info')}"
    )


def _flag(site: Site, key: str) -> str:
    flag, account = site.flags[key], site.accounts.get(key)
    told = past.changes(key, site.versions)
    chart = past.chart(key, told, site.now)
    head = facts(
        (
            ("Owner", flag.owner),
            ("Expires", flag.expires),
            ("Drawn by", flag.bucket_by),
            *_values(flag),
        )
    )
    rows = [
        (
            f"{change.version.at.astimezone(UTC):%Y-%m-%d %H:%M}",
            badge(change.words, change.tone),
            text(change.version.author),
            f"<code>{text(change.version.commit[:12])}</code>",
        )
        for change in reversed(told)
    ]
    history = table(("When (UTC)", "What", "Who", "Commit"), rows) if rows else ""
    drawing = draw(chart) if chart else '<p class="soft">Git knows no past of this file.</p>'
    description = f'<p class="lead">{text(flag.description)}</p>' if flag.description else ""
    return (
        f"<header><h1>{text(key)} {_state(flag, site.now)}</h1>{description}</header>"
        f"<section>{head}{_guard(flag)}</section>"
        + section("Rollout over time", drawing + _of_variants(flag))
        + (evidence.sections(account) if account else "")
        + section("Changes", history)
    )


def _values(flag: Flag) -> Iterator[tuple[str, str]]:
    if not flag.variants:
        yield "Inside", value_text(flag.inside)
        yield "Outside", value_text(flag.outside)
    for each in flag.variants:
        yield f"{each.name}, {share_text(each.weight)}", value_text(each.value)


def _of_variants(flag: Flag) -> str:
    if not flag.variants:
        return ""
    return (
        f'<p class="soft">The line is the share of all variants but {text(flag.rest)}, the last. '
        "Outcomes are compared between two sides, so that there is no evidence here.</p>"
    )


def _guard(flag: Flag) -> str:
    if flag.guard is None:
        return ""
    words = "; ".join(f"{name.replace('_', ' ')} {said}" for name, said in flag.guard.words.items())
    return f'<p class="soft">Outcomes move it: {text(words)}.</p>'


def _deploys(site: Site) -> str:
    by_app: dict[str, list[Run]] = {}
    for run in site.runs:
        by_app.setdefault(run.app, []).append(run)
    cards = []
    for app in sorted(by_app):
        rows = [_run_row(run) for run in by_app[app]]
        heads = ("Started (UTC)", "Deploy", "Result", "Cause", "Took", "Hiccups", "Path")
        cards.append(section(app, table(heads, rows, ("Took",))))
    more = (
        f'<p class="soft">The newest {len(site.runs):,} are shown, '
        f"{site.runs_left_out:,} are older.</p>"
        if site.runs_left_out
        else ""
    )
    empty = "" if cards else '<section><p class="soft">There are no records.</p></section>'
    return f"<header><h1>Deploys</h1>{more}</header>{empty}{''.join(cards)}"


def _run_row(run: Run) -> list[str]:
    result = run.result or "unfinished"
    hiccups = (
        f"{run.hiccups_met:,} met, {run.hiccups_mended:,} recovered" if run.hiccups_met else "-"
    )
    return [
        _moment(run.begun_at),
        f'<a href="deploys/{text(run_path(run))}">{text(run.key or "without an id")}</a>',
        badge(result.replace("-", " "), _TONES.get(run.result, "bad")),
        text(run.why or "-"),
        f"{run.duration_s:.1f} s",
        hiccups,
        text(run.path),
    ]


def _moment(at: float) -> str:
    """A Unix time for people, whatever a record may have for one."""
    try:
        return f"{datetime.fromtimestamp(at, tz=UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return "at no time"


def _units(site: Site) -> str:
    """Where every unit is, for each flag that is drawn by what it is."""
    cards = []
    for attribute, units in sorted(site.units.items()):
        flags = [flag for flag in site.flags.values() if flag.bucket_by == attribute]
        heads = [attribute, *(flag.key for flag in flags)]
        shown = sorted(units)[:MOST_UNITS]
        rows = ([text(unit), *(_place(flag, unit, site.now) for flag in flags)] for unit in shown)
        more = len(units) - len(shown)
        note = f'<p class="soft">{more:,} more are not shown.</p>' if more else ""
        cards.append(section(f"Where is {attribute} ...?", table(heads, rows) + note))
    empty = "" if cards else '<section><p class="soft">There are no units.</p></section>'
    return f"<header><h1>Units</h1></header>{empty}{''.join(cards)}"


def _place(flag: Flag, unit: str, now: datetime) -> str:
    decision = evaluate(flag, {flag.bucket_by: unit}, now)
    has_the_rest = decision.variant == flag.rest
    if decision.reason == "TARGETING_MATCH":
        return badge(f"always {decision.variant}", "dull" if has_the_rest else "info")
    place = bucket(flag.draw, unit)
    word = badge(decision.variant, "dull" if has_the_rest else "good")
    return f"{word} at {place // 1000}.{place % 1000:03d} %"
