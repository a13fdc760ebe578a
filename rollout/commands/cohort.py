"""`rollout cohort`: who is in."""

from __future__ import annotations

import os
import stat
import sys
from datetime import datetime

import click

from rollout.commands import options
from rollout.commands.printing import print_json
from rollout.commands.reading import left_out, opened, write_lines
from rollout.errors import InvalidValue
from rollout.file.edit import flag_in
from rollout.review.cohort import members
from rollout.wording import count, did_you_mean, show


@options.command()
@options.flag_argument
@options.units_option(required=True)
@click.option("--variant", default="", help="Units with this variant. [default: the first]")
@options.output_option
@options.at_option
@options.file_option
def cohort(flag: str, units: str, variant: str, output: str, now: datetime, file: str) -> None:
    """List the units that FLAG has inside, in their order.

    What always_inside and always_outside say of other attributes than the unit is not
    known here, and does not count. Their number goes to standard error.
    """
    asked = flag_in(options.load(file), flag)
    known = [share.name for share in asked.shares(now)]
    if variant and variant not in known:
        raise InvalidValue(
            f"{flag} has no variant {show(variant)}",
            hint=did_you_mean(variant, known, f"it has {', '.join(known)}"),
        )
    inside = 0
    kept: list[str] = []
    with opened(units, bar=_goes_to_a_file()) as batches:
        for batch in batches:
            chosen = members(asked, batch, now, variant)
            inside += len(chosen)
            if output == "json":
                kept += [unit.decode() for unit in chosen]
            else:
                write_lines(chosen)
    if output == "json":
        read = {"units_read": batches.found, "empty_lines": batches.empty}
        print_json({"version": 1, "flag": flag, **read, "inside": kept})
        return
    where = variant or (asked.variants[0].name if asked.variants else "inside")
    of = count(batches.found, "unit")
    click.echo(f"{flag}: {inside:,} of {of} are {where}{left_out(batches, ';')}", err=True)


def _goes_to_a_file() -> bool:
    """Whether nobody sees standard output on the terminal that the bar is drawn on."""
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        return False
