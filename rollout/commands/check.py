"""`rollout check`: for people, for programs, and as annotations on GitHub."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from rollout.commands import options
from rollout.commands.base import base_flags
from rollout.commands.printing import print_json
from rollout.errors import BadFlagFile
from rollout.file.flagfile import FlagFile
from rollout.flag import Flag
from rollout.review.hygiene import STANDING_DAYS, Facts, Finding, inspect
from rollout.sources import history
from rollout.wording import count, some

_MOST_FINDINGS = 50


@options.command()
@click.argument("paths", metavar="[FILE]...", nargs=-1, type=click.Path())
@click.option("--strict", is_flag=True, help="Also report what good order asks for.")
@click.option("--base", metavar="SOURCE", help="Compare with these flags: git:REV, a file, a URL.")
@click.option(
    "--max-step",
    "most",
    metavar="P",
    callback=options.threshold,
    help="The most by which a percentage may rise at once.",
)
@options.output_option
@options.at_option
@options.file_option
@click.pass_context
def check(
    ctx: click.Context,
    paths: tuple[str, ...],
    strict: bool,
    base: str | None,
    most: int | None,
    output: str,
    now: datetime,
    file: str,
) -> None:
    """Say all that is wrong with a flags file.

    With --strict every flag needs an owner and an expiry that is not past, may not share
    its salt by accident, and may hold nothing that can hardly be meant; with --base its
    salt must be the one it was; with --max-step no percentage may rise by more. A flag that
    is at 100 % for over 30 days is named, with the places in the code that name it, as one
    to remove.

    In GitHub Actions (GITHUB_ACTIONS=true) the findings are annotations, too.
    """
    if paths and ctx.get_parameter_source("file") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("Name the file once, as an argument or with --file.")
    if not strict and (base is not None or most is not None):
        raise click.UsageError("--base and --max-step go with --strict.")
    checked = [_check(path, strict, base, most, now) for path in paths or (file,)]
    if output == "json":
        _print_json(checked)
    else:
        for each in checked:
            _print(each)
    if not all(each.in_order for each in checked):
        ctx.exit(1)


class Checked(NamedTuple):
    """A file with the number of its flags and what should be otherwise in it."""

    path: str
    flags: int
    findings: Sequence[Finding]

    @property
    def in_order(self) -> bool:
        """Whether nothing is worse than a warning."""
        return all(finding.level == "warning" for finding in self.findings)


def _check(path: str, strict: bool, base: str | None, most: int | None, now: datetime) -> Checked:
    try:
        found = options.load(path)
    except BadFlagFile as error:
        return Checked(path, 0, [Finding(rule="file", **p._asdict()) for p in error.problems])
    findings = _strict(path, found, base, most, now) if strict else []
    return Checked(path, len(found.flags), findings)


def _strict(
    path: str, found: FlagFile, base: str | None, most: int | None, now: datetime
) -> list[Finding]:
    standing = history.standing(path, found.flags, now, STANDING_DAYS)
    if standing.unknown:
        keys = ", ".join(sorted(standing.unknown))
        click.echo(
            f"Note: {path}: not checked: history: this clone is shallow, so that nothing tells"
            f" since when these are at 0 or 100 %: {keys}; clone with the whole history",
            err=True,
        )
    facts = Facts(
        now=now,
        base=None if base is None else _base(base, path, found),
        max_step=most,
        complete=standing.complete,
        idle=standing.idle,
        places=history.places(path, sorted(standing.complete)),
    )
    return inspect(found, facts)


def _base(base: str, path: str, found: FlagFile) -> Mapping[str, Flag] | None:
    """The flags to compare with; None if they cannot be read."""
    try:
        return base_flags(base, path, found.flags)
    except BadFlagFile as error:
        # A broken base must not keep the change that fixes it out.
        click.echo(f"Note: nothing is compared with the base: {error.message}", err=True)
        return None


def _print(checked: Checked) -> None:
    path, flags, findings = checked
    for finding in findings[:_MOST_FINDINGS]:
        click.echo(f"{path}:{finding}", err=True)
    if (hidden := len(findings) - _MOST_FINDINGS) > 0:
        click.echo(f"... and {hidden} more problems", err=True)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for finding in findings[:_MOST_FINDINGS]:
            click.echo(_annotation(path, finding))
    if checked.in_order:
        warned = f", {count(len(findings), 'warning')}" if findings else ""
        click.echo(f"{path} is in order: {count(flags, 'flag')}{warned}")


def _annotation(path: str, finding: Finding) -> str:
    """A workflow command of GitHub Actions; the path is relative to the checkout."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    shown = Path(path)
    if workspace and (full := shown.resolve()).is_relative_to(Path(workspace).resolve()):
        shown = full.relative_to(Path(workspace).resolve())
    where = {
        "file": str(shown),
        "line": str(finding.line),
        "col": str(finding.column),
        "title": f"rollout: {finding.rule}",
    }
    properties = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in where.items())
    text = f"{finding.message}; {finding.fix}"
    if finding.places:
        text += "\n" + "\n".join(some(finding.places))
    return f"::{finding.level} {properties}::{_escaped(text)}"


def _escaped(text: str, also: str = "") -> str:
    for sign in "%\r\n" + also:
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def _print_json(checked: Sequence[Checked]) -> None:
    files = [
        {
            "file": each.path,
            "flags": each.flags,
            "in_order": each.in_order,
            "findings": msgspec.to_builtins(each.findings),
        }
        for each in checked
    ]
    print_json({"version": 1, "files": files})
