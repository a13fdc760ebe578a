"""`rollout list`, `rollout explain` and `rollout get`: what the flags are, and for whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import click
import msgspec

from rollout.commands import options
from rollout.commands.printing import bold, expiry, print_json
from rollout.errors import InvalidValue
from rollout.flag import Decision, Flag, Ramp, level_text, percent_text, value_text
from rollout.flags import Flags
from rollout.wording import show, table


@options.command("list")
@options.output_option
@options.at_option
@options.file_option
def list_(output: str, now: datetime, file: str) -> None:
    """Show every flag and how far it is rolled out."""
    flags = options.load(file).flags
    if output == "json":
        print_json({"version": 1, "flags": [_record(flag, now) for flag in flags.values()]})
        return
    if not flags:
        click.echo("no flags")
        return
    rows = [("FLAG", "ROLLOUT", "BY", "INSIDE", "OUTSIDE", "OWNER", "EXPIRES")]
    for key, flag in flags.items():
        inside, outside = value_text(flag.inside), value_text(flag.outside)
        owner = flag.owner if flag.owner.isprintable() else show(flag.owner)
        expires = expiry(flag.expires, now)
        rows.append((key, _state(flag, now), flag.bucket_by, inside, outside, owner, expires))
    head, *lines = table(rows)
    click.echo(bold(head))
    for line in lines:
        click.echo(line)


def _asking(command: Callable[..., None]) -> Any:
    """FLAG, --unit and --context, which say what is asked for whom."""
    context = click.option(
        "--context",
        "attributes",
        multiple=True,
        metavar="NAME=VALUE",
        help="Another attribute, for always_inside and always_outside. May be repeated.",
    )
    unit = click.option(
        "--unit", required=True, help="The unit: the value of the flag's bucket_by."
    )
    return options.flag_argument(unit(context(command)))


@options.command()
@_asking
@options.output_option
@options.at_option
@options.file_option
def explain(
    flag: str,
    unit: str,
    attributes: tuple[str, ...],
    output: str,
    now: datetime,
    file: str,
) -> None:
    """Say what FLAG is worth for a unit, and why."""
    decision, flags = _decide(flag, unit, attributes, now, file)
    if output == "json":
        shown = {"value": decision.value, "variant": decision.variant, "reason": decision.reason}
        place = {"bucket": decision.bucket, "percent": decision.outcome.threshold / 1000}
        said = {"unit": decision.unit, "why": decision.why, "source": flags.source}
        print_json({"version": 1, "flag": flag, **shown, **place, **said})
        return
    click.echo(decision.explain())
    if guard := flags[flag].guard:
        told = ", ".join(f"{key} {text}" for key, text in guard.words.items())
        click.echo(f"outcomes move the percentage ({told}): rollout guard {flag}")
    if flags.source != file:
        click.echo(f"according to {flags.source}")


@options.command()
@_asking
@options.at_option
@options.file_option
def get(flag: str, unit: str, attributes: tuple[str, ...], now: datetime, file: str) -> None:
    """Print the bare value of FLAG for a unit, for scripts.

    Exit code 1 says that there is no such flag, and nothing is printed.
    """
    value = _decide(flag, unit, attributes, now, file)[0].value
    click.echo(value if isinstance(value, str) else json.dumps(value))


def _decide(
    flag: str, unit: str, attributes: tuple[str, ...], now: datetime, file: str
) -> tuple[Decision, Flags]:
    """The decision, and the flags that it is from; raises InvalidValue for a unit that is none."""
    flags = Flags(options.load(file))
    context = dict(map(_attribute, attributes)) | {flags[flag].bucket_by: unit}
    decision = flags.evaluate_at(now, flag, context)
    if decision.error_code == "TARGETING_KEY_MISSING":
        raise InvalidValue(decision.why, hint="give the unit with --unit; empty text is none")
    if decision.error_code:
        raise InvalidValue(decision.why, hint="give the unit as text")
    return decision, flags


def _record(flag: Flag, now: datetime) -> dict[str, Any]:
    """A flag as JSON has it: what the file says, and how far it is now."""
    said = {name: getattr(flag, name) for name in ("owner", "expires", "description")}
    return {
        "flag": flag.key,
        "enabled": flag.enabled,
        "percent": float(percent_text(flag.threshold_at(now))),
        "ramp": msgspec.to_builtins(flag.rollout) if isinstance(flag.rollout, Ramp) else None,
        "bucket_by": flag.bucket_by,
        "bucketing": flag.bucketing,
        "salt": flag.salt,
        "inside": flag.inside,
        "outside": flag.outside,
        "variants": [
            {
                "variant": each.name,
                "weight": each.weight / 1000,
                "value": each.value,
                "always": _lists(each.always),
            }
            for each in flag.variants
        ],
        "always_inside": _lists(flag.always_inside),
        "always_outside": _lists(flag.always_outside),
        "guard": flag.guard.words if flag.guard else None,
        **said,
    }


def _lists(always: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    return {attribute: sorted(texts) for attribute, texts in always.items()}


def _state(flag: Flag, now: datetime) -> str:
    if not flag.enabled:
        return "off"
    state = level_text(flag, now)
    if not isinstance(flag.rollout, Ramp):
        return f"{state} (guard)" if flag.guard else state
    return f"{state} (paused)" if flag.rollout.paused else f"{state} (ramp)"


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="--context")
    return name, value
