"""What several commands share: the options --file and --at, flag names, and loading."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from rollout.errors import InvalidValue, RolloutError

if TYPE_CHECKING:
    from rollout.file.flagfile import FlagFile
    from rollout.ramps.hours import Hours

DEFAULT_FILE = "flags.yaml"


def load(spec: str) -> FlagFile:
    """The flags file at `spec`, whatever kind of source that is."""
    from rollout.file import flagfile
    from rollout.sources import source

    text = source.read(spec)
    return flagfile.parse_bytes(text.data, text.source)


def complete_flag(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        flags = load(ctx.params.get("file") or DEFAULT_FILE).flags
    except RolloutError:
        return []
    return [
        CompletionItem(key, help=flag.description)
        for key, flag in flags.items()
        if key.startswith(incomplete)
    ]


def _time(_: click.Context, param: click.Parameter, text: str | None) -> datetime | None:
    return None if text is None else parse_time(text, param.opts[0])


def _now(context: click.Context, param: click.Parameter, text: str | None) -> datetime:
    return _time(context, param, text) or datetime.now(UTC)


def parse_time(text: str, option: str) -> datetime:
    """The value of an option that is a time with an offset; raises InvalidValue."""
    from rollout.file.fields import Wrong
    from rollout.file.fields import parse_time as parse

    try:
        return parse(text)
    except Wrong as wrong:
        raise InvalidValue(f"{option} {wrong.message}", hint=wrong.fix) from None


def parse_percent(text: str, option: str) -> int:
    """The value of an option that is a percentage, as a threshold; raises InvalidValue."""
    from rollout.file.fields import Wrong
    from rollout.file.fields import parse_percent as parse

    try:
        return parse(text)
    except Wrong as wrong:
        raise InvalidValue(f"{option} {wrong.message}", hint=wrong.fix) from None


file_option: Callable[[Any], Any] = click.option(
    "--file",
    "-f",
    default=DEFAULT_FILE,
    show_default=True,
    metavar="PATH",
    type=click.Path(),
    help="The flags file.",
)
flag_argument: Callable[[Any], Any] = click.argument("flag", shell_complete=complete_flag)
at_option: Callable[[Any], Any] = click.option(
    "--at",
    "now",
    metavar="TIME",
    envvar="ROLLOUT_AT",
    show_envvar=True,
    callback=_now,
    help="Take this time, with an offset, for now.",
)

_UNITS_HELP = "A file with one unit on each line; - for standard input."
units_option: Callable[[Any], Any] = click.option("--units", metavar="FILE|-", help=_UNITS_HELP)
required_units_option: Callable[[Any], Any] = click.option(
    "--units", metavar="FILE|-", required=True, help=_UNITS_HELP
)
output_option: Callable[[Any], Any] = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people or for programs.",
)


def hours_options(command: Any) -> Any:
    """--weekdays, --between and --tz; `hours` reads them."""
    for option in (
        click.option("--tz", metavar="ZONE", help="The time zone, such as Europe/Berlin or UTC."),
        click.option("--between", metavar="HH:MM-HH:MM", help="Steps begin in these hours only."),
        click.option("--weekdays", is_flag=True, help="Steps begin from Monday to Friday only."),
    ):
        command = option(command)
    return command


def hours(weekdays: bool, between: str | None, tz: str | None) -> Hours | None:
    """What those options say, None if nothing; raises InvalidValue."""
    from rollout.ramps.hours import Hours, parse_between, parse_zone

    if tz is None:
        if weekdays or between is not None:
            raise InvalidValue(
                "--weekdays and --between need a time zone",
                hint="say whose clock counts, such as --tz Europe/Berlin or --tz UTC",
            )
        return None
    zone = parse_zone(tz, "--tz")
    if between is None:
        return Hours(zone, weekdays)
    opens, closes = parse_between(between, "--between")
    return Hours(zone, weekdays, opens, closes)


def count(number: int, noun: str) -> str:
    """ "1 flag", "2 flags", "10,000 units"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
