"""A file of our own making, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rollout.errors import SourceProblem
from rollout.wording import show


def write(path: Path, data: bytes) -> None:
    """Make the file, or replace it; raises SourceProblem, and leaves then what was there."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SourceProblem(
            f"{show(str(path))} cannot be written: {error.strerror or error}",
            hint="give a file in a directory that is there and can be written to",
        ) from None
