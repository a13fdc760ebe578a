"""A flags file as it is at a revision of a repository, and where it was if it has moved."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from rollout.errors import BadFlagFile, NoSuchSource
from rollout.file import flagfile
from rollout.file.flagfile import LARGEST_BYTES
from rollout.sources import git
from rollout.sources.text import Text
from rollout.wording import show

MOST_CANDIDATES = 50
"""Files of a revision that are looked into for where the flags were before."""


def moved_from(revision: str, path: str, keys: Iterable[str]) -> list[str]:
    """Where the file at `path` may have been at `revision`, relative to the working directory.

    Those are the flags files of that revision that have one of the keys and whose path has
    no file now. Raises SourceProblem as `read` does.
    """
    wanted = set(keys)
    directory, _ = git.whereabouts(path)
    commit, top = git.commit(directory, revision), git.toplevel(directory)
    names = [argument for key in sorted(wanted) for argument in ("-e", key)]
    reply = git.ask(
        top, "grep", "-l", "-I", "-z", "--fixed-strings", *names, commit, "--", "*.yaml", "*.yml"
    )
    listed = reply.out.decode(errors="surrogateescape").split("\0")[:-1]
    candidates = [each.partition(":")[2] for each in listed][:MOST_CANDIDATES]
    return [
        os.path.relpath(top / old)
        for old in candidates
        if not (top / old).exists() and wanted & _keys(top, f"{commit}:{old}")
    ]


def _keys(top: Path, blob: str) -> set[str]:
    reply = git.ask(top, "cat-file", "blob", blob, limit_bytes=LARGEST_BYTES + 1)
    try:
        return set(flagfile.parse_bytes(reply.out, blob).flags)
    except BadFlagFile:
        return set()


def read(revision: str, path: str) -> Text:
    """The text of `path`, relative to the working directory, as for `cat`, at `revision`.

    Raises NoSuchSource when the revision has no such file, and SourceProblem when there
    is no such revision, no repository or no git.
    """
    directory, name = git.whereabouts(path)
    commit = git.commit(directory, revision)
    where = f"{commit}:./{name}"
    reply = git.ask(directory, "cat-file", "blob", where, limit_bytes=LARGEST_BYTES + 1)
    if reply.code > 0:
        raise NoSuchSource(
            f"{show(path)} does not exist at the revision {show(revision)}",
            hint=f"name its path at that revision: git:{revision}:PATH",
        )
    return Text(reply.out, f"git:{revision}:{path}")
