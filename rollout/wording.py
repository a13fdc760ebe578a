"""Words for messages: counted, shown on one line, and guessed. Knows nothing of flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_MOST_SHOWN = 10


def show(text: str) -> str:
    """`text` as it can stand in a message of one line: quoted if odd, cut if long, no controls."""
    if text and len(text) <= 60 and text.isprintable() and " " not in text:
        return text
    return f'"{printable(text if len(text) <= 60 else text[:57] + "...")}"'


def printable(text: str) -> str:
    """`text` with escapes in the place of what no terminal should get."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def count(number: int, noun: str) -> str:
    """ "1 flag", "2 flags", "10,000 units"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def some(names: Sequence[str]) -> list[str]:
    """The first ten, with "..." for the rest: as many as a person reads."""
    return [*names[:_MOST_SHOWN], *(["..."] if len(names) > _MOST_SHOWN else [])]


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint that names the known word of which `word` is most likely a slip."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else otherwise


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with aligned columns, two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
