"""What git knows of flags: since when one is at 100 %, and where the code names it. Bounded.

Follows the first parents only, that is what was live on the branch, not what was
tried on the way. Knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from rollout.errors import BadFlagFile, SourceProblem
from rollout.file import flagfile
from rollout.file.flagfile import LARGEST_BYTES
from rollout.flag import EVERYBODY, Flag, Ramp
from rollout.outcomes.site.past import Version
from rollout.sources import git

MOST_VERSIONS = 100
"""How many versions of the file are looked at: more than that in 30 days says nothing."""

MOST_SHOWN = 300
MOST_PLACES = 10
MOST_FLAGS = 20


def finished(path: str, flags: Mapping[str, Flag], now: datetime, days: int) -> frozenset[str]:
    """The flags that are at 100 % and were so all the time since so many days ago.

    A ramp says it by its last step; for a percentage the file's versions in git do.
    Where there is no repository, or its history does not reach as far back, a
    percentage is not known to be finished. Raises nothing.
    """
    since = now - timedelta(days=days)
    standing = {key: flag for key, flag in flags.items() if _is_complete(flag, now)}
    by_ramp = {key for key, flag in standing.items() if _began_before(flag.rollout, now, since)}
    asked = standing.keys() - by_ramp
    return frozenset(by_ramp | (_all_along(path, asked, since) if asked else set()))


def _all_along(path: str, asked: Set[str], since: datetime) -> set[str]:
    """Those of the flags that the file has had at 100 % in every version since then."""
    try:
        versions = _versions(path, since)
    except SourceProblem:
        return set()
    for committed_at, found in versions:
        # A version counts from the moment it was committed, the oldest from `since`.
        moment = max(committed_at, since)
        asked = {key for key in asked if key in found and _is_complete(found[key], moment)}
    return set(asked) if versions else set()


def places(path: str, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """For each flag the lines that name it, as `path:line`, in the files that git knows.

    The flags file itself is left out. At most ten for each of at most twenty flags; none
    where git cannot tell.
    """
    directory, name = git.whereabouts(path)
    found: dict[str, tuple[str, ...]] = {}
    for key in islice(keys, MOST_FLAGS):
        try:
            top = git.toplevel(directory)
            ours = (directory / name).resolve().relative_to(top.resolve()).as_posix()
            reply = git.ask(
                top, "grep", "-n", "-I", "-w", "--fixed-strings", "--full-name",
                "-e", key, "--", ".", f":(exclude,top,literal){ours}", limit_bytes=1 << 16,
            )  # fmt: skip
        except (SourceProblem, ValueError):
            return found
        lines = reply.out.decode(errors="replace").split("\n")[:-1]
        named = [":".join(line.split(":", 2)[:2]) for line in lines[: MOST_PLACES + 1]]
        more = ("...",) if len(named) > MOST_PLACES else ()
        found[key] = (*named[:MOST_PLACES], *more)
    return found


def versions(path: str) -> list[Version]:
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


def _shown(directory: Path, name: str, commit: str, at: str, author: str) -> Version | None:
    blob = ("cat-file", "blob", f"{commit}:./{name}")
    reply = git.ask(directory, *blob, limit_bytes=LARGEST_BYTES + 1)
    try:
        flags = flagfile.parse_bytes(reply.out, name).flags
    except BadFlagFile:
        return None
    return Version(datetime.fromisoformat(at), commit, author, flags)


def _is_complete(flag: Flag, now: datetime) -> bool:
    return flag.live_threshold(now) == EVERYBODY


def _began_before(rollout: int | Ramp, now: datetime, since: datetime) -> bool:
    step = rollout.current(now) if isinstance(rollout, Ramp) else None
    return step is not None and step.at < since


def _versions(path: str, since: datetime) -> list[tuple[datetime, Mapping[str, Flag]]]:
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


def _version(directory: Path, name: str, commit: str) -> tuple[datetime, Mapping[str, Flag]]:
    at = datetime.fromisoformat(git.ask(directory, "log", "-1", "--format=%cI", commit).text)
    reply = git.ask(
        directory, "cat-file", "blob", f"{commit}:./{name}", limit_bytes=LARGEST_BYTES + 1
    )
    try:
        return at, flagfile.parse_bytes(reply.out, name).flags
    except BadFlagFile:
        return at, {}
