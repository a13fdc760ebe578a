"""Who is in, who enters, who leaves, for batches of units of any number. Pure.

A unit is the UTF-8 of its text, the value of the flag's bucket_by, and all that is
known of it: an always_inside by another attribute says nothing here. What these
functions answer is what `evaluate` decides, at the price of the hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import and_
from typing import NamedTuple

from rollout.bucketing import Draw, limit
from rollout.flag import Flag
from rollout.review.bulk import below, between, hashes


class Tally(NamedTuple):
    """How many units stay inside, enter, leave and stay outside between two states."""

    stays_inside: int = 0
    enters: int = 0
    leaves: int = 0
    stays_outside: int = 0

    def plus(self, other: Tally) -> Tally:
        """The tally of both batches."""
        return Tally(*map(sum, zip(self, other, strict=True)))

    @property
    def inside_before(self) -> int:
        """How many were inside."""
        return self.stays_inside + self.leaves

    @property
    def inside_after(self) -> int:
        """How many will be inside."""
        return self.stays_inside + self.enters


class Names(NamedTuple):
    """The units themselves, in their order, where Tally has their number."""

    stays_inside: list[bytes]
    enters: list[bytes]
    leaves: list[bytes]
    stays_outside: list[bytes]


def members(flag: Flag, units: Sequence[bytes], now: datetime) -> list[bytes]:
    """The units, in their order, that `flag` has inside at `now`."""
    cut = _cut(flag, now)
    if not cut.always:
        return between(cut.draw, units, 0, cut.threshold)
    return [unit for unit, inside in zip(units, _inside(cut, units), strict=True) if inside]


def tally(before: Flag | None, after: Flag | None, units: Sequence[bytes], now: datetime) -> Tally:
    """How many of the units move between two states of a flag at `now`.

    A state that is None has nobody inside: the flag is not there.
    """
    old, new = _cuts(before, after, now)
    if old.draw != new.draw:
        return _tally_of(_inside(old, units), _inside(new, units))
    listed = old.always.keys() | new.always.keys()
    if not listed:
        return _nested(old, new, units)
    others = [unit for unit in units if unit not in listed]
    found = _nested(old, new, others)
    if len(others) < len(units):
        special = [unit for unit in units if unit in listed]
        found = found.plus(_tally_of(_inside(old, special), _inside(new, special)))
    return found


def names(before: Flag | None, after: Flag | None, units: Sequence[bytes], now: datetime) -> Names:
    """The same with the units themselves."""
    old, new = _cuts(before, after, now)
    found = Names([], [], [], [])
    for unit, was, is_now in zip(units, _inside(old, units), _inside(new, units), strict=True):
        found[(0 if is_now else 2) if was else (1 if is_now else 3)].append(unit)
    return found


class _Cut(NamedTuple):
    """What decides at one moment: the hash under `draw`, but for the units in `always`."""

    draw: Draw
    threshold: int
    always: Mapping[bytes, bool]


def _cut(flag: Flag, now: datetime) -> _Cut:
    if not flag.enabled:
        return _Cut(flag.draw, 0, {})
    always = dict.fromkeys(_utf8(flag.always_inside.get(flag.bucket_by, ())), True)
    always |= dict.fromkeys(_utf8(flag.always_outside.get(flag.bucket_by, ())), False)
    return _Cut(flag.draw, flag.threshold_at(now), always)


def _cuts(before: Flag | None, after: Flag | None, now: datetime) -> tuple[_Cut, _Cut]:
    nobody = _Cut((before or after or _NOTHING).draw, 0, {})
    return (_cut(before, now) if before else nobody), (_cut(after, now) if after else nobody)


_NOTHING = Flag(key="", bucket_by="", inside=0, outside=0, rollout=0, salt="")


def _utf8(texts: frozenset[str] | tuple[()]) -> list[bytes]:
    return [text.encode() for text in texts]


def _inside(cut: _Cut, units: Sequence[bytes]) -> list[bool]:
    most, always = limit(cut.threshold), cut.always
    places = hashes(cut.draw, units)
    if not always:
        return [place < most for place in places]
    found = zip(units, places, strict=True)
    return [always.get(unit, place < most) for unit, place in found]


def _tally_of(old: list[bool], new: list[bool]) -> Tally:
    before, after, both = sum(old), sum(new), sum(map(and_, old, new))
    return Tally(both, after - both, before - both, len(old) - before - after + both)


def _nested(old: _Cut, new: _Cut, units: Sequence[bytes]) -> Tally:
    """Under one draw the smaller cohort is part of the larger, so that two counts say all."""
    low, high = sorted((old.threshold, new.threshold))
    wide, narrow = below(old.draw, units, high), limit(low)
    both = len(wide) if low == high else len([place for place in wide if place < narrow])
    moved, rest = len(wide) - both, len(units) - len(wide)
    if new.threshold > old.threshold:
        return Tally(both, moved, 0, rest)
    return Tally(both, 0, moved, rest)
