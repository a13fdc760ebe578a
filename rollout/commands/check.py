"""`rollout check`."""

from __future__ import annotations

import click

from rollout.commands import options


@click.command()
@click.argument("path", metavar="[FILE]", required=False, type=click.Path())
@options.file_option
@click.pass_context
def check(ctx: click.Context, path: str | None, file: str) -> None:
    """Say all that is wrong with a flags file."""
    if path and ctx.get_parameter_source("file") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("Name the file once, as an argument or with --file.")
    found = options.load(path or file)
    click.echo(f"{found.source} is in order: {options.count(len(found.flags), 'flag')}")
