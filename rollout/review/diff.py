"""Two states of the flags -> what changed, in words, and whether it throws somebody out. Pure.

To be thrown out is to be inside before and outside after. Some changes say by
themselves whom they throw out; for the others it takes the units: rollout/review/cohort.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from rollout.evaluate import compile_flag
from rollout.flag import (
    EVERYBODY,
    Flag,
    Ramp,
    Share,
    Step,
    arrow_text,
    share_text,
    time_text,
    value_text,
)
from rollout.flag.guard import Guard
from rollout.review.cohort import Names, Tally, names, tally
from rollout.wording import count as number_of
from rollout.wording import show


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

    def named(self, found: Names) -> Iterator[tuple[str, list[bytes]]]:
        """The units that move, by what they do: "enters", "leaves" or "changes"."""
        inside, outside = self.value_changes
        yield "enters", found.enters
        yield "leaves", found.leaves
        yield "changes", found.stays_inside * inside + found.stays_outside * outside

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
    diffs: Sequence[FlagDiff], batches: Iterable[Sequence[bytes]], now: datetime
) -> dict[str, Tally]:
    """How many units of the batches move, for each flag of `diffs`, in one pass."""
    totals = {each.key: Tally() for each in diffs}
    for batch in batches:
        for each in diffs:
            counts = tally(each.before, each.after, batch, now)
            totals[each.key] = totals[each.key].plus(counts)
    return totals


def moves(
    diffs: Sequence[FlagDiff], batches: Iterable[Sequence[bytes]], now: datetime
) -> Iterator[tuple[FlagDiff, Names]]:
    """The units themselves, flag by flag and batch by batch, at three times the price."""
    for batch in batches:
        for each in diffs:
            yield each, names(each.before, each.after, batch, now)


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
    if before.rollout != after.rollout and not (before.variants or after.variants):
        yield from _rollout(before, after, now)
    if before.variants or after.variants:
        yield from _variants(before, after, now)
    for what in ("bucket_by", "salt", "bucketing"):
        yield from _drawn_anew(what, before, after, now)
    for what in ("always_outside", "always_inside"):
        yield from _lists(what, before, after, now)
    yield from _words(before, after)


def _variants(before: Flag, after: Flag, now: datetime) -> Iterator[Change]:
    """Weights, values and lists of flags of which one has variants, or both do."""
    old, new = _weights(before, now), _weights(after, now)
    if old != new:
        moved = [
            f"{show(name)} {arrow_text(old.get(name, 0), new.get(name, 0))}"
            for name in dict.fromkeys((*old, *new))
            if old.get(name) != new.get(name)
        ]
        yield Change("variants", ", ".join(moved), _takes_from_others(before, after, now))
    yield from _other_values(before, after)
    lists, others = ([(name, found) for name, _, found in flag.always] for flag in (before, after))
    if lists != others:
        # Who is in a list had something before: the units tell, as far as they are the unit's.
        text = "other lists of what always has a variant"
        yield Change("variants", text, before.enabled, counted=not _others_listed(before, after))


def _other_values(before: Flag, after: Flag) -> Iterator[Change]:
    new = {each.name: each.value for each in after.variants}
    for name, was in ((each.name, each.value) for each in before.variants):
        if name in new and _differ(was, new[name]):
            values = f"{value_text(was)} -> {value_text(new[name])}"
            yield Change("variants", f"{show(name)}: another value, {values}")


def _weights(flag: Flag, now: datetime) -> dict[str, int]:
    begins = [0, *(share.ends for share in flag.shares(now))]
    shares = zip(begins, flag.shares(now), strict=False)
    weights = {share.name: share.ends - start for start, share in shares}
    return {each.name: weights[each.name] for each in flag.variants} or weights


def _takes_from_others(before: Flag, after: Flag, now: datetime) -> bool:
    """Whether a bucket that had another variant than the rest has another one after."""
    if not before.enabled:
        return False
    old, new = before.shares(now), after.shares(now)
    starts = {0, *(share.ends for share in (*old, *new))} - {EVERYBODY}
    had = [(_at(old, start), _at(new, start)) for start in starts]
    rest = "" if after.enabled else after.rest
    return any(was != before.rest and was != (rest or has) for was, has in had)


def _at(shares: Sequence[Share], bucket: int) -> str:
    return next(share.name for share in shares if bucket < share.ends)


def _others_listed(*flags: Flag) -> bool:
    """Whether lists name something that a list of units does not tell."""
    return any(set(lists) - {flag.bucket_by} for flag in flags for _, _, lists in flag.always)


def _words(before: Flag, after: Flag) -> Iterator[Change]:
    """What moves nobody."""
    for what in () if before.variants or after.variants else ("inside", "outside"):
        was, is_now = getattr(before, what), getattr(after, what)
        if _differ(was, is_now):
            text = f"{value_text(was)} -> {value_text(is_now)}: another value for those {what}"
            yield Change(what, text)
    for what in ("owner", "expires", "description"):
        was, is_now = getattr(before, what), getattr(after, what)
        if was != is_now:
            old, new = (show(text) if text else "none" for text in (was, is_now))
            yield Change(what, f"{old} -> {new}")
    if before.guard != after.guard:
        yield Change("guard", _guards(before.guard, after.guard))


def _guards(before: Guard | None, after: Guard | None) -> str:
    if before is None or after is None:
        return "outcomes move the percentage from now on" if after else "removed"
    was, is_now = before.words, after.words
    return "; ".join(f"{key} {was[key]} -> {is_now[key]}" for key in was if was[key] != is_now[key])


def _drawn_anew(what: str, before: Flag, after: Flag, now: datetime) -> Iterator[Change]:
    was, is_now = getattr(before, what), getattr(after, what)
    if was != is_now:
        # At 100 % everybody is inside under any salt, but not if the other attribute is no text.
        may_miss = what == "bucket_by" or after.live_threshold(now) < EVERYBODY
        evicts = before.live_threshold(now) > 0 and may_miss
        text = f"{show(was)} -> {show(is_now)}: everybody is drawn anew"
        yield Change(what, text, evicts, counted=what != "bucket_by")


def _removed(flag: Flag, now: datetime) -> Change:
    threshold = flag.live_threshold(now)
    if threshold == EVERYBODY:
        return Change("flag", "removed at 100 %: no code may ask for it any more")
    stood = f"removed, {_stands(flag, now)}"
    if threshold == 0 and not (flag.enabled and _lists_somebody(flag)):
        return Change("flag", f"{stood}: nobody was inside")
    counted = threshold > 0 and not _unseen(flag)
    return Change("flag", f"{stood}: all units inside are thrown out", True, counted)


def _switched(before: Flag, after: Flag, now: datetime) -> Change:
    if after.enabled:
        return Change("enabled", f"switched on, {_stands(after, now)}")
    inside = before.threshold_at(now) > 0 or _lists_somebody(before)
    text = "switched off: everybody is outside"
    return Change("enabled", text, evicts=inside, counted=not _unseen(before))


def _rollout(before: Flag, after: Flag, now: datetime) -> Iterator[Change]:
    was, is_now = before.threshold_at(now), after.threshold_at(now)
    both_on = before.enabled and after.enabled
    moves = _moves(was, is_now) if both_on else "the flag is off"
    lowered = both_on and is_now < was
    old, new = before.rollout, after.rollout
    if isinstance(old, int) and isinstance(new, int):
        yield Change("percent", f"{arrow_text(was, is_now)}: {moves}", lowered)
        return
    changed = f"{arrow_text(was, is_now)} now: {moves}"
    stands = changed if was != is_now else f"stays at {share_text(was)}"
    later = [step for step in new.steps if step.at > now] if isinstance(new, Ramp) else []
    yield Change("ramp", f"{_instead(old, new)}, {stands}{_to_come(later)}", lowered)
    yield from _falls(old, later, is_now, after.enabled)


def _falls(old: int | Ramp, later: Sequence[Step], level: int, is_on: bool) -> Iterator[Change]:
    """The steps down that the ramp from before did not have."""
    for step in later:
        if step.threshold < level and not (isinstance(old, Ramp) and step in old.steps):
            falls = f"goes down on {time_text(step.at)}, {arrow_text(level, step.threshold)}"
            yield Change("ramp", f"{falls}: the last in leave first", is_on, counted=False)
        level = step.threshold


def _to_come(later: Sequence[Step]) -> str:
    if not later:
        return ""
    last = f"{share_text(later[-1].threshold)} on {time_text(later[-1].at)}"
    return f"; {number_of(len(later), 'step')} to come, {last}"


def _instead(old: int | Ramp, new: int | Ramp) -> str:
    if not isinstance(new, Ramp):
        return "no ramp"
    if not isinstance(old, Ramp):
        return "a ramp in place of percent"
    if new.paused and not old.paused:
        return f"paused since {time_text(new.paused)}"
    if old.paused and not new.paused:
        return "no longer paused"
    return "another ramp"


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
        return after.live_threshold(now) < EVERYBODY
    return before.live_threshold(now) > 0 or _lists_somebody(before)


def _unseen(flag: Flag) -> bool:
    """Whether somebody is inside by an attribute that a list of units does not tell."""
    return any(
        values and name != flag.bucket_by
        for variant, _, lists in flag.always
        for name, values in lists.items()
        if variant != flag.rest
    )


def _lists_somebody(flag: Flag) -> bool:
    """Whether a list may have somebody inside."""
    return any(any(lists.values()) for name, _, lists in flag.always if name != flag.rest)


def _stands(flag: Flag, now: datetime) -> str:
    if not flag.enabled:
        return "off"
    if flag.variants:
        weights = _weights(flag, now).items()
        return "with " + ", ".join(f"{show(name)} {share_text(weight)}" for name, weight in weights)
    ramp = " on a ramp" if isinstance(flag.rollout, Ramp) else ""
    return f"at {share_text(flag.threshold_at(now))}{ramp}"


def _moves(was: int, is_now: int) -> str:
    if is_now > was:
        return f"another {share_text(is_now - was)} enter, nobody leaves"
    if is_now < was:
        return f"{share_text(was - is_now)} leave, the last in first"
    return "nobody moves"


def _differ(was: object, is_now: object) -> bool:
    return (type(was), was) != (type(is_now), is_now)
