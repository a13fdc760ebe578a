"""`rollout serve`: the flags for programs in every language."""

from __future__ import annotations

import os
import sys

import click

from rollout.commands import options
from rollout.live import Live
from rollout.serving.serve import serve as run


@options.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8016, show_default=True, type=click.IntRange(0, 65535), help="0 for any."
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="How many processes answer.  [default: 2; 1 with --rate, or on one processor]",
)
@click.option(
    "--token",
    default="",
    envvar="ROLLOUT_SERVE_TOKEN",
    show_envvar=True,
    help="What clients must bear; needed to listen beyond this machine.",
)
@click.option(
    "--rate",
    "rate_per_s",
    default=0.0,
    metavar="N",
    type=click.FloatRange(0),
    help="Requests per second from one address.  [default: no limit]",
)
@click.option("--allow-origin", "origins", multiple=True, help="A web site whose pages may ask.")
@click.option(
    "--poll",
    "poll_s",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="How often to look for newer flags.  [default: 1, and 30 for a URL]",
)
@click.option(
    "--file",
    "-f",
    default=options.DEFAULT_FILE,
    show_default=True,
    metavar="PATH|URL",
    envvar="ROLLOUT_FLAGS",
    show_envvar=True,
    help="The flags.",
)
def serve(
    host: str,
    port: int,
    workers: int | None,
    token: str,
    rate_per_s: float,
    origins: tuple[str, ...],
    poll_s: float | None,
    file: str,
) -> None:
    """Evaluate flags over HTTP, for OpenFeature's OFREP providers in every language.

    Follows the file without a restart. A new file with errors is reported, on standard
    error and by /readyz, and the flags from before go on serving.
    """
    run(
        Live(file),
        host=host,
        port=port,
        workers=workers or _workers(rate_per_s),
        token=token,
        rate_per_s=rate_per_s,
        origins=origins,
        poll_s=poll_s,
        say=_say,
    )


def _say(line: str) -> None:
    """Where nobody reads it any more, that is no reason to answer no more, nor to end with 120."""
    try:
        click.echo(line, err=True)
    except OSError:
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, sys.stderr.fileno())
        os.close(nobody)


def _workers(rate_per_s: float) -> int:
    """Two where they help: a second one answers half as many requests again, for 15 MB."""
    return 1 if rate_per_s or os.cpu_count() == 1 else 2
