"""What processes hold, as Linux says."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def memory_kb(pid: int) -> int:
    """What a process and its children hold; a page that they share counts once."""
    proc, total = Path("/proc", str(pid)), 0
    with suppress(OSError):  # it may have ended meanwhile
        children = (proc / "task" / proc.name / "children").read_text().split()
        total = sum(memory_kb(int(child)) for child in children)
        shares = (proc / "smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in shares if line.startswith("Pss:"))
    return total
