"""Who is in, who enters, who leaves, over any number of units. Pure; streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from rollout.evaluate import compile_flag
from rollout.flag import Decision, Flag


class Change(msgspec.Struct, frozen=True):
    """One unit for which two states of a flag decide differently."""

    unit: str
    before: Decision
    after: Decision

    @property
    def enters(self) -> bool:
        """It was outside and will be inside."""
        return self.before.variant == "outside" and self.after.variant == "inside"

    @property
    def leaves(self) -> bool:
        """It was inside and will be thrown out."""
        return self.before.variant == "inside" and self.after.variant == "outside"


def members(flag: Flag, units: Iterable[str], now: datetime) -> Iterator[str]:
    """The units, in their order, that `flag` has inside at `now`."""
    decide = compile_flag(flag, now)
    return (unit for unit in units if decide(unit).variant == "inside")


def changes(before: Flag, after: Flag, units: Iterable[str], now: datetime) -> Iterator[Change]:
    """The units, in their order, whose variant or value differs between two states of a flag."""
    old, new = compile_flag(before, now), compile_flag(after, now)
    for unit in units:
        was, will_be = old(unit), new(unit)
        if (was.variant, was.value) != (will_be.variant, will_be.value):
            yield Change(unit, was, will_be)
