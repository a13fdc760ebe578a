"""`rollout outcomes`: what became of the deploys inside of a flag, and of those outside."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from rollout.commands import gathering, options
from rollout.commands.printing import print_json
from rollout.outcomes import sql
from rollout.outcomes.account import as_json
from rollout.outcomes.site import evidence
from rollout.outcomes.words import lines
from rollout.sources.output import write


@options.command()
@options.flag_argument
@gathering.reports_options
@click.option("--html", metavar="FILE", help="Write a page as well.")
@click.option(
    "--sql", "engine", type=click.Choice(sql.ENGINES), help="Print the SELECT that counts there."
)
@click.option(
    "--table", default="reports", show_default=True, metavar="NAME", help="The table for --sql."
)
@options.output_option
@options.at_option
@options.file_option
def outcomes(
    flag: str,
    places: tuple[str, ...],
    reports: tuple[str, ...],
    coins: str | None,
    state: str | None,
    event: str | None,
    html: str | None,
    engine: str | None,
    table: str,
    output: str,
    now: datetime,
    file: str,
) -> None:
    """Compare the deploys inside of FLAG with those outside, by the reports that they wrote.

    Which side a deploy is on is what the flag said, or would have said where a number was
    given by hand. The evidence may be looked at at any time, as often as one likes.
    """
    event_asked = gathering.event_of(event)
    given = gathering.Given(flag, (*reports, *places), coins, state, event_asked, now, file)
    if engine:
        found, guard = gathering.flag_of(given)
        question = gathering.question_of(found, guard, now)
        click.echo(sql.select(engine, table, question), nl=False)
        return
    account = gathering.account_of(given)
    if html is not None:
        write(Path(html), evidence.page(account).encode())
    if output == "json":
        print_json(as_json(account))
        return
    for line in lines(account, ascii_only=not options.has_blocks()):
        click.echo(line)
