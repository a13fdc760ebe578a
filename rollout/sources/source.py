"""Where the text of the flags comes from: the file in the package, a path, an address, or git.

`read` is the only door, so that a new kind of source is one more branch here.
Gives bytes and a name for them, and does not look inside.
"""

from __future__ import annotations

import os
from pathlib import Path

from rollout.errors import NoSuchSource, SourceProblem
from rollout.file.flagfile import LARGEST_BYTES
from rollout.sources.text import Text
from rollout.wording import show

GIT = "git:"
DEFAULT_PATH = "flags.yaml"

_PACKAGE = Path(__file__).parents[1]


def read(spec: str | os.PathLike[str] | None = None) -> Text:
    """The text at `spec`, a path, URL or git:REV; of the bundled flags file without `spec`.

    Raises NoSuchSource when there is none, SourceProblem when it cannot be had otherwise,
    and BadFlagFile when there is only a text at the URL that does not parse.
    """
    if spec is None:
        return Text(_bytes(bundled_path()), "the bundled flags.yaml")
    where = os.fspath(spec)
    if "://" in where:
        from rollout.sources import http_source

        return http_source.read(where)
    if where.startswith(GIT):
        from rollout.sources import gitsource

        revision, path = git_parts(where)
        return gitsource.read(revision, path or DEFAULT_PATH)
    return Text(_bytes(Path(where)), where)


def git_parts(spec: str) -> tuple[str, str]:
    """`git:REV:PATH` -> (REV, PATH); PATH is empty if `spec` names none."""
    revision, _, path = spec.removeprefix(GIT).partition(":")
    return revision, path


def beside(spec: str, path: str) -> str:
    """`spec` with `path` for its PATH if it is a `git:REV` that names none."""
    if not spec.startswith(GIT) or git_parts(spec)[1]:
        return spec
    return f"{GIT}{git_parts(spec)[0]}:{path}"


def changeable(spec: str) -> Path:
    """The path that `spec` is; raises SourceProblem for what can only be read."""
    if "://" in spec or spec.startswith(GIT):
        raise SourceProblem(
            f"{show(spec)} can be read, but not changed",
            hint="change the file in a checkout, and commit it",
        )
    return Path(spec)


def bundled_path() -> Path:
    """The flags file that ships with the package; in an editable install the live one itself."""
    shipped = _PACKAGE / "flags.yaml"
    return shipped if shipped.exists() else _PACKAGE.parent / "flags.yaml"


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        hint = "name the flags file, or go to the directory that has it"
        if _is_revision(str(path)):
            hint = f"did you mean {GIT}{path}?"
        raise NoSuchSource(f"{show(str(path))} does not exist", hint=hint) from None
    except IsADirectoryError:
        raise SourceProblem(
            f"{show(str(path))} is a directory", hint="name the flags file in it"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SourceProblem(
            f"{show(str(path))} cannot be read: {reason}", hint="check the path and its permissions"
        ) from None


def _is_revision(text: str) -> bool:
    """Whether git knows the text, or what stands before its first colon, as a revision."""
    from rollout.sources import git

    try:
        git.commit(Path.cwd(), text.partition(":")[0])
    except (SourceProblem, OSError):
        return False
    return True
