"""`rollout list` and `rollout explain`: what the flags are, and what one is worth for whom."""

from __future__ import annotations

from datetime import datetime

import click

from rollout.commands import options
from rollout.errors import InvalidValue
from rollout.flag import Flag, Ramp, share_text, value_text
from rollout.flags import Flags
from rollout.wording import show, table


@click.command("list")
@options.at_option
@options.file_option
def list_(now: datetime, file: str) -> None:
    """Show every flag and how far it is rolled out."""
    flags = options.load(file).flags
    if not flags:
        click.echo("no flags")
        return
    rows = [("FLAG", "ROLLOUT", "BY", "INSIDE", "OUTSIDE", "OWNER", "EXPIRES")]
    for key, flag in flags.items():
        inside, outside = value_text(flag.inside), value_text(flag.outside)
        state = _state(flag, now)
        owner = flag.owner if flag.owner.isprintable() else show(flag.owner)
        rows.append((key, state, flag.bucket_by, inside, outside, owner, flag.expires))
    for line in table(rows):
        click.echo(line)


@click.command()
@options.flag_argument
@click.option("--unit", required=True, help="The unit: the value of the flag's bucket_by.")
@click.option(
    "--context",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another attribute, for always_inside and always_outside. May be repeated.",
)
@options.at_option
@options.file_option
def explain(flag: str, unit: str, attributes: tuple[str, ...], now: datetime, file: str) -> None:
    """Say what FLAG is worth for a unit, and why."""
    context = dict(map(_attribute, attributes))
    flags = Flags(options.load(file))
    context[flags[flag].bucket_by] = unit
    decision = flags.evaluate_at(now, flag, context)
    if decision.error_code:
        raise InvalidValue(decision.why, hint="give the unit as text")
    click.echo(decision.explain())
    if guard := flags[flag].guard:
        told = ", ".join(f"{key} {text}" for key, text in guard.words.items())
        click.echo(f"outcomes move the percentage ({told}): rollout guard {flag}")
    if flags.source != file:
        click.echo(f"according to {flags.source}")


def _state(flag: Flag, now: datetime) -> str:
    if not flag.enabled:
        return "off"
    state = share_text(flag.threshold_at(now))
    if not isinstance(flag.rollout, Ramp):
        return f"{state} (guard)" if flag.guard else state
    return f"{state} (paused)" if flag.rollout.paused else f"{state} (ramp)"


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="--context")
    return name, value
