"""`rollout set`: one number in the file."""

from __future__ import annotations

from datetime import datetime

import click

from rollout.commands import options
from rollout.commands.applying import apply, say_if_off
from rollout.file import edit
from rollout.flag import share_text


@options.command("set")
@options.flag_argument
@click.option(
    "--percent",
    "threshold",
    required=True,
    metavar="P",
    callback=options.threshold,
    help="From 0 to 100, up to three decimals.",
)
@options.units_option()
@options.eviction_option
@options.at_option
@options.file_option
def set_(
    flag: str, threshold: int, units: str | None, allow_eviction: bool, now: datetime, file: str
) -> None:
    """Bump FLAG to another percentage.

    Changes that one number in the file and nothing else, or nothing at all; then says
    what that changes, with --units for how many. Lower than now it throws units out, which
    is refused without --allow-eviction; with --units only if one of those is thrown out.
    """
    changed = apply(
        file,
        flag,
        lambda before: edit.set_percent(before, flag, threshold),
        now,
        otherwise=f"{flag} is at {share_text(threshold)} already",
        units=units,
        evicts=allow_eviction,
    )
    say_if_off(changed)
