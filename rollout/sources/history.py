"""What git knows of flags: since when one is at 100 %, and where the code names it. Bounded.

Follows the first parents only, that is what was live on the branch, not what was
tried on the way. Knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from rollout.errors import BadFlagFile, SourceProblem
from rollout.file import flagfile
from rollout.file.flagfile import LARGEST_BYTES
from rollout.flag import Flag, Ramp
from rollout.review.hygiene import FINISHED_DAYS, at_everybody
from rollout.sources import git

MOST_VERSIONS = 100
"""How many versions of the file are looked at: more than that in 30 days says nothing."""

MOST_PLACES = 10
MOST_FLAGS = 20
_SPAN = timedelta(days=FINISHED_DAYS)


def finished(path: str, flags: Mapping[str, Flag], now: datetime) -> frozenset[str]:
    """The flags that are at 100 % and were so all the time since 30 days ago.

    A ramp says it by its last step; for a percentage the file's versions in git do.
    Where there is no repository, or its history does not reach as far back, a
    percentage is not known to be finished. Raises nothing.
    """
    standing = {key: flag for key, flag in flags.items() if at_everybody(flag, now)}
    by_ramp = {key for key, flag in standing.items() if _by_ramp(flag, now)}
    asked = standing.keys() - by_ramp
    if not asked:
        return frozenset(by_ramp)
    try:
        versions = _versions(path, now)
    except SourceProblem:
        versions = []
    for commit_time, found in versions:
        # A version counts from the moment it was committed, the oldest from 30 days ago.
        moment = max(commit_time, now - _SPAN)
        asked = {key for key in asked if at_everybody(found.get(key), moment)}
    return frozenset(by_ramp | (asked if versions else set()))


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


def _by_ramp(flag: Flag, now: datetime) -> bool:
    step = flag.rollout.current(now) if isinstance(flag.rollout, Ramp) else None
    return step is not None and now - step.at > _SPAN


def _versions(path: str, now: datetime) -> list[tuple[datetime, Mapping[str, Flag]]]:
    """The file as it was 30 days ago and each time it changed since; nothing if not known."""
    directory, name = git.whereabouts(path)
    before = f"--before={(now - _SPAN).isoformat()}"
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
