"""A file on disk changes from one whole content to another, or not at all.

Follows symbolic links to the real file and keeps its mode. Knows nothing of flags.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rollout.errors import EditRefused
from rollout.wording import show


def rewrite(path: Path, change: Callable[[Path], tuple[bytes, bytes] | None]) -> None:
    """Replace the content of `path` as `change` says, which is given the real path.

    `change` returns (content that it read, content to write), or None to leave the
    file alone. Concurrent rewrites in one directory wait for each other. Raises
    EditRefused if the file cannot be written, or was changed meanwhile by somebody
    who does not lock.
    """
    try:
        real = path.resolve()
        with _alone_in(real.parent):
            contents = change(real)
            if contents is not None:
                _replace(real, *contents)
    except OSError as error:
        raise EditRefused(
            f"{show(str(path))} cannot be written: {error.strerror or error}",
            hint="nothing was changed; check the permissions of the file and its directory",
        ) from None


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Holds the advisory lock of the directory: a lock of the file would go with its inode."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, expected: bytes, new: bytes) -> None:
    if not os.access(path, os.W_OK):
        raise PermissionError(0, "the file is read-only")
    status = path.stat()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(new)
            file.flush()
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fsync(file.fileno())
        if path.read_bytes() != expected:
            raise EditRefused(
                f"{show(str(path))} was changed by somebody else meanwhile",
                hint="nothing was written; look at the file and try again",
            )
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
