"""A flags file as it is at a revision of a repository.

Gives bytes, as all sources do, and does not look inside.
"""

from __future__ import annotations

from rollout.errors import NoSuchSource
from rollout.file.flagfile import LARGEST_BYTES
from rollout.sources import git
from rollout.sources.text import Text
from rollout.wording import show


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
