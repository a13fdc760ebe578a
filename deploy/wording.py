"""How facts are put in words: short, stable, and safe to show on any screen.

Names, messages and outputs come from apps and servers; nothing of theirs may
move a cursor, change a colour or break a line. Knows no event and prints nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# ECMA-48: control sequences (CSI), strings (OSC, DCS, SOS, PM, APC) and two-character escapes.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]"
)
_DIGEST = re.compile(r"@sha256:([0-9a-f]{12})[0-9a-f]+$")


def printable(text: str, limit: int = 0) -> str:
    """One line of printable characters; with a `limit`, at most so many of them."""
    bare = _SEQUENCE.sub("", text)
    line = " ".join("".join(c if c.isprintable() else " " for c in bare).split())
    return shorten(line, limit) if limit else line


def shorten(text: str, limit: int) -> str:
    """The text, or its beginning and `..` where it is longer than `limit` characters."""
    return text if len(text) <= limit else text[: max(0, limit - 2)].rstrip() + ".."[:limit]


def seconds(duration_s: float) -> str:
    """`0.4 s`, `12.3 s`, `2 min 5 s`, `1 h 2 min`."""
    if duration_s < 59.95:
        return f"{max(0.0, duration_s):.1f} s"
    minutes, rest = divmod(round(duration_s), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def table(
    rows: Sequence[Sequence[str]], *, width: int = 0, droppable: Sequence[str] = ()
) -> list[str]:
    """Aligned columns under the headings in the first row; those that say nothing are left out.

    Where a row is wider than `width`, the `droppable` columns go, the first of
    them first, until all fit or none is left to go.
    """
    clean = [[printable(cell) for cell in row] for row in rows]
    columns = [_padded(column) for column in zip(*clean, strict=True) if any(column[1:])]
    lines = ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]
    dropped = next((each for each in droppable if each in rows[0]), None)
    if not width or dropped is None or max(map(len, lines), default=0) <= width:
        return lines
    at = list(rows[0]).index(dropped)
    kept = [[*row[:at], *row[at + 1 :]] for row in rows]
    return table(kept, width=width, droppable=droppable)


def _padded(column: Sequence[str]) -> list[str]:
    width = max(map(len, column))
    return [cell.ljust(width) for cell in column]


def count(number: int, noun: str) -> str:
    """`1 machine`, `4 machines`, `2 passes`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts `web-2` before `web-10`."""
    parts = re.split(r"([0-9]{1,18})", name)
    return [(int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)]


def short_image(image: str) -> str:
    """The image without its registry and with twelve digits of its digest, as `docker` shows it."""
    return printable(_DIGEST.sub(r"@\1", image.rsplit("/", 1)[-1]))


def short_version(version: str) -> str:
    """A version by its end: those of one machine are ULIDs and begin alike."""
    clean = printable(version)
    return clean if len(clean) <= 12 else f"..{clean[-8:]}"
