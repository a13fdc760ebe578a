"""`rollout set`: one number in the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout.commands import options

if TYPE_CHECKING:
    from rollout.edit import Edit


@click.command("set")
@options.flag_argument
@click.option("--percent", required=True, metavar="P", help="From 0 to 100, up to three decimals.")
@options.file_option
def set_(flag: str, percent: str, file: str) -> None:
    """Bump FLAG to another percentage.

    Changes that one number in the file and nothing else, or nothing at all.
    """
    from rollout import edit, flagfile, source
    from rollout.flag import percent_text
    from rollout.rewrite import rewrite

    threshold = options.parse_percent(percent, "--percent")
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
