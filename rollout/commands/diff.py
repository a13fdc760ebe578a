"""`rollout diff`, and the summary of a change that other commands print too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from rollout.commands import options
from rollout.commands.base import base_flags
from rollout.commands.markdown import add_to_step_summary
from rollout.commands.markdown import markdown as as_markdown
from rollout.commands.printing import print_json
from rollout.commands.reading import left_out, opened, write_lines
from rollout.errors import Eviction, InvalidValue
from rollout.review.cohort import Tally
from rollout.review.diff import FlagDiff, count, moves
from rollout.review.diff import diff as compare
from rollout.sources.source import GIT, beside, git_parts
from rollout.sources.units import Units
from rollout.wording import count as number_of

Moved = dict[str, dict[str, list[str]]]


@options.command()
@click.argument("old")
@click.argument("new")
@options.units_option()
@click.option(
    "--by", metavar="NAME", help="What the units are, such as app; the rest is not counted."
)
@click.option("--names", is_flag=True, help="Name the units that move, each on a line.")
@options.eviction_option
@click.option("--markdown", is_flag=True, help="For a comment on a pull request.")
@options.output_option
@options.at_option
def diff(
    old: str,
    new: str,
    units: str | None,
    by: str | None,
    names: bool,
    allow_eviction: bool,
    markdown: bool,
    output: str,
    now: datetime,
) -> None:
    """Say what changes from OLD to NEW, and for whom.

    OLD and NEW are files, addresses, or git:REV, the file as it is at a revision of
    the repository (git:REV:PATH for another file than the one it is compared with).
    git:A...B is where B branched off from A, for a pull request that is behind its base.
    Where an OLD of git:REV has no such file yet, the one that has moved is followed, or
    else every flag is new.

    Exit code 1 when somebody who is inside would be thrown out: of the units given, or
    without --units of any there may be.

    With --markdown it is a comment for a pull request. In GitHub Actions
    (GITHUB_STEP_SUMMARY) that is added to the step's summary, too.
    """
    path = _path(old, new)
    new = beside(new, path)
    after = options.load(new).flags
    diffs = compare(base_flags(old, path, after), after, now)
    old = beside(old, path)
    if names and units is None:
        raise click.UsageError("--names needs --units.")
    counts: dict[str, Tally] = {}
    moved: Moved | None = {} if names else None
    found: Units | None = None
    if units is not None:
        counted = _counted(diffs, by)
        with opened(units, bar=not names) as found:
            if moved is None:
                counts = count(counted, found, now)
            else:
                counts = _name(counted, found, now, moved if output == "json" else None)
    report = as_markdown(diffs, counts)
    add_to_step_summary(report)
    if markdown:
        click.echo(report, nl=False)
    elif output == "json":
        _print_json(old, new, now, diffs, counts, moved, found)
    else:
        for line in summary(diffs, counts):
            click.echo(line)
        if found is not None:
            click.echo(
                f"read {number_of(found.found, 'unit')} from {found.source}{left_out(found, ',')}"
            )
    if not allow_eviction:
        refuse(diffs, counts)


def summary(diffs: Sequence[FlagDiff], counts: Mapping[str, Tally]) -> Iterator[str]:
    """What changed, in lines for people; with who moves for the flags that were counted."""
    if not diffs:
        yield "no flag changes"
    for each in diffs:
        yield each.key
        for change in each.changes:
            yield f"  {change.text}" if change.what == "flag" else f"  {change.what}: {change.text}"
        if tally := counts.get(each.key):
            units = number_of(sum(tally), "unit")
            yield (
                f"  of {units} {tally.enters:,} enter, {tally.leaves:,} leave,"
                f" {each.changes_value(tally):,} change value:"
                f" {tally.inside_before:,} inside before, {tally.inside_after:,} after"
            )


def count_units(diffs: Sequence[FlagDiff], units: str, now: datetime) -> dict[str, Tally]:
    """Who moves of the units in a file, for the flags whose unit is the same before and after."""
    with opened(units) as found:
        return count([each for each in diffs if each.countable], found, now)


def _path(old: str, new: str) -> str:
    """The path that a git:REV without one means: that of the other side."""
    for spec in (new, old):
        path = git_parts(spec)[1] if spec.startswith(GIT) else spec
        if path and "://" not in path:
            return path
    return options.DEFAULT_FILE


def _counted(diffs: Sequence[FlagDiff], by: str | None) -> list[FlagDiff]:
    """The flags for which a list of units tells who moves."""
    countable = [each for each in diffs if each.countable]
    if by is not None:
        return [each for each in countable if each.bucket_by == by]
    kinds = sorted({each.bucket_by for each in countable})
    if len(kinds) > 1:
        raise InvalidValue(
            f"the flags that change are bucketed by {' and by '.join(kinds)}",
            hint=f"say what the units are, such as --by {kinds[0]}",
        )
    return countable


def _name(
    diffs: Sequence[FlagDiff], units: Units, now: datetime, kept: Moved | None
) -> dict[str, Tally]:
    """Count the units, and print those that move as they come, or keep them for the JSON."""
    totals = {each.key: Tally() for each in diffs}
    for each, found in moves(diffs, units, now):
        totals[each.key] = totals[each.key].plus(Tally(*map(len, found)))
        for verb, names in each.named(found):
            if kept is None:
                write_lines(names, f"{each.key}: {verb} ".encode())
            else:
                named = kept.setdefault(each.key, {}).setdefault(verb, [])
                named.extend(unit.decode() for unit in names)
    return totals


def _print_json(
    old: str,
    new: str,
    now: datetime,
    diffs: Sequence[FlagDiff],
    counts: Mapping[str, Tally],
    moved: Moved | None,
    units: Units | None,
) -> None:
    def flag(each: FlagDiff) -> dict[str, Any]:
        tally = counts.get(each.key)
        shown: dict[str, Any] = {
            "flag": each.key,
            "evicts": bool(each.thrown_out(tally)),
            "changes": [
                {"what": change.what, "text": change.text, "evicts": change.evicts}
                for change in each.changes
            ],
            "units": None,
        }
        if tally is not None:
            shown["units"] = {
                "enter": tally.enters,
                "leave": tally.leaves,
                "change_value": each.changes_value(tally),
                "inside_before": tally.inside_before,
                "inside_after": tally.inside_after,
            }
        if moved is not None:
            shown["names"] = moved.get(each.key, {})
        return shown

    record = {
        "version": 1,
        "old": old,
        "new": new,
        "at": now.isoformat(),
        "units_read": units.found if units else None,
        "empty_lines": units.empty if units else None,
        "evicts": any(each.thrown_out(counts.get(each.key)) for each in diffs),
        "flags": [flag(each) for each in diffs],
    }
    print_json(record)


def refuse(diffs: Sequence[FlagDiff], counts: Mapping[str, Tally]) -> None:
    """Raises Eviction if somebody would be thrown out, of the units counted or of any."""
    told = [(each.key, each.thrown_out(counts.get(each.key))) for each in diffs]
    told = [(key, whom) for key, whom in told if whom]
    if told:
        more = f" (and {len(told) - 1} more flags)" if told[1:] else ""
        raise Eviction(
            f"{told[0][0]} would throw out {told[0][1]}{more}",
            hint="keep them inside, or allow it with --allow-eviction",
        )
