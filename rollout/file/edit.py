"""Changes to the text of a flags file that touch nothing but what is meant.

A change replaces, inserts or removes spans of the text, and counts only if the new
text parses to the intended flags and to nothing else. Pure: text in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from difflib import SequenceMatcher

import msgspec
from msgspec.structs import replace

from rollout.errors import BadFlagFile, EditRefused, UnknownFlag
from rollout.file import flagfile
from rollout.file.flagfile import FlagFile
from rollout.file.splice import Span, flag_texts, splice
from rollout.flag import Flag, Ramp, Step, percent_text, time_text
from rollout.ramps.hours import Hours
from rollout.ramps.ramp import after_pause


class Hunk(msgspec.Struct, frozen=True):
    """Lines that changed: the number of the first, from 1, and what stood and stands there."""

    line: int
    before: tuple[str, ...]
    after: tuple[str, ...]


class Edit(msgspec.Struct, frozen=True):
    """A change of a flags file: the file before and after."""

    before: FlagFile
    file: FlagFile

    @property
    def hunks(self) -> list[Hunk]:
        """What changed, in whole lines, in their order."""
        return list(_hunks(_lines(self.before.text), _lines(self.file.text)))


def set_percent(file: FlagFile, key: str, threshold: int) -> Edit | None:
    """Put the percentage of flag `key` at `threshold` (0..100000); None if it stands there.

    Raises UnknownFlag, and EditRefused for a flag with a ramp.
    """
    flag = _two_way(file, key)
    if isinstance(flag.rollout, Ramp):
        raise EditRefused(
            f"{key} has a ramp, which sets its percentage by the clock",
            hint="plan it anew with rollout ramp, or stop it with rollout pause or rollout kill",
        )
    if flag.rollout == threshold:
        return None
    text = flag_texts(file.text)[key]
    spans = [text.put("percent", percent_text(threshold))]
    return _edit(file, replace(flag, rollout=threshold), spans)


def set_ramp(file: FlagFile, key: str, steps: Sequence[Step]) -> Edit | None:
    """Give flag `key` a ramp of these steps, in place of its percentage or its other ramp."""
    flag = _two_way(file, key)
    meant = replace(flag, rollout=Ramp(tuple(steps)))
    if meant == flag:
        return None
    text = flag_texts(file.text)[key]
    written = [[("at", time_text(s.at)), ("percent", percent_text(s.threshold))] for s in steps]
    old = "ramp" if isinstance(flag.rollout, Ramp) else "percent"
    spans = text.put_list(old, "ramp", written)
    if "paused" in text.entries:
        spans.append(text.remove("paused"))
    return _edit(file, meant, spans)


def pause(file: FlagFile, key: str, now: datetime) -> Edit | None:
    """Let the ramp of flag `key` stand still from `now` on; None if it does already.

    Raises EditRefused for a flag that has no ramp, or one whose ramp is over.
    """
    flag = _two_way(file, key)
    ramp = flag.rollout
    if not isinstance(ramp, Ramp):
        raise EditRefused(
            f"{key} has no ramp: it stays at {percent_text(ramp)} % until somebody changes it",
            hint=f"to put everybody outside: rollout kill {key}",
        )
    if ramp.paused:
        return None
    if not _runs(ramp, now):
        last = ramp.steps[-1]
        stands = f"at {percent_text(last.threshold)} % since {time_text(last.at)}"
        raise EditRefused(
            f"the ramp of {key} is over: {stands}",
            hint=f"to put everybody outside: rollout kill {key}",
        )
    since = _still_since(ramp, now)
    spans = [flag_texts(file.text)[key].insert_before("ramp", "paused", time_text(since))]
    return _edit(file, replace(flag, rollout=flagfile.paused_ramp(ramp.steps, since)), spans)


def kill(file: FlagFile, key: str, now: datetime) -> Edit | None:
    """Switch flag `key` off, and let its ramp stand still; None if both is so already."""
    flag = flag_in(file, key)
    text, ramp = flag_texts(file.text)[key], flag.rollout
    place = next(name for name in ("ramp", "percent", "variants") if name in text.entries)
    meant, spans = replace(flag, enabled=False), []
    if flag.enabled and "enabled" in text.entries:
        spans.append(text.put("enabled", "false"))
    elif flag.enabled:
        spans.append(text.insert_before(place, "enabled", "false"))
    if isinstance(ramp, Ramp) and not ramp.paused and _runs(ramp, now):
        since = _still_since(ramp, now)
        spans.append(text.insert_before(place, "paused", time_text(since)))
        meant = replace(meant, rollout=flagfile.paused_ramp(ramp.steps, since))
    return _edit(file, meant, spans) if spans else None


def resume(file: FlagFile, key: str, now: datetime, hours: Hours | None) -> Edit | None:
    """Switch flag `key` on again and let its ramp go on; None if it is neither off nor paused.

    The steps that wait are moved by the time of the pause, as ramps.ramp.after_pause says.
    """
    flag = flag_in(file, key)
    text, ramp = flag_texts(file.text)[key], flag.rollout
    meant, spans = replace(flag, enabled=True), []
    if not flag.enabled:
        spans.append(text.remove("enabled", keeping="true"))
    if isinstance(ramp, Ramp) and ramp.paused:
        items = text.items("ramp")
        begun = len(items) - len(ramp.waiting)
        later = after_pause(ramp.steps[:begun], ramp.waiting, ramp.paused, now, hours)
        for item, old, new in zip(items[begun:], ramp.waiting, later, strict=True):
            if old != new:
                spans.append(text.rewritten(item["at"].value, time_text(new.at)))
        spans.append(text.remove("paused"))
        meant = replace(meant, rollout=Ramp((*ramp.steps[:begun], *later)))
    return _edit(file, meant, spans) if spans else None


def flag_in(file: FlagFile, key: str) -> Flag:
    """The flag `key` of the file; raises UnknownFlag."""
    flag = file.flags.get(key)
    if flag is None:
        raise UnknownFlag(key, file.flags, file.source)
    return flag


def _two_way(file: FlagFile, key: str) -> Flag:
    flag = flag_in(file, key)
    if flag.variants:
        raise EditRefused(
            f"{key} has variants, whose weights are changed together",
            hint="edit the weights in the file, then see rollout diff git:HEAD",
        )
    return flag


def _still_since(ramp: Ramp, now: datetime) -> datetime:
    """The whole minute, so that the file stays readable; later if a step began within it."""
    minute = now.replace(second=0, microsecond=0)
    return max([minute, *(step.at for step in ramp.steps if step.at <= now)])


def _runs(ramp: Ramp, now: datetime) -> bool:
    return ramp.steps[-1].at > now


def _edit(file: FlagFile, meant: Flag, spans: list[Span]) -> Edit:
    changed = splice(file.text, spans)
    try:
        parsed = flagfile.parse(changed, file.source)
    except BadFlagFile as error:
        raise EditRefused(
            f"the change would break the file: {error.message}", hint=error.hint
        ) from None
    if dict(parsed.flags) != {**file.flags, meant.key: meant}:
        raise EditRefused(
            f"{meant.key} could not be changed without changing something else",
            hint="edit the file by hand, then run rollout check",
        )
    return Edit(file, parsed)


def _lines(text: str) -> list[str]:
    return re.split(r"\r\n|\n|\r", text)


def _hunks(old: list[str], new: list[str]) -> Iterator[Hunk]:
    start = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            yield Hunk(start + a + 1, tuple(old[a:b]), tuple(new[c:d]))
