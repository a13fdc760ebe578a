"""Bucketing for millions of units: lists of UTF-8 bytes in, the ones that are inside out.

The same standard as rollout/bucketing.py, at little more than the price of the hash.
Give it lists of some thousand units, of any length, and memory stays constant.
Pure; knows nothing of flags or files.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmh3 import mmh3_32_uintdigest as digest

from rollout import bucketing
from rollout.bucketing import Draw, limit


def hashes(draw: Draw, units: Sequence[bytes]) -> list[int]:
    """The hash of each unit, 0..2**32-1; `bucketing.bucket_of` makes it a bucket.

    Units are the UTF-8 of text, which is not checked here. Raises InvalidValue
    for a salt that UTF-8 cannot carry, as all functions here do.
    """
    heads = bucketing.heads(draw)
    try:
        return [digest(heads[len(unit)] + unit) for unit in units]
    except IndexError:  # a unit of more than 255 bytes is among them
        head = bucketing.head
        return [digest(head(draw, len(unit)) + unit) for unit in units]


def below(draw: Draw, units: Sequence[bytes], threshold: int) -> list[int]:
    """The hashes of the units that are inside at `threshold`, in their order.

    Counting needs no more than this, and the many that are outside take no memory.
    """
    heads, most = bucketing.heads(draw), limit(threshold)
    try:
        return [place for unit in units if (place := digest(heads[len(unit)] + unit)) < most]
    except IndexError:
        return [place for place in hashes(draw, units) if place < most]


def between(draw: Draw, units: Sequence[bytes], low: int, high: int) -> list[bytes]:
    """The units, in their order, whose bucket is in low..high-1, two thresholds.

    With low 0 those are the units inside at `high`; otherwise the ones that a bump
    from `low` to `high` adds, and the ones that going back removes.
    """
    heads, least, most = bucketing.heads(draw), limit(low), limit(high)
    try:
        if not least:
            return [unit for unit in units if digest(heads[len(unit)] + unit) < most]
        return [unit for unit in units if least <= digest(heads[len(unit)] + unit) < most]
    except IndexError:
        found = zip(units, hashes(draw, units), strict=True)
        return [unit for unit, place in found if least <= place < most]
