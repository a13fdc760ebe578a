"""`rollout cohort`: who is in."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from rollout.commands import options
from rollout.commands.reading import left_out, opened, write_lines
from rollout.file.edit import flag_in
from rollout.review.cohort import members
from rollout.wording import count


@click.command()
@options.flag_argument
@options.units_option(required=True)
@options.at_option
@options.file_option
def cohort(flag: str, units: str, now: datetime, file: str) -> None:
    """List the units that FLAG has inside, in their order.

    What always_inside and always_outside say of other attributes than the unit is not
    known here, and does not count. How many there are is told on standard error.
    """
    asked = flag_in(options.load(file), flag)
    inside = 0
    with opened(units, bar=not sys.stdout.isatty()) as batches:
        for batch in batches:
            chosen = members(asked, batch, now)
            inside += len(chosen)
            write_lines(chosen)
    of = count(batches.found, "unit")
    click.echo(f"{flag}: {inside:,} of {of} are inside{left_out(batches, ';')}", err=True)
