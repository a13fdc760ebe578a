"""`rollout schema`."""

from __future__ import annotations

import json

import click

from rollout.commands import options
from rollout.file.schema import schema as made


@options.command()
def schema() -> None:
    """Print the JSON Schema of a flags file, for editors.

    An editor with a YAML language server reads it when the first line of the flags file
    names it: # yaml-language-server: $schema=flags.schema.json
    """
    click.echo(json.dumps(made(), indent=2))
