"""Who is in, who enters, who leaves, for batches of units of any number. Pure.

To be inside is to have another variant than the rest: not outside, or not the last. To
leave is to have another one than before where that was not the rest.

A unit is the UTF-8 of its text, the value of the flag's bucket_by, and all that is
known of it: an always_inside by another attribute says nothing here. What these
functions answer is what `evaluate` decides, at the price of the hash.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from rollout.bucketing import Draw, limit
from rollout.flag import EVERYBODY, Flag
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


def members(flag: Flag, units: Sequence[bytes], now: datetime, variant: str = "") -> list[bytes]:
    """The units, in their order, that have the `variant` at `now`: the first, if not given."""
    cut = _cut(flag, now)
    wanted = variant or flag.shares(now)[0].name
    if not cut.always and wanted == cut.names[0]:
        return between(cut.draw, units, 0, cut.ends[0])
    found = zip(units, _variants(cut, units), strict=True)
    return [unit for unit, has in found if has == ("" if wanted == flag.rest else wanted)]


def tally(before: Flag | None, after: Flag | None, units: Sequence[bytes], now: datetime) -> Tally:
    """How many of the units move between two states of a flag at `now`.

    A state that is None has nobody inside: the flag is not there.
    """
    old, new = _cuts(before, after, now)
    if old.draw != new.draw or old.names != new.names or len(old.names) != 2:
        return _tally_of(_variants(old, units), _variants(new, units))
    listed = old.always.keys() | new.always.keys()
    if not listed:
        return _nested(old, new, units)
    others = [unit for unit in units if unit not in listed]
    found = _nested(old, new, others)
    if len(others) < len(units):
        special = [unit for unit in units if unit in listed]
        found = found.plus(_tally_of(_variants(old, special), _variants(new, special)))
    return found


def names(before: Flag | None, after: Flag | None, units: Sequence[bytes], now: datetime) -> Names:
    """The same with the units themselves."""
    old, new = _cuts(before, after, now)
    found = Names([], [], [], [])
    for unit, was, has in zip(units, _variants(old, units), _variants(new, units), strict=True):
        found[_kind(was, has)].append(unit)
    return found


def _kind(was: str, has: str) -> int:
    """The index in Tally and Names; empty is the rest."""
    if not was:
        return 1 if has else 3
    return 0 if was == has else 2


class _Cut(NamedTuple):
    """What decides at one moment: the hash under `draw`, but for the units in `always`.

    `names` are the variants in the order of the buckets, and `ends` the thresholds where
    theirs end. The rest has no name, here and in `always`.
    """

    draw: Draw
    names: tuple[str, ...]
    ends: tuple[int, ...]
    always: Mapping[bytes, str]


def _cut(flag: Flag, now: datetime) -> _Cut:
    shares = flag.shares(now)
    named = {share.name: "" if share.name == flag.rest else share.name for share in shares}
    names = tuple(named.values())
    if not flag.enabled:
        return _nobody(flag.draw, names)
    always: dict[bytes, str] = {}
    for variant, _, lists in reversed(flag.always):  # the first that names a unit counts
        always |= dict.fromkeys(_utf8(lists.get(flag.bucket_by, ())), named[variant])
    return _Cut(flag.draw, names, tuple(share.ends for share in shares), always)


def _cuts(before: Flag | None, after: Flag | None, now: datetime) -> tuple[_Cut, _Cut]:
    old, new = (_cut(flag, now) if flag else None for flag in (before, after))
    known = old or new or _Cut(Draw(""), ("inside", ""), (0, EVERYBODY), {})
    nobody = _nobody(known.draw, known.names)
    return old or nobody, new or nobody


def _nobody(draw: Draw, names: tuple[str, ...]) -> _Cut:
    """All units have the rest."""
    if len(names) == 2:
        return _Cut(draw, names, (0, EVERYBODY), {})
    return _Cut(draw, ("",), (EVERYBODY,), {})


def _utf8(texts: frozenset[str] | tuple[()]) -> list[bytes]:
    return [text.encode() for text in texts]


def _variants(cut: _Cut, units: Sequence[bytes]) -> list[str]:
    """What each unit has, by name; nothing is the rest."""
    names, always = cut.names, cut.always
    places = hashes(cut.draw, units)
    if len(names) == 2:
        most = limit(cut.ends[0])
        found = [names[place >= most] for place in places]
    else:
        limits = [limit(end) for end in cut.ends]
        found = [names[bisect_right(limits, place)] for place in places]
    if not always:
        return found
    return [always.get(unit, has) for unit, has in zip(units, found, strict=True)]


def _tally_of(old: list[str], new: list[str]) -> Tally:
    kinds = Counter(map(_kind, old, new))
    return Tally(*(kinds[kind] for kind in range(4)))


def _nested(old: _Cut, new: _Cut, units: Sequence[bytes]) -> Tally:
    """Under one draw the smaller cohort is part of the larger, so that two counts say all."""
    low, high = sorted((old.ends[0], new.ends[0]))
    wide, narrow = below(old.draw, units, high), limit(low)
    both = len(wide) if low == high else len([place for place in wide if place < narrow])
    moved, rest = len(wide) - both, len(units) - len(wide)
    if new.ends[0] > old.ends[0]:
        return Tally(both, moved, 0, rest)
    return Tally(both, 0, moved, rest)
