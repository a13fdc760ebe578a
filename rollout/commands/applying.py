"""A change of the flags file from a command: made whole or not at all, then shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout.errors import InvalidValue, RolloutError

if TYPE_CHECKING:
    from rollout.file.edit import Edit
    from rollout.file.flagfile import FlagFile
    from rollout.flag import Flag
    from rollout.review.cohort import Tally

_SLOW = timedelta(hours=1)
_LONG = timedelta(days=400)


def apply(
    file: str,
    change: Callable[[FlagFile], Edit | None],
    now: datetime,
    units: str | None = None,
) -> Edit | None:
    """Change the file, and print the lines changed and whom that moves; None if it stands so."""
    from rollout.commands.diff import count_units, summary
    from rollout.file import flagfile
    from rollout.review.diff import diff
    from rollout.sources import source
    from rollout.sources.rewrite import rewrite

    source.read(source.changeable(file))  # a wrong path is named before anything is locked
    made: Edit | None = None
    counts: dict[str, Tally] = {}

    def rewritten(path: Path) -> tuple[bytes, bytes] | None:
        nonlocal made, counts
        data = source.read(path).data
        made = change(flagfile.parse_bytes(data, file))
        if made is None:
            return None
        if units is not None:
            # Before anything is written, so that units that cannot be read change nothing.
            diffs = diff(made.before.flags, made.file.flags, now)
            counts = count_units(diffs, units, now)
        return data, made.file.text.encode()

    rewrite(Path(file), rewritten)
    if made is not None:
        for hunk in made.hunks:
            click.echo(f"{file}:{hunk.line}")
            for sign, lines in (("-", hunk.before), ("+", hunk.after)):
                for line in lines:
                    click.echo(sign + line)
        for line in summary(diff(made.before.flags, made.file.flags, now), counts):
            click.echo(line)
    return made


def say_if_off(flag: Flag) -> None:
    """A flag that is off is at 0 % whatever its number says: tell it."""
    if not flag.enabled:
        click.echo(f"{flag.key} is off (enabled: false), so everybody stays outside")


def newest_commit(file: str, now: datetime) -> datetime | None:
    """When the newest commit of the file's repository was made, to hold the clock against.

    None if nothing tells, or where a time was given with --at, which needs no clock. A
    clock that is far ahead of it is only wondered about, on standard error.
    """
    from rollout.sources import git

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
        stands = f"{_here(now)} {newest.date()}"
        click.echo(f"Note: {stands}; is the clock right?", err=True)
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
