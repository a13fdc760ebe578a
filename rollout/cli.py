"""The `rollout` command: parse, call one function, render, exit code. Decides nothing itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from rollout.errors import (
    BadFlagFile,
    InvalidValue,
    RolloutError,
)

if TYPE_CHECKING:
    from rollout.edit import Edit
    from rollout.flag import Flag
    from rollout.flagfile import FlagFile

DEFAULT_FILE = "flags.yaml"
_MOST_PROBLEMS = 50

_EPILOG = """\b
Exit codes:
  0  done
  1  the file has errors, has no such flag, or cannot be changed as asked
  2  usage: an option, a value, or a file that cannot be read
"""


def main() -> None:
    """The entry point of the `rollout` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a flag's text may not fit the terminal
    cli(prog_name="rollout")


class _Group(click.Group):
    """Renders every error of ours, in this one place."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BadFlagFile as error:
            for problem in error.problems[:_MOST_PROBLEMS]:
                click.echo(f"{error.source}:{problem}", err=True)
            if (hidden := len(error.problems) - _MOST_PROBLEMS) > 0:
                click.echo(f"... and {hidden} more problems", err=True)
            ctx.exit(error.exit_code)
        except RolloutError as error:
            click.echo(f"Error: {error.message}", err=True)
            if error.hint:
                click.echo(f"Hint: {error.hint}", err=True)
            ctx.exit(error.exit_code)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(package_name="tidegate", prog_name="rollout")
def cli() -> None:
    """Gradual rollouts kept in git: look at the flags of a flags.yaml, and bump them."""


def _complete_flag(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        flags = _load(ctx.params.get("file") or DEFAULT_FILE).flags
    except RolloutError:
        return []
    return [
        CompletionItem(key, help=flag.description)
        for key, flag in flags.items()
        if key.startswith(incomplete)
    ]


_file_option: Callable[[Any], Any] = click.option(
    "--file",
    "-f",
    default=DEFAULT_FILE,
    show_default=True,
    metavar="PATH",
    type=click.Path(),
    help="The flags file.",
)
_flag_argument: Callable[[Any], Any] = click.argument("flag", shell_complete=_complete_flag)


@cli.command()
@click.argument("path", metavar="[FILE]", required=False, type=click.Path())
@_file_option
@click.pass_context
def check(ctx: click.Context, path: str | None, file: str) -> None:
    """Say all that is wrong with a flags file."""
    if path and ctx.get_parameter_source("file") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("Name the file once, as an argument or with --file.")
    found = _load(path or file)
    click.echo(f"{found.source} is in order: {_count(len(found.flags), 'flag')}")


@cli.command("list")
@_file_option
def list_(file: str) -> None:
    """Show every flag and how far it is rolled out."""
    from rollout.flag import value_text

    flags = _load(file).flags
    if not flags:
        click.echo("no flags")
        return
    now = datetime.now(UTC)
    rows = [("FLAG", "ROLLOUT", "BY", "INSIDE", "OUTSIDE", "OWNER", "EXPIRES")]
    for key, flag in flags.items():
        inside, outside = value_text(flag.inside), value_text(flag.outside)
        state = _state(flag, now)
        rows.append((key, state, flag.bucket_by, inside, outside, flag.owner, flag.expires))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@cli.command()
@_flag_argument
@click.option("--unit", required=True, help="The unit: the value of the flag's bucket_by.")
@click.option(
    "--context",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another attribute, for always_inside and always_outside. May be repeated.",
)
@click.option("--at", metavar="TIME", help="Ask for a time with an offset; now if not given.")
@_file_option
def explain(flag: str, unit: str, attributes: tuple[str, ...], at: str | None, file: str) -> None:
    """Say what FLAG is worth for a unit, and why."""
    from rollout.flags import Flags

    now = _time(at) if at is not None else datetime.now(UTC)
    context = dict(map(_attribute, attributes))
    flags = Flags(_load(file))
    context[flags[flag].bucket_by] = unit
    decision = flags.evaluate_at(now, flag, context)
    if decision.error_code:
        raise InvalidValue(decision.why, hint="give the unit as text")
    click.echo(decision.explain())


@cli.command("set")
@_flag_argument
@click.option("--percent", required=True, metavar="P", help="From 0 to 100, up to three decimals.")
@_file_option
def set_(flag: str, percent: str, file: str) -> None:
    """Bump FLAG to another percentage.

    Changes that one number in the file and nothing else, or nothing at all.
    """
    from rollout import edit, flagfile, source
    from rollout.fields import Wrong, parse_percent
    from rollout.flag import percent_text
    from rollout.rewrite import rewrite

    try:
        threshold = parse_percent(percent)
    except Wrong as wrong:
        raise InvalidValue(f"--percent {wrong.message}", hint=wrong.fix) from None
    source.read(file)  # a wrong path is named as such before anything is locked
    made: Edit | None = None
    off = False

    def change(path: Path) -> tuple[bytes, bytes] | None:
        nonlocal made, off
        data = source.read(path).data
        before = flagfile.parse_bytes(data, file)
        made = edit.set_percent(before, flag, threshold)
        off = not before.flags[flag].enabled
        return (data, made.file.text.encode()) if made else None

    rewrite(Path(file), change)
    if made is None:
        click.echo(f"{flag} is at {percent_text(threshold)} % already; {file} was not touched")
    else:
        click.echo(f"{file}:{made.line}\n-{made.before}\n+{made.after}")
    if off:
        click.echo(f"{flag} is off (enabled: false), so everybody stays outside")


def _load(file: str) -> FlagFile:
    from rollout import flagfile, source

    text = source.read(file)
    return flagfile.parse_bytes(text.data, text.source)


def _state(flag: Flag, now: datetime) -> str:
    from rollout.flag import Ramp, percent_text

    if not flag.enabled:
        return "off"
    state = f"{percent_text(flag.threshold_at(now))} %"
    return f"{state} (ramp)" if isinstance(flag.rollout, Ramp) else state


def _time(text: str) -> datetime:
    from rollout.fields import Wrong, parse_time

    try:
        return parse_time(text)
    except Wrong as wrong:
        raise InvalidValue(f"--at {wrong.message}", hint=wrong.fix) from None


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="--context")
    return name, value


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
