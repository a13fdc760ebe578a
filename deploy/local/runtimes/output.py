"""What a machine writes, as lines that are safe to show."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Callable

Say = Callable[[str], None]
"""Takes one line of a machine's output."""

_LINE_LIMIT_BYTES = 16 * 1024  # a longer line is shown in pieces
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


async def say_lines(chunks: AsyncIterable[bytes], say: Say) -> None:
    """Say each line of the output, until it ends or breaks: then what is left of the last one."""
    rest = b""
    try:
        async for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                say(_plain(line))
            if len(rest) > _LINE_LIMIT_BYTES:
                say(_plain(rest))
                rest = b""
    finally:
        if rest:
            say(_plain(rest))


def _plain(line: bytes) -> str:
    return _UNPRINTABLE.sub("", line.decode(errors="replace"))
