"""`deploy local`: the bundled platform from the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from deploy.errors import DeployError


@click.group(epilog="Example: deploy local up --detach")
def local() -> None:
    """Run the Machines API on this computer, with processes or containers as machines."""


@local.command(epilog="Example: deploy local up --hiccups 0.1 --seed 7")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=4280,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--token",
    envvar="TIDEGATE_LOCAL_TOKEN",
    default="",
    help="What every request must bear; needed to listen anywhere but on the loopback.",
)
@click.option(
    "--hiccups",
    default=0.0,
    type=click.FloatRange(0.0, 1.0),
    metavar="RATE",
    help="Let this share of all writes fail as a real platform's do, 0 to 1.",
)
@click.option("--seed", type=int, help="Draw ids and hiccups from this number: repeatable.")
@click.option(
    "--dir",
    "directory",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path, resolve_path=True),
    help="Directory that machines' commands run in.",
)
@click.option(
    "--runtime",
    type=click.Choice(["process", "docker", "auto"]),
    default="process",
    show_default=True,
    help="What machines are: commands, containers, or for each one what its image allows.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
    metavar="DIR",
    help="Keep apps, machines, versions and leases here, for the next start.",
)
@click.option("--detach", is_flag=True, help="Go on in the background; `down` ends it.")
@click.option(
    "--log",
    type=click.Path(dir_okay=False, writable=True, path_type=Path, resolve_path=True),
    metavar="FILE",
    help="With --detach: the file that output is added to, instead of one of its own.",
)
def up(**options: Any) -> None:
    """Serve until Ctrl-C or `down`; every machine ends with it.

    State is in memory only, unless --state is given.
    """
    from deploy.local.server import Options, serve  # starlette and httpx: only when serving

    with _rendered_errors():
        serve(Options(**options), _say)


@local.command(epilog="Example: deploy local down")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the one to end, if several.")
def down(port: int | None) -> None:
    """End a platform that was begun with `up --detach`, and its machines."""
    from deploy.local import detached

    with _rendered_errors():
        _say(f"the local platform on port {detached.end(port)} has ended")


@contextmanager
def _rendered_errors() -> Iterator[None]:
    try:
        yield
    except DeployError as error:
        click.echo(f"Error: {error.message}\nHint: {error.hint}", err=True)
        raise SystemExit(error.exit_code) from None


def _say(line: str) -> None:
    """One line on standard output; if nobody reads it any more, the platform goes on."""
    with suppress(OSError):
        click.echo(line)
