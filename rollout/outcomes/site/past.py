"""What a flag's percentage was, by the versions of its file, and will be by its ramp. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from rollout.flag import Flag, Ramp, Step, level_text, share_text
from rollout.outcomes.site.charts import Chart, Line, Mark

_TICKS = [(value, f"{value:g} %") for value in (0.0, 25.0, 50.0, 75.0, 100.0)]


class Version(NamedTuple):
    """The file at a commit: since when, by whom, and its flags."""

    at: datetime
    commit: str
    author: str
    flags: Mapping[str, Flag]


class Change(NamedTuple):
    """A version that changed one flag; `words` say what it became."""

    version: Version
    flag: Flag | None
    words: str
    tone: str


def changes(key: str, versions: Sequence[Version]) -> list[Change]:
    """Those of the versions, in order of time, that changed the flag `key`."""
    found: list[Change] = []
    before: Flag | None = None
    for version in versions:
        flag = version.flags.get(key)
        if flag != before:
            words, tone = _words(before, flag, version.at)
            found.append(Change(version, flag, words, tone))
        before = flag
    return found


def chart(key: str, told: Sequence[Change], now: datetime) -> Chart | None:
    """The percentage over time, with what is ahead dotted; None without a past."""
    if not told:
        return None
    behind = list(_behind(told, now))
    flag = told[-1].flag
    ahead = list(_ahead(flag, now)) if flag else []
    lines = [Line(_stairs(behind, now.timestamp()), "info")]
    if ahead:
        last = ahead[-1][0]
        begin = (now.timestamp(), behind[-1][1])
        lines.append(Line(_stairs([begin, *ahead], last + max(1.0, (last - begin[0]) / 10)), "info",
                          ahead=True))  # fmt: skip
    marks = [
        Mark(
            change.version.at.timestamp(),
            _live(change.flag, change.version.at),
            f"{change.version.at:%Y-%m-%d %H:%M} {change.version.author}: {change.words}",
            change.tone,
        )
        for change in told
    ]
    label = f"the percentage of {key} over time, now {_live(flag, now):g} %"
    return Chart(label, lines, 0.0, 100.0, _TICKS, marks, now=now.timestamp())


def _behind(told: Sequence[Change], now: datetime) -> Iterator[tuple[float, float]]:
    ends = [change.version.at for change in told[1:]] + [now]
    for change, end in zip(told, ends, strict=True):
        begin = change.version.at
        yield begin.timestamp(), _live(change.flag, begin)
        for step in _steps(change.flag):
            if begin < step.at <= end:
                yield step.at.timestamp(), _live(change.flag, step.at)


def _ahead(flag: Flag, now: datetime) -> Iterator[tuple[float, float]]:
    for step in _steps(flag):
        if step.at > now:
            yield step.at.timestamp(), _live(flag, step.at)


def _steps(flag: Flag | None) -> tuple[Step, ...]:
    return flag.rollout.steps if flag and isinstance(flag.rollout, Ramp) else ()


def _live(flag: Flag | None, at: datetime) -> float:
    return flag.live_threshold(at) / 1000 if flag else 0.0


def _stairs(points: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Each value until the next one."""
    stairs: list[tuple[float, float]] = []
    for at, value in points:
        if stairs:
            stairs.append((at, stairs[-1][1]))
        stairs.append((at, value))
    return [*stairs, (max(end, points[-1][0]), points[-1][1])]


def _words(before: Flag | None, after: Flag | None, at: datetime) -> tuple[str, str]:
    if after is None:
        return "removed", "dull"
    if before is None:
        return f"new, at {level_text(after, at) if after.enabled else share_text(0)}", "info"
    was, is_now = level_text(before, at), level_text(after, at)
    if switched := _switched(before, after):
        word, tone = switched
        return f"{word} {was if tone == 'bad' else is_now}", tone
    if was != is_now:
        rises = after.threshold_at(at) > before.threshold_at(at)
        return f"{was} -> {is_now}", "good" if rises else "warn"
    if before.rollout != after.rollout:
        return f"planned anew, at {is_now}", "info"
    return f"changed, still at {is_now}", "dull"


def _switched(before: Flag, after: Flag) -> tuple[str, str] | None:
    if before.enabled and not after.enabled:
        return "killed, it was at", "bad"
    if after.enabled and not before.enabled:
        return "switched on again, at", "good"
    return ("paused at", "warn") if _paused(after) and not _paused(before) else None


def _paused(flag: Flag) -> bool:
    return isinstance(flag.rollout, Ramp) and flag.rollout.paused is not None
