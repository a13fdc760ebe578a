"""Columns of text, aligned and safe to show."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.wording import printable


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    clean = [tuple(printable(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in clean
    ]
