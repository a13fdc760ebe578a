"""What several commands share: options and their headings, flag names, and loading."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rollout.errors import InvalidValue, RolloutError
from rollout.file import fields, flagfile
from rollout.file.flagfile import FlagFile
from rollout.ramps.hours import Hours, parse_between, parse_zone
from rollout.sources import source

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

DEFAULT_FILE = "flags.yaml"

T = TypeVar("T")

# What several commands have, by heading; what is a command's own comes before, as its options.
_HEADINGS = {
    "Units": ("--unit", "--context", "--units", "--by", "--names", "--allow-eviction"),
    "Hours": ("--weekdays", "--between", "--tz"),
    "Evidence": ("--reports", "--coins", "--state", "--event", "--sql", "--table"),
    "Output": ("--output", "--html", "--markdown", "--out"),
    "General": ("--at", "--file", "--help"),
}


class Command(click.Command):
    """A command whose help has its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        for heading in ("Options", *_HEADINGS):
            under = [option for option in options if _heading_of(option) == heading]
            records = [record for option in under if (record := option.get_help_record(ctx))]
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def command(name: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """Make one of a function, as click does: named after it, unless a `name` is given."""
    return click.command(name, cls=Command)


def _heading_of(option: click.Option) -> str:
    return next((heading for heading, of in _HEADINGS.items() if {*of} & {*option.opts}), "Options")


def load(spec: str) -> FlagFile:
    """The flags file at `spec`, whatever kind of source that is."""
    text = source.read(spec)
    return flagfile.parse_bytes(text.data, text.source)


def complete_flag(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    try:
        flags = load(ctx.params.get("file") or DEFAULT_FILE).flags
    except RolloutError:
        return []
    return [
        CompletionItem(key, help=flag.description)
        for key, flag in flags.items()
        if key.startswith(incomplete)
    ]


def parse_time(text: str, option: str) -> datetime:
    """The value of an option that is a time with an offset; raises InvalidValue."""
    return _parse(fields.parse_time, text, option)


def parse_percent(text: str, option: str) -> int:
    """The value of an option that is a percentage, as a threshold; raises InvalidValue."""
    return _parse(fields.parse_percent, text, option)


def _parse(parse: Callable[[str], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except fields.Wrong as wrong:
        raise InvalidValue(f"{option} {wrong.message}", hint=wrong.fix) from None


def threshold(_: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """The callback of an option that is a percentage."""
    return None if text is None else parse_percent(text, param.opts[0])


def _now(_: click.Context, param: click.Parameter, text: str | None) -> datetime:
    return datetime.now(UTC) if text is None else parse_time(text, param.opts[0])


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
output_option: Callable[[Any], Any] = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people or for programs.",
)


eviction_option: Callable[[Any], Any] = click.option(
    "--allow-eviction", is_flag=True, help="Allow units that are inside to be thrown out."
)


def units_option(*, required: bool = False) -> Callable[[Any], Any]:
    """--units, for commands that count or name units."""
    text = "A file with one unit on each line; - for standard input."
    return click.option("--units", metavar="FILE|-", required=required, help=text)


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
    if tz is None:
        if weekdays or between is not None:
            raise InvalidValue(
                "--weekdays and --between need a time zone",
                hint="name the time zone, such as --tz Europe/Berlin or --tz UTC",
            )
        return None
    zone = parse_zone(tz, "--tz")
    if between is None:
        return Hours(zone, weekdays)
    opens, closes = parse_between(between, "--between")
    return Hours(zone, weekdays, opens, closes)


def has_blocks() -> bool:
    """Whether standard output can carry the blocks of a chart."""
    try:
        "█▏▁".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
