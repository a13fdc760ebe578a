"""What git knows of flags: since when one is at 100 %, and where the code names it. Bounded.

Follows the first parents only, that is what was live on the branch, not what was
tried on the way. Knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

from rollout.errors import BadFlagFile, SourceProblem
from rollout.file import flagfile
from rollout.file.flagfile import LARGEST_BYTES
from rollout.flag import EVERYBODY, Flag, Ramp
from rollout.outcomes.site.past import Version as PastVersion
from rollout.sources import git

MOST_VERSIONS = 100
"""How many versions of the file are looked at: more than that in 30 days says nothing."""

MOST_SHOWN = 300
MOST_FLAGS = 20
_MARKS = ("-e", "from here", "--or", "-e", "to here", "--or", "-e", "this file")

Version: TypeAlias = tuple[datetime, Mapping[str, Flag]]
"""When it was committed, and its flags."""


class Standing(NamedTuple):
    """Flags that were at 100 % all the time, at 0 %, and those of which a shallow clone cannot

    tell, each by its key.
    """

    complete: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()


def standing(path: str, flags: Mapping[str, Flag], now: datetime, days: int) -> Standing:
    """The flags that stand at one end, and did so all the time since so many days ago.

    A ramp says it by its last step; for a percentage the file's versions in git do.
    Where there is no repository, or its history does not reach as far back, a
    percentage is not known to have stood. Raises nothing.
    """
    since = now - timedelta(days=days)
    ends = _ends(flags, now)
    by_ramp = {key for key in ends if _began_before(flags[key].rollout, now, since)}
    asked = ends.keys() - by_ramp
    unknown: Set[str] = frozenset()
    stood = set(by_ramp)
    if asked:
        with suppress(SourceProblem):
            versions = _versions(path, since)
            stood |= _all_along(versions, {key: ends[key] for key in asked}, since)
            if not versions and git.is_shallow(git.whereabouts(path)[0]):
                unknown = asked
    complete = {key for key in stood if ends[key] == EVERYBODY}
    return Standing(frozenset(complete), frozenset(stood - complete), frozenset(unknown))


def _all_along(versions: Sequence[Version], asked: Mapping[str, int], since: datetime) -> set[str]:
    """Those of the flags that are at this end in every version since then."""
    stood = set(asked) if versions else set()
    for committed_at, found in versions:
        # A version counts from the moment it was committed, the oldest from `since`.
        moment = max(committed_at, since)
        stood = {key for key in stood if key in found and _end(found[key], moment) == asked[key]}
    return stood


def places(path: str, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """For each flag the lines that name it, as `path:line`, in the files that git knows.

    Marks come first: lines that name it with "from here", "to here" or "this file", which say
    what goes with the flag. The flags file itself is left out. Those in the first MiB of such
    lines, for at most twenty flags; none where git cannot tell.
    """
    directory, name = git.whereabouts(path)
    found: dict[str, tuple[str, ...]] = {}
    for key in islice(keys, MOST_FLAGS):
        try:
            top = git.toplevel(directory)
            ours = (directory / name).resolve().relative_to(top.resolve()).as_posix()
            marks = _named(top, ours, "-e", key, "--and", "(", *_MARKS, ")")
            every = _named(top, ours, "-e", key)
        except (SourceProblem, ValueError):
            return found
        found[key] = tuple(dict.fromkeys([*marks, *every]))
    return found


def _named(top: Path, ours: str, *what: str) -> list[str]:
    reply = git.ask(
        top, "grep", "-n", "-I", "-w", "--fixed-strings", "--full-name", *what,
        "--", ".", f":(exclude,top,literal){ours}",
    )  # fmt: skip
    lines = reply.out.decode(errors="replace").split("\n")[:-1]
    return [":".join(line.split(":", 2)[:2]) for line in lines]


def versions(path: str) -> list[PastVersion]:
    """The newest 300 versions of the file on its branch, oldest first; none where git has none.

    A version that does not parse is passed over.
    """
    directory, name = git.whereabouts(path)
    try:
        log = git.ask(
            directory, "log", "--first-parent", f"--max-count={MOST_SHOWN}",
            "--format=%H%x09%cI%x09%an", "--", f"./{name}",
        )  # fmt: skip
        rows = [line.split("\t", 2) for line in log.text.splitlines()] if log.ok else []
        found = [_shown(directory, name, *row) for row in reversed(rows) if len(row) == 3]
    except SourceProblem:
        return []
    return [version for version in found if version]


def _shown(directory: Path, name: str, commit: str, at: str, author: str) -> PastVersion | None:
    blob = ("cat-file", "blob", f"{commit}:./{name}")
    reply = git.ask(directory, *blob, limit_bytes=LARGEST_BYTES + 1)
    try:
        flags = flagfile.parse_bytes(reply.out, name).flags
    except BadFlagFile:
        return None
    return PastVersion(datetime.fromisoformat(at), commit, author, flags)


def _ends(flags: Mapping[str, Flag], now: datetime) -> dict[str, int]:
    """The flags that stand at one end and that no step carries on, with that end."""
    still = {key: flag for key, flag in flags.items() if not _goes_on(flag.rollout, now)}
    found = {key: _end(flag, now) for key, flag in still.items()}
    return {key: end for key, end in found.items() if end is not None}


def _end(flag: Flag, now: datetime) -> int | None:
    """100 or 0 percent if the flag stands there, for every unit; else nothing."""
    threshold = flag.live_threshold(now)
    somebody = flag.enabled and any(name != flag.rest for name, _, _ in flag.always)
    return threshold if threshold == EVERYBODY or (threshold == 0 and not somebody) else None


def _goes_on(rollout: int | Ramp, now: datetime) -> bool:
    return isinstance(rollout, Ramp) and rollout.planned[-1].at > now


def _began_before(rollout: int | Ramp, now: datetime, since: datetime) -> bool:
    step = rollout.current(now) if isinstance(rollout, Ramp) else None
    return step is not None and step.at < since


def _versions(path: str, since: datetime) -> list[Version]:
    """The file as it was at `since` and each time it changed from then; nothing if not known."""
    directory, name = git.whereabouts(path)
    before = f"--before={since.isoformat()}"
    oldest = git.ask(directory, "rev-list", "-1", "--first-parent", before, "HEAD").text
    if not oldest:
        return []
    changed = git.ask(
        directory, "log", "--first-parent", f"--max-count={MOST_VERSIONS + 1}",
        "--format=%H", f"{oldest}..HEAD", "--", f"./{name}",
    ).text.split()  # fmt: skip
    if len(changed) > MOST_VERSIONS:
        return []
    return [_version(directory, name, commit) for commit in (oldest, *reversed(changed))]


def _version(directory: Path, name: str, commit: str) -> Version:
    at = datetime.fromisoformat(git.ask(directory, "log", "-1", "--format=%cI", commit).text)
    reply = git.ask(
        directory, "cat-file", "blob", f"{commit}:./{name}", limit_bytes=LARGEST_BYTES + 1
    )
    try:
        return at, flagfile.parse_bytes(reply.out, name).flags
    except BadFlagFile:
        return at, {}
