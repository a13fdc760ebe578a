"""What writing a file changes, and reading it does not."""

from __future__ import annotations

from pathlib import Path


def written(file: Path) -> tuple[int, int, int, int]:
    """Inode, mode, size in bytes and time of the last write in ns; not that of the last read."""
    found = file.stat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns
