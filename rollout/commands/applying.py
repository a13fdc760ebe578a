"""A change of the flags file from a command: made whole or not at all, then shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout.errors import InvalidValue, RolloutError

if TYPE_CHECKING:
    from rollout.cohort import Tally
    from rollout.edit import Edit
    from rollout.flag import Flag
    from rollout.flagfile import FlagFile

_SLOW = timedelta(hours=1)
_LONG = timedelta(days=400)


def apply(
    file: str,
    change: Callable[[FlagFile], Edit | None],
    now: datetime,
    units: str | None = None,
) -> Edit | None:
    """Change the file, and print the lines changed and whom that moves; None if it stands so."""
    from rollout import flagfile, source
    from rollout.commands.diff import count_units, summary
    from rollout.diff import diff
    from rollout.rewrite import rewrite

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


def doubt_about_clock(file: str, now: datetime) -> str:
    """Why `now` can hardly be the time: the repository holds a commit from later; or nothing.

    A time that was given with --at needs no clock, and is not doubted. A clock that is far
    ahead of the newest commit is only wondered about, on standard error.
    """
    from rollout import git

    given = click.get_current_context().get_parameter_source("now")
    if given is not click.core.ParameterSource.DEFAULT:
        return ""
    try:
        directory, _ = git.whereabouts(file)
        reply = git.ask(directory, "log", "-1", "--format=%cI")
        newest = datetime.fromisoformat(reply.text)
    except (RolloutError, ValueError):
        return ""
    stands = f"it is {now.isoformat(timespec='minutes')} here, and the newest commit is of"
    if now < newest - _SLOW:
        return f"{stands} {newest.isoformat(timespec='minutes')}"
    if now > newest + _LONG:
        click.echo(f"Note: {stands} {newest.date()}; is the clock right?", err=True)
    return ""


def trust_clock(file: str, now: datetime) -> None:
    """Raises InvalidValue if `now` can hardly be the time."""
    if doubt := doubt_about_clock(file, now):
        raise InvalidValue(
            f"the clock is wrong: {doubt}",
            hint="set the clock of this machine, or give the time with --at",
        )
