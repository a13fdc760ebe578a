"""`rollout export`: the flags for other evaluators."""

from __future__ import annotations

import json

import click

from rollout.commands import options
from rollout.file.edit import flag_in
from rollout.serving.export import DRAWN_BY, to_flagd
from rollout.wording import count


@options.command()
@click.argument("flags", metavar="[FLAG]...", nargs=-1)
@click.option("--to", required=True, type=click.Choice(["flagd"]), help="Whose format to write.")
@options.file_option
def export(flags: tuple[str, ...], to: str, file: str) -> None:  # noqa: ARG001 -- one choice so far
    """Write flags, or those named, as another evaluator's definition.

    The definition gives every unit the same answer; a flag for which there is none such
    is refused with the reason. In flagd the unit is the targeting key.
    """
    found = options.load(file)
    chosen = [flag_in(found, key) for key in flags or found.flags]
    click.echo(json.dumps(to_flagd(chosen), indent=2, ensure_ascii=False))
    for generation, providers in DRAWN_BY.items():
        drawn = [each.key for each in chosen if each.bucketing == generation]
        if drawn:
            flags_drawn = f"{count(len(drawn), 'flag')} of {generation} ({', '.join(drawn)})"
            click.echo(f"Note: {flags_drawn}: of those tried, drawn so by {providers}", err=True)
