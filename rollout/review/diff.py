"""Two states of the flags -> what changed, in words, and whether it throws somebody out. Pure.

To be thrown out is to be inside before and outside after. Some changes say by
themselves whom they throw out; for the others it takes the units: rollout/cohort.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from rollout.errors import show
from rollout.evaluate import compile_flag
from rollout.flag import Flag, Ramp, Step, percent_text, time_text, value_text
from rollout.review.cohort import Names, Tally, names, tally

EVERYBODY = 100_000


class Change(msgspec.Struct, frozen=True):
    """One thing that changed.

    `what` is the key in the file, or "flag" when the whole flag came or went; `text` is
    for people. `evicts`: units may be thrown out by it. `counted`: a list of units tells
    whether they are; otherwise no list does, and `evicts` stands.
    """

    what: str
    text: str
    evicts: bool = False
    counted: bool = True


class FlagDiff(msgspec.Struct, frozen=True):
    """All that changed in one flag; `before` or `after` is None if it was added or removed."""

    key: str
    before: Flag | None
    after: Flag | None
    changes: tuple[Change, ...]

    @property
    def countable(self) -> bool:
        """Whether a list of units tells who moves: the same attribute must be the unit."""
        if self.before is None or self.after is None:
            return True
        return self.before.bucket_by == self.after.bucket_by

    @property
    def bucket_by(self) -> str:
        """The attribute that is the unit."""
        flag = self.after or self.before
        return flag.bucket_by if flag else ""

    def thrown_out(self, counts: Tally | None) -> str:
        """Whom this throws out, in words; empty if nobody. `counts` is None without units."""
        if counts is not None and counts.leaves and not self._is_clean_up:
            return f"{counts.leaves:,} of {sum(counts):,} units"
        for change in self.changes:
            if change.evicts and not (change.counted and counts is not None):
                return f"some of its units ({change.what}: {change.text})"
        return ""

    @property
    def _is_clean_up(self) -> bool:
        """Whether the flag goes when its code is gone: nobody is left to be thrown out."""
        return self.after is None and not any(change.evicts for change in self.changes)

    def changes_value(self, counts: Tally) -> int:
        """How many units neither enter nor leave but get another value."""
        inside, outside = self.value_changes
        return inside * counts.stays_inside + outside * counts.stays_outside

    @property
    def value_changes(self) -> tuple[bool, bool]:
        """Whether the value changes for those who stay (inside, outside)."""
        if self.before is None or self.after is None:
            return False, False
        return (
            _differ(self.before.inside, self.after.inside),
            _differ(self.before.outside, self.after.outside),
        )


def diff(old: Mapping[str, Flag], new: Mapping[str, Flag], now: datetime) -> tuple[FlagDiff, ...]:
    """The flags that differ, in the order of `new`, then those removed.

    Cohorts are compared as they are at `now`.
    """
    keys = [*new, *(key for key in old if key not in new)]
    found = ((key, old.get(key), new.get(key)) for key in keys)
    return tuple(
        FlagDiff(key, before, after, tuple(_changes(before, after, now)))
        for key, before, after in found
        if before != after
    )


def count(
    diffs: Sequence[FlagDiff],
    batches: Iterable[Sequence[bytes]],
    now: datetime,
    on_names: Callable[[FlagDiff, Names], None] | None = None,
) -> dict[str, Tally]:
    """How many units of the batches move, for each flag of `diffs`, in one pass.

    `on_names` is given the units themselves, batch by batch, at three times the price.
    """
    totals = {each.key: Tally() for each in diffs}
    for batch in batches:
        for each in diffs:
            if on_names:
                found = names(each.before, each.after, batch, now)
                on_names(each, found)
                counts = Tally(*map(len, found))
            else:
                counts = tally(each.before, each.after, batch, now)
            totals[each.key] = totals[each.key].plus(counts)
    return totals


def _changes(before: Flag | None, after: Flag | None, now: datetime) -> Iterator[Change]:
    if before is None:
        if after is not None:
            yield Change("flag", f"new, {_stands(after, now)}")
        return
    if after is None:
        yield _removed(before, now)
        return
    if before.enabled != after.enabled:
        yield _switched(before, after, now)
    if before.rollout != after.rollout:
        yield from _rollout(before, after, now)
    for what in ("bucket_by", "salt"):
        yield from _drawn_anew(what, before, after, now)
    for what in ("always_outside", "always_inside"):
        yield from _lists(what, before, after, now)
    yield from _words(before, after)


def _words(before: Flag, after: Flag) -> Iterator[Change]:
    """What moves nobody."""
    for what in ("inside", "outside"):
        was, is_now = getattr(before, what), getattr(after, what)
        if _differ(was, is_now):
            text = f"{value_text(was)} -> {value_text(is_now)}: another value for those {what}"
            yield Change(what, text)
    for what in ("owner", "expires", "description"):
        was, is_now = getattr(before, what), getattr(after, what)
        if was != is_now:
            yield Change(
                what, f"{show(was) if was else 'none'} -> {show(is_now) if is_now else 'none'}"
            )


def _drawn_anew(what: str, before: Flag, after: Flag, now: datetime) -> Iterator[Change]:
    was, is_now = getattr(before, what), getattr(after, what)
    if was != is_now:
        # At 100 % everybody is inside under any salt, but not without the attribute.
        may_miss = what == "bucket_by" or _threshold(after, now) < EVERYBODY
        evicts = _threshold(before, now) > 0 and may_miss
        text = f"{show(was)} -> {show(is_now)}: everybody is drawn anew"
        yield Change(what, text, evicts, counted=what == "salt")


def _removed(flag: Flag, now: datetime) -> Change:
    threshold = _threshold(flag, now)
    if threshold == EVERYBODY:
        text = "removed at 100 %: no code may ask for it any more"
        return Change("flag", text)
    text = f"removed, {_stands(flag, now)}: whoever is inside is thrown out"
    inside = threshold > 0 or (flag.enabled and any(flag.always_inside.values()))
    if not inside:
        return Change("flag", f"removed, {_stands(flag, now)}: nobody was inside")
    return Change("flag", text, evicts=True, counted=threshold > 0 and not _unseen(flag))


def _switched(before: Flag, after: Flag, now: datetime) -> Change:
    if after.enabled:
        return Change("enabled", f"switched on, {_stands(after, now)}")
    inside = before.threshold_at(now) > 0 or any(before.always_inside.values())
    text = "switched off: everybody is outside"
    return Change("enabled", text, evicts=inside, counted=not _unseen(before))


def _rollout(before: Flag, after: Flag, now: datetime) -> Iterator[Change]:
    old, new = before.rollout, after.rollout
    was, is_now = before.threshold_at(now), after.threshold_at(now)
    moves = _moves(was, is_now) if before.enabled and after.enabled else "the flag is off"
    lowered = before.enabled and after.enabled and is_now < was
    if isinstance(old, int) and isinstance(new, int):
        yield Change("percent", f"{_arrow(was, is_now)}: {moves}", lowered)
        return
    text = f"{_arrow(was, is_now)} now: {moves}" if was != is_now else f"stays at {_percent(was)}"
    if isinstance(old, Ramp) and isinstance(new, Ramp):
        text = f"{_pausing(old, new)}, {text}"
    else:
        text = f"{'a ramp in place of percent' if isinstance(new, Ramp) else 'no ramp'}, {text}"
    if not isinstance(new, Ramp):
        yield Change("ramp", text, lowered)
        return
    later = [step for step in new.steps if step.at > now]
    if later:
        steps = "1 step" if len(later) == 1 else f"{len(later)} steps"
        text += f"; {steps} to come, {_percent(later[-1].threshold)} on {time_text(later[-1].at)}"
    yield Change("ramp", text, lowered)
    for step, level in zip(later, [is_now, *(step.threshold for step in later)], strict=False):
        if step.threshold < level and not _falls_anyway(old, step):
            falls = f"goes down on {time_text(step.at)}, {_arrow(level, step.threshold)}"
            yield Change("ramp", f"{falls}: the last in leave first", after.enabled, counted=False)


def _pausing(old: Ramp, new: Ramp) -> str:
    if new.paused and not old.paused:
        return f"paused since {time_text(new.paused)}"
    if old.paused and not new.paused:
        return "no longer paused"
    return "another ramp"


def _falls_anyway(old: int | Ramp, step: Step) -> bool:
    return isinstance(old, Ramp) and step in old.steps


def _lists(what: str, before: Flag, after: Flag, now: datetime) -> Iterator[Change]:
    was, is_now = getattr(before, what), getattr(after, what)
    for attribute in dict.fromkeys((*was, *is_now)):
        old, new = was.get(attribute, frozenset()), is_now.get(attribute, frozenset())
        for values, verb in ((new - old, "added"), (old - new, "removed")):
            if values:
                names = ", ".join(sorted(map(show, values)))
                evicts = _list_evicts(what, verb, attribute, values, before, after, now)
                yield Change(what, f"{attribute} {names} {verb}", evicts, counted=False)


def _list_evicts(
    what: str,
    verb: str,
    attribute: str,
    values: frozenset[str],
    before: Flag,
    after: Flag,
    now: datetime,
) -> bool:
    if (what, verb) not in {("always_outside", "added"), ("always_inside", "removed")}:
        return False
    if not before.enabled:
        return False
    if attribute == before.bucket_by == after.bucket_by:
        # The names are units: ask for each of them.
        old, new = compile_flag(before, now), compile_flag(after, now)
        moved = (
            old(unit).variant == "inside" and new(unit).variant == "outside" for unit in values
        )
        return any(moved) or (what == "always_outside" and _unseen(before))
    if what == "always_inside":
        return _threshold(after, now) < EVERYBODY
    return _threshold(before, now) > 0 or any(before.always_inside.values())


def _unseen(flag: Flag) -> bool:
    """Whether somebody is inside by an attribute that a list of units does not tell."""
    return any(values and name != flag.bucket_by for name, values in flag.always_inside.items())


def _stands(flag: Flag, now: datetime) -> str:
    if not flag.enabled:
        return "off"
    ramp = " on a ramp" if isinstance(flag.rollout, Ramp) else ""
    return f"at {_percent(flag.threshold_at(now))}{ramp}"


def _threshold(flag: Flag, now: datetime) -> int:
    return flag.threshold_at(now) if flag.enabled else 0


def _moves(was: int, is_now: int) -> str:
    if is_now > was:
        return f"another {_percent(is_now - was)} enter, nobody leaves"
    if is_now < was:
        return f"{_percent(was - is_now)} leave, the last in first"
    return "nobody moves"


def _arrow(was: int, is_now: int) -> str:
    return f"{_percent(was)} -> {_percent(is_now)}"


def _percent(threshold: int) -> str:
    return f"{percent_text(threshold)} %"


def _differ(was: object, is_now: object) -> bool:
    return (type(was), was) != (type(is_now), is_now)
