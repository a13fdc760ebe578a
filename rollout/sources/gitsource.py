"""`git:REV` and `git:REV:PATH`: a flags file as it is at a revision of a repository.

Gives bytes, as rollout/source.py does, and does not look inside.
"""

from __future__ import annotations

from rollout.errors import NoSuchSource, show
from rollout.file.flagfile import LARGEST_BYTES
from rollout.sources import git
from rollout.sources.source import Text

PREFIX = "git:"
DEFAULT_PATH = "flags.yaml"


def read(spec: str) -> Text:
    """The text that `spec` names; PATH is relative to the working directory, as for `cat`.

    Raises NoSuchSource when the revision has no such file, and SourceProblem when there
    is no such revision, no repository or no git.
    """
    revision, path = split(spec)
    directory, name = git.whereabouts(path or DEFAULT_PATH)
    commit = git.commit(directory, revision)
    where = f"{commit}:./{name}"
    reply = git.ask(directory, "cat-file", "blob", where, limit_bytes=LARGEST_BYTES + 1)
    if reply.code > 0:
        raise NoSuchSource(
            f"{show(path or DEFAULT_PATH)} does not exist at the revision {show(revision)}",
            hint=f"name its path at that revision: git:{revision}:PATH",
        )
    return Text(reply.out, f"git:{revision}:{path or DEFAULT_PATH}")


def split(spec: str) -> tuple[str, str]:
    """`git:REV:PATH` -> (REV, PATH); PATH is empty if `spec` names none."""
    revision, _, path = spec.removeprefix(PREFIX).partition(":")
    return revision, path


def beside(spec: str, path: str) -> str:
    """`spec` with `path` for its PATH if it is a `git:REV` that names none."""
    if not spec.startswith(PREFIX):
        return spec
    revision, named = split(spec)
    return spec if named else f"{PREFIX}{revision}:{path}"
