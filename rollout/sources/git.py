"""Questions to git, each bounded in time and in the size of its answer; never a change.

Knows nothing of flags.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from rollout.errors import SourceProblem
from rollout.wording import show

TIMEOUT_S = 10.0


class Reply(msgspec.Struct, frozen=True):
    """What git wrote, cut at the limit asked for, and its exit code (negative when cut short)."""

    code: int
    out: bytes
    error: str

    @property
    def ok(self) -> bool:
        """Whether git did what it was asked."""
        return self.code == 0

    @property
    def text(self) -> str:
        """The output without the newline at its end."""
        return self.out.decode(errors="backslashreplace").rstrip("\n")


def ask(
    directory: Path, *arguments: str, limit_bytes: int = 1 << 20, timeout_s: float = TIMEOUT_S
) -> Reply:
    """Run `git arguments` in `directory`; raises SourceProblem if git is not there or hangs."""
    command = ["git", "--no-pager", "--no-optional-locks", "-C", str(directory), *arguments]
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        process = subprocess.Popen(  # noqa: S603 -- no shell; a revision never begins with "-"
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    except FileNotFoundError:
        raise SourceProblem("git is not installed", hint="install git, or give a file") from None
    except (OSError, ValueError) as error:
        raise SourceProblem(f"git cannot be run: {error}", hint="check the path given") from None
    errors: list[bytes] = []
    with process, _deadline(process, timeout_s) as late:
        assert process.stdout is not None  # noqa: S101 -- PIPE above
        assert process.stderr is not None  # noqa: S101 -- PIPE above
        reader = threading.Thread(target=_collect, args=(process.stderr, errors), daemon=True)
        reader.start()
        out = process.stdout.read(limit_bytes)
        if len(out) == limit_bytes:
            process.kill()
        code = process.wait()
        reader.join()
    if late.is_set():
        raise SourceProblem(
            f"git did not answer within {timeout_s:g} s",
            hint=f"try it by hand: git {' '.join(arguments[:3])} ...",
        )
    return Reply(code, out, b"".join(errors).decode(errors="replace").strip())


def toplevel(directory: Path) -> Path:
    """The root of the work tree that `directory` is in; raises SourceProblem if there is none."""
    reply = ask(directory, "rev-parse", "--show-toplevel")
    if not reply.ok:
        said = reply.error.splitlines()[0].removeprefix("fatal: ") if reply.error else "no answer"
        if "not a git repository" in reply.error:
            raise SourceProblem(
                f"{show(str(directory))} is not in a git repository",
                hint="go to the directory of the repository, or give a file",
            )
        raise SourceProblem(f"git cannot be asked: {said}", hint="see what git status says there")
    return Path(reply.text)


def commit(directory: Path, revision: str) -> str:
    """The full name of the commit that `revision` means; of `A...B` where B branched off from A.

    Raises SourceProblem if it means none. As for git, an end that is left out is HEAD.
    """
    toplevel(directory)
    one, dots, other = revision.partition("...")
    if not dots:
        return _commit(directory, revision)
    ends = [_commit(directory, end or "HEAD") for end in (one, other)]
    reply = ask(directory, "merge-base", *ends)
    if not reply.ok:
        hint = _SHALLOW if is_shallow(directory) else "name one revision to compare with"
        raise SourceProblem(f"git knows no common ancestor of {show(revision)}", hint=hint)
    return reply.text


def is_shallow(directory: Path) -> bool:
    """Whether the clone lacks the older part of its history."""
    return ask(directory, "rev-parse", "--is-shallow-repository").text == "true"


_SHALLOW = "this clone is shallow: fetch the revision, or clone with the whole history"


def _commit(directory: Path, revision: str) -> str:
    if not revision or revision.startswith("-") or not revision.isprintable():
        raise SourceProblem(
            f"git: {show(revision)} is not a revision", hint="write git:REV, such as git:main"
        )
    reply = ask(directory, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if not reply.ok:
        hint = "see git branch --all and git log for what there is"
        if is_shallow(directory):
            hint = _SHALLOW
        raise SourceProblem(f"git knows no revision {show(revision)}", hint=hint)
    return reply.text


def whereabouts(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """(the nearest directory above `path` that exists, the rest of the path) for `git -C`."""
    full = Path(os.path.abspath(path))  # noqa: PTH100 -- Path.resolve would follow links
    if full.exists():
        full = full.resolve()
    directory = full.parent
    while not directory.is_dir():
        directory = directory.parent
    return directory, str(full.relative_to(directory))


def _collect(stream: IO[bytes], into: list[bytes]) -> None:
    into.append(stream.read(1 << 16))
    while stream.read(1 << 16):
        pass


@contextmanager
def _deadline(process: subprocess.Popen[bytes], timeout_s: float) -> Iterator[threading.Event]:
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
