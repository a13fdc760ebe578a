"""`rollout pause`, `rollout kill` and `rollout resume`: stop, and go on."""

from __future__ import annotations

from datetime import datetime

import click

from rollout.commands import options
from rollout.commands.applying import apply, newest_commit, too_early, trust_clock
from rollout.file import edit


@options.command()
@options.flag_argument
@options.at_option
@options.file_option
def pause(flag: str, now: datetime, file: str) -> None:
    """Let the ramp of FLAG stand still where it is.

    Writes `paused:` with the time into the file; the steps to come wait until
    rollout resume, which moves them by the time that the pause took.
    """
    trust_clock(file, now)
    already = f"{flag} is paused already"
    apply(file, flag, lambda before: edit.pause(before, flag, now), now, otherwise=already)


@options.command()
@options.flag_argument
@options.at_option
@options.file_option
def kill(flag: str, now: datetime, file: str) -> None:
    """Put everybody outside of FLAG, at once.

    Writes `enabled: false` into the file, and lets a ramp that runs stand still, so
    that rollout resume finds the flag where it was.
    """
    newest = newest_commit(file, now)
    if newest is not None and (doubt := too_early(now, newest)):
        # Nothing keeps a kill from being done; a ramp stands still where it was by then.
        click.echo(f"Note: the clock is wrong, and that time is taken: {doubt}", err=True)
        now = newest
    already = f"{flag} is off already"
    apply(file, flag, lambda before: edit.kill(before, flag, now), now, otherwise=already)


@options.command()
@options.flag_argument
@options.hours_options
@options.at_option
@options.file_option
def resume(
    flag: str, weekdays: bool, between: str | None, tz: str | None, now: datetime, file: str
) -> None:
    """Undo rollout pause or rollout kill on FLAG.

    Everybody who was inside is inside again. The steps of the ramp that waited are
    moved by the time that the pause took: by whole days, rounded up, when they are a
    day or more apart.
    """
    hours = options.hours(weekdays, between, tz)
    trust_clock(file, now)
    already = f"{flag} is neither off nor paused"
    apply(file, flag, lambda before: edit.resume(before, flag, now, hours), now, otherwise=already)
