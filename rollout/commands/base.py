"""The flags to compare with, of a file that may be new, or may have been elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import click

from rollout.commands import options
from rollout.errors import EditRefused, NoSuchSource
from rollout.flag import Flag
from rollout.sources import gitsource
from rollout.sources.source import GIT, beside, git_parts
from rollout.wording import show


def base_flags(base: str, path: str, keys: Iterable[str]) -> Mapping[str, Flag]:
    """The flags of `base`, to compare those of the file at `path`, whose keys these are, with.

    A git:REV that names no path means the same path. Where the revision has no such file,
    the one that has moved is followed, which standard error says; without one the flags
    are new. Raises NoSuchSource for what was named and is not there, and EditRefused if
    several files may be the one.
    """
    where = beside(base, path)
    try:
        return options.load(where).flags
    except NoSuchSource as error:
        if where == base:  # the file was named, so it should be there
            raise
        missing = error.message
    revision = git_parts(base)[0]
    before = gitsource.moved_from(revision, path, keys)
    if len(before) > 1:
        raise EditRefused(
            f"the flags of {show(path)} were in {' and '.join(map(show, before))}",
            hint=f"name the file to compare with: {GIT}{revision}:{before[0]}",
        )
    if not before:
        click.echo(f"Note: every flag is new: {missing}", err=True)
        return {}
    click.echo(f"Note: {show(path)} was {show(before[0])} at {show(revision)}", err=True)
    return options.load(f"{GIT}{revision}:{before[0]}").flags
