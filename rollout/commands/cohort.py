"""`rollout cohort`: who is in."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from rollout.commands import options


@click.command()
@options.flag_argument
@options.required_units_option
@options.at_option
@options.file_option
def cohort(flag: str, units: str, now: datetime, file: str) -> None:
    """List the units that FLAG has inside, in their order.

    What always_inside and always_outside say of other attributes than the unit is not
    known here, and does not count. How many there are is told on standard error.
    """
    from rollout.commands.reading import opened, write_lines
    from rollout.errors import UnknownFlag
    from rollout.review.cohort import members

    found = options.load(file)
    asked = found.flags.get(flag)
    if asked is None:
        raise UnknownFlag(flag, found.flags, found.source)
    inside = 0
    with opened(units, bar=not sys.stdout.isatty()) as batches:
        for batch in batches:
            chosen = members(asked, batch, now)
            inside += len(chosen)
            write_lines(chosen)
    said = f"{flag}: {inside:,} of {options.count(batches.found, 'unit')} are inside"
    if batches.empty:
        said += f"; left out {options.count(batches.empty, 'empty line')}"
    click.echo(said, err=True)
