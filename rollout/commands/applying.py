"""A change of the flags file from a command: made whole or not at all, then shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import click

from rollout.commands.diff import count_units, refuse, summary
from rollout.errors import InvalidValue, RolloutError
from rollout.file import flagfile
from rollout.file.edit import Edit
from rollout.file.flagfile import FlagFile
from rollout.flag import Flag
from rollout.review.cohort import Tally
from rollout.review.diff import diff
from rollout.sources import git, source
from rollout.sources.rewrite import rewrite

_SLOW = timedelta(hours=1)
_LONG = timedelta(days=400)


def apply(
    file: str,
    flag: str,
    change: Callable[[FlagFile], Edit | None],
    now: datetime,
    *,
    otherwise: str,
    units: str | None = None,
    evicts: bool = True,
    err: bool = False,
) -> Flag:
    """Change the file, print the lines changed and whom that moves; the flag as it then is.

    When there is nothing to change, `otherwise` says so. Unless it `evicts`, a change that
    would throw units out is not made: of those in the file `units`, or else of any. With
    `err` all that goes to standard error, where standard output is for programs.
    """
    source.read(source.changeable(file))  # a wrong path is named before anything is locked
    found: list[tuple[FlagFile, Edit | None, dict[str, Tally]]] = []

    def rewritten(path: Path) -> tuple[bytes, bytes] | None:
        data = source.read(path).data
        before = flagfile.parse_bytes(data, file)
        made, counts = change(before), dict[str, Tally]()
        if made is not None:
            # Before anything is written, so that units that cannot be read change nothing.
            diffs = diff(before.flags, made.file.flags, now)
            counts = count_units(diffs, units, now) if units is not None else {}
            if not evicts:
                refuse(diffs, counts)
        found.append((before, made, counts))
        return None if made is None else (data, made.file.text.encode())

    rewrite(Path(file), rewritten)
    before, made, counts = found[-1]
    if made is None:
        click.echo(f"{otherwise}; {file} was not touched", err=err)
        return before.flags[flag]
    for hunk in made.hunks:
        click.echo(f"{file}:{hunk.line}", err=err)
        for sign, lines in (("-", hunk.before), ("+", hunk.after)):
            for line in lines:
                click.echo(sign + line, err=err)
    for line in summary(diff(before.flags, made.file.flags, now), counts):
        click.echo(line, err=err)
    return made.file.flags[flag]


def say_if_off(flag: Flag) -> None:
    """A flag that is off is at 0 % whatever its number says: tell it."""
    if not flag.enabled:
        click.echo(f"{flag.key} is off (enabled: false), so everybody stays outside")


def newest_commit(file: str, now: datetime) -> datetime | None:
    """When the newest commit of the file's repository was made, to hold the clock against.

    None if nothing tells, or where a time was given with --at, which needs no clock. A
    clock that is far ahead of it is only wondered about, on standard error.
    """
    given = click.get_current_context().get_parameter_source("now")
    if given is not click.core.ParameterSource.DEFAULT:
        return None
    try:
        directory, _ = git.whereabouts(file)
        reply = git.ask(directory, "log", "-1", "--format=%cI")
        newest = datetime.fromisoformat(reply.text)
    except (RolloutError, ValueError):
        return None
    if now > newest + _LONG:
        click.echo(f"Note: {_here(now)} {newest.date()}; is the clock right?", err=True)
    return newest


def too_early(now: datetime, newest: datetime) -> str:
    """Why `now` can hardly be the time: there is a commit from later; or nothing."""
    if now >= newest - _SLOW:
        return ""
    return f"{_here(now)} {newest.isoformat(timespec='minutes')}"


def trust_clock(file: str, now: datetime) -> None:
    """Raises InvalidValue if `now` can hardly be the time."""
    newest = newest_commit(file, now)
    if newest is not None and (doubt := too_early(now, newest)):
        raise InvalidValue(
            f"the clock is wrong: {doubt}",
            hint="set the clock of this machine, or give the time with --at",
        )


def _here(now: datetime) -> str:
    return f"it is {now.isoformat(timespec='minutes')} here, and the newest commit is of"
