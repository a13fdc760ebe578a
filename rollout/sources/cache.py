"""The last good copy of each address, in the user's own cache directory.

One file per address, named by its hash: a line of JSON (the ETag, and a digest that
tells a torn file) and then the bytes. Its modification time is when the copy was
last known to be current. Files change by being replaced, so that any number of
processes may share them, and one that is killed while it writes leaves the old copy.
Keeping is a convenience: where the directory cannot be used there is no copy, and
no error. Knows nothing of HTTP and of flags.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import msgspec

_LEFTOVER_S = 3600.0
"""A temporary file older than this belongs to a process that was killed."""


class Copy(msgspec.Struct, frozen=True):
    """What was at an address; `checked_at` is Unix time, in seconds."""

    data: bytes
    etag: str
    checked_at: float


def load(address: str) -> Copy | None:
    """The copy of `address`, if there is a whole one."""
    try:
        with _path(address).open("rb") as file:
            checked_at = os.fstat(file.fileno()).st_mtime
            header, data = json.loads(file.readline()), file.read()
        if header["sha256"] == sha256(data).hexdigest():
            return Copy(data, str(header["etag"]), checked_at)
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return None


def save(address: str, data: bytes, etag: str) -> None:
    """Put `data` in the place of the copy that there may be."""
    header = json.dumps({"etag": etag, "sha256": sha256(data).hexdigest()})
    with contextlib.suppress(OSError):
        path = _path(address)
        _own(path.parent)
        _sweep(path.parent)
        # Made with mode 0600. Not synced: after a crash the digest tells a torn file.
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(header.encode() + b"\n" + data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def confirm(address: str) -> None:
    """Note that the copy is current as of now."""
    with contextlib.suppress(OSError):
        os.utime(_path(address))


def _path(address: str) -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("tidegate") / "flags" / sha256(address.encode()).hexdigest()


def _own(directory: Path) -> None:
    """Makes the directory, for this user alone; OSError if it is somebody else's."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(0, "not a directory of ours")
    if status.st_mode & 0o077:
        directory.chmod(0o700)


def _sweep(directory: Path) -> None:
    for path in directory.glob("*.tmp"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - _LEFTOVER_S:
                path.unlink()
