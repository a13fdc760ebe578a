"""`rollout guard`: the outcomes of deploys move the percentage, or stop it."""

from __future__ import annotations

from datetime import datetime

import click

from rollout.commands import gathering, options
from rollout.commands.applying import apply
from rollout.commands.printing import print_json
from rollout.errors import EditRefused
from rollout.file import edit
from rollout.file.edit import Edit
from rollout.file.flagfile import FlagFile
from rollout.flag import Flag, Ramp
from rollout.outcomes.account import Account, as_json
from rollout.outcomes.plan import plan_json, plan_lines
from rollout.outcomes.verdict import EXIT_CODES
from rollout.outcomes.words import verdict_lines
from rollout.sources import history
from rollout.wording import some


@options.command()
@options.flag_argument
@gathering.reports_options
@click.option("--write", is_flag=True, help="Change the flags file as the verdict says.")
@click.option("--plan", is_flag=True, help="Say what to expect of every stage, and do nothing.")
@options.output_option
@options.at_option
@options.file_option
@click.pass_context
def guard(
    ctx: click.Context,
    flag: str,
    places: tuple[str, ...],
    reports: tuple[str, ...],
    coins: str | None,
    state: str | None,
    event: str | None,
    write: bool,
    plan: bool,
    output: str,
    now: datetime,
    file: str,
) -> None:
    """Let the outcomes of deploys move FLAG, or stop it: with --write, or only say so.

    Ends with 0 to hold, 10 to advance and 20 to kill. The same file, records and time
    always give the same verdict. Committing the change is git's business.
    """
    given = gathering.Given(
        flag, (*reports, *places), coins, state, gathering.event_of(event), now, file
    )
    found, settings = gathering.flag_of(given)
    if isinstance(found.rollout, Ramp):
        raise EditRefused(
            f"{flag} has a ramp, which moves it by the clock",
            hint="write percent: and guard: instead of ramp: to let outcomes move it",
        )
    account = gathering.account_of(given) if given.places or coins or not plan else None
    if plan and output == "json":
        print_json(plan_json(found, settings, account))
        return
    if plan:
        for line in plan_lines(found, settings, account):
            click.echo(line)
        return
    assert account is not None  # noqa: S101 -- it is made unless the plan is asked for
    _say(account, output, file)
    if write:
        _write(account, file, now, err=output == "json")
    ctx.exit(EXIT_CODES[account.verdict.kind])


def _say(account: Account, output: str, file: str) -> None:
    flag = account.flag.key
    named = history.places(file, [flag]).get(flag, ()) if account.verdict.finished else ()
    if output == "json":
        print_json({**as_json(account), "places": named})
        return
    for line in verdict_lines(account):
        click.echo(line)
    if account.verdict.finished:
        click.echo(f"  the flag is named in {', '.join(some(named)) or 'no file that git knows'}")
    for warning in account.warnings:
        click.echo(f"warning: {warning}", err=True)
    for note in account.passed_over:
        click.echo(note, err=True)
    if account.flag.guard is None:
        click.echo(f"Note: {flag} has no guard: in {file}; defaults are taken", err=True)


def _write(account: Account, file: str, now: datetime, *, err: bool) -> None:
    verdict, flag = account.verdict, account.flag

    def change(before: FlagFile) -> Edit | None:
        _refuse_moved(edit.flag_in(before, flag.key), flag)
        if verdict.kind == "kill":
            return edit.kill(before, flag.key, now)
        return edit.set_percent(before, flag.key, verdict.to or 0)

    if verdict.kind != "hold":
        already = f"{flag.key} is like that already"
        apply(file, flag.key, change, now, otherwise=already, err=err)


def _refuse_moved(now_there: Flag, judged: Flag) -> None:
    """A change of the flag between the verdict and the writing has the last word."""
    if now_there != judged:
        raise EditRefused(
            f"{judged.key} was changed by somebody else meanwhile", hint="run the guard again"
        )
