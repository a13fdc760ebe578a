"""`rollout set`: one number in the file."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from rollout.commands import options

if TYPE_CHECKING:
    from rollout.file.edit import Edit
    from rollout.file.flagfile import FlagFile


@click.command("set")
@options.flag_argument
@click.option("--percent", required=True, metavar="P", help="From 0 to 100, up to three decimals.")
@options.units_option
@options.at_option
@options.file_option
def set_(flag: str, percent: str, units: str | None, now: datetime, file: str) -> None:
    """Bump FLAG to another percentage.

    Changes that one number in the file and nothing else, or nothing at all; then says
    what that changes, with --units for how many.
    """
    from rollout.commands.applying import apply, say_if_off
    from rollout.file import edit
    from rollout.flag import percent_text

    threshold = options.parse_percent(percent, "--percent")
    seen: list[FlagFile] = []

    def change(before: FlagFile) -> Edit | None:
        seen.append(before)
        return edit.set_percent(before, flag, threshold)

    if apply(file, change, now, units) is None:
        click.echo(f"{flag} is at {percent_text(threshold)} % already; {file} was not touched")
    say_if_off(seen[-1].flags[flag])
