"""`rollout site`: static pages about flags and deploys."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import click

from rollout.commands import gathering, options
from rollout.errors import SourceProblem
from rollout.flag import Flag
from rollout.flag.guard import Guard
from rollout.outcomes.account import Account
from rollout.outcomes.ledger import Ledger
from rollout.outcomes.record import Record
from rollout.outcomes.site.pages import MOST_RUNS, Site, pages, run_path
from rollout.outcomes.site.run import Run
from rollout.sources import history
from rollout.sources.output import write
from rollout.sources.reports import Reports
from rollout.wording import count, show

_LARGEST_PAGE = 8 << 20


@options.command()
@click.argument("places", metavar="[PLACE]...", nargs=-1)
@click.option("--out", required=True, metavar="DIR", help="The directory to write the pages to.")
@click.option("--reports", multiple=True, metavar="PLACE", help="As for rollout outcomes.")
@options.at_option
@options.file_option
def site(
    places: tuple[str, ...], out: str, reports: tuple[str, ...], now: datetime, file: str
) -> None:
    """Write static pages: flags over time, evidence, deploys, and where every unit is.

    They need no server and no script. What git knows of the flags file is their past.
    """
    found = options.load(file)
    given = gathering.Given("", (*reports, *places), None, None, None, now, file)
    runs = Reports(given.places, Run)
    newest, units, keys = _overview(runs, found.flags)
    flags = [flag for flag in found.flags.values() if not flag.variants]
    told = {flag.key for flag in flags if flag.key in keys or runs.parquet}
    accounts = {
        flag.key: _account(flag, given.places if flag.key in told else (), now)
        for flag in flags
        if flag.key in told or flag.guard
    }
    whole = Site(
        flags=found.flags,
        versions=history.versions(file),
        accounts=accounts,
        runs=[run for run, _ in newest],
        runs_left_out=keys.total() - len(newest),
        units=units,
        timelines=_timelines(newest),
        now=now,
        notes=[*gathering.notes_of(runs), *_not_listed(runs.parquet)],
    )
    number = 0
    for path, page in pages(whole):
        _write(Path(out), path, page)
        number += 1
    click.echo(f"{count(number, 'page')} in {show(out)}, to begin with index.html")


def _overview(
    runs: Reports[Run], flags: Mapping[str, Flag]
) -> tuple[list[tuple[Run, str]], dict[str, frozenset[str]], Counter[str]]:
    """(the newest runs with their files, units by attribute, records by flag)."""
    newest: list[tuple[tuple[float, str, str], int, Run, str]] = []
    units: dict[str, set[str]] = {}
    keys: Counter[str] = Counter()
    for number, run in enumerate(runs):
        assigned = run.assignment
        keys[assigned.flag if assigned else ""] += 1
        for attribute, unit in _units_of(run, flags):
            units.setdefault(attribute, set()).add(unit)
        entry = ((run.begun_at, run.key, run.run_id), -number, run, runs.path)
        if len(newest) < MOST_RUNS:
            heapq.heappush(newest, entry)
        else:
            heapq.heappushpop(newest, entry)
    ordered = sorted(newest, reverse=True)
    known = {attribute: frozenset(found) for attribute, found in units.items()}
    return [(run, path) for _, _, run, path in ordered], known, keys


def _units_of(run: Run, flags: Mapping[str, Flag]) -> Iterator[tuple[str, str]]:
    """(attribute, unit) of those that can be looked for again: a deploy is not."""
    if run.app:
        yield "app", run.app
    assigned = run.assignment
    flag = flags.get(assigned.flag) if assigned else None
    if flag and assigned and assigned.unit and flag.bucket_by not in ("app", "deploy"):
        yield flag.bucket_by, assigned.unit


def _not_listed(parquet: Iterable[str]) -> Iterator[str]:
    for path in parquet:
        yield f"{show(path)}: of Parquet the evidence is shown, and no deploy by itself"


def _account(flag: Flag, places: Iterable[str], now: datetime) -> Account:
    guard = flag.guard or Guard()
    question = gathering.question_of(flag, guard, now)
    found = list(gathering.observed(Reports(places, Record), question))
    ledger = Ledger(question, guard)
    ledger.take(*found)
    return Account.of(flag, ledger, gathering.left_out(found))


def _timelines(runs: Iterable[tuple[Run, str]]) -> dict[str, str]:
    """The timeline pages that deploys wrote beside their records."""
    found = {}
    for run, path in runs:
        page = Path(path).with_suffix(".html")
        try:
            if page.is_file() and page.stat().st_size <= _LARGEST_PAGE:
                found[run_path(run)] = page.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return found


def _write(out: Path, path: str, page: str) -> None:
    target = out / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceProblem(
            f"{show(str(target.parent))} cannot be made: {error.strerror}",
            hint="give --out a directory that can be written to",
        ) from None
    write(target, page.encode("utf-8", "backslashreplace"))
