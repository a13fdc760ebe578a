"""What the platform's versions tell of past deploys. Pure.

A version is a configuration that a machine had. Who deployed it, as which release
and how that ended is read off the stamps in it, and off what the machine ran next.
Machines that are gone have taken their versions with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any

from deploy.api.machine import Fleet, Machine
from deploy.plan.base import Versions
from deploy.plan.intent import read_intent
from deploy.plan.stamps import DEPLOY, FROM

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Outcome(StrEnum):
    DONE = "done"
    ROLLED_BACK = "rolled back"
    IN_BETWEEN = "in between"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRelease:
    """One deploy, as far as the versions of the machines that are there tell of it.

    `number` is 0 where it has none; `is_number_shared` where other deploys have the
    same one, since a rollback gives it free. Of the `present` machines, those that it
    was for, `machines` stayed on it. `at` is when it began, None where versions tell no
    time. `is_ours`: made with this tool.
    """

    number: int
    is_number_shared: bool
    deploy: str
    image: str
    at: datetime | None
    is_ours: bool
    outcome: Outcome
    machines: int
    present: int
    is_current: bool


class _Fate(Enum):
    RUNS = "runs it now"
    STAYED = "ran it until a later release"
    WENT_BACK = "ran it, and then what it ran before"
    MISSED = "was there, and did not get it"
    NONE = "came later"


@dataclass(frozen=True, slots=True)
class _Version:
    """What a machine ran. `at_ms` counts from 1970, 0 where that is not known."""

    at_ms: int
    deploy: str
    number: int
    image: str
    metadata: Mapping[str, Any]

    @classmethod
    def of(cls, version: str, config: Mapping[str, Any]) -> _Version:
        metadata = config.get("metadata") or {}
        number = str(metadata.get("fly_release_version", ""))
        return cls(
            time_ms(version),
            str(metadata.get("fly_release_id", "")),
            int(number) if number.isdecimal() else 0,
            str(config.get("image", "")),
            metadata,
        )

    @property
    def order(self) -> tuple[int, int, str]:
        return self.at_ms, self.number, self.deploy

    @property
    def is_ours(self) -> bool:
        return bool(self.deploy) and self.metadata.get(DEPLOY) == self.deploy

    @property
    def is_created(self) -> bool:
        return self.is_ours and self.metadata.get(FROM) == ""


_Life = Sequence[_Version]  # of one machine, oldest first


def releases_of(fleet: Fleet, versions: Versions) -> list[PastRelease]:
    """The deploys, newest first; `versions` are by machine, each newest first."""
    lives = [_life(machine, versions.get(machine.id, {})) for machine in fleet]
    ran: dict[str, list[_Version]] = {}
    for version in sorted((each for life in lives for each in life), key=lambda each: each.order):
        ran.setdefault(version.deploy, []).append(version)
    clones = _clones(ran)
    numbers = Counter(ran[deploy][0].number for deploy in ran.keys() - clones.keys())
    unfinished = {intent.deploy for machine in fleet if (intent := read_intent(machine))}
    found = []
    for deploy in ran.keys() - clones.keys():
        first, newest = ran[deploy][0], ran[deploy][-1]
        fates = Counter(_fate(deploy, first, life, clones) for life in lives)
        found.append(
            PastRelease(
                number=first.number,
                is_number_shared=numbers[first.number] > 1,
                deploy=deploy,
                image=newest.image,
                at=datetime.fromtimestamp(first.at_ms / 1000, UTC) if first.at_ms else None,
                is_ours=first.is_ours,
                outcome=_outcome(deploy in unfinished, fates),
                machines=fates[_Fate.RUNS] + fates[_Fate.STAYED],
                present=fates.total() - fates[_Fate.NONE],
                is_current=fates[_Fate.RUNS] > 0,
            )
        )
    return sorted(found, key=lambda each: ran[each.deploy][0].order, reverse=True)


def _life(machine: Machine, versions: Mapping[str, Mapping[str, Any]]) -> _Life:
    """What it ran, oldest first, up to now."""
    known = {machine.version: machine.config, **versions, machine.version: machine.config}
    return [_Version.of(version, config) for version, config in reversed(known.items())]


def _clones(ran: Mapping[str, Sequence[_Version]]) -> dict[str, str]:
    """Scaling up is no release: its id -> that of the release which it took more machines for."""
    found: dict[str, str] = {}
    known: dict[tuple[int, str], str] = {}
    for deploy, versions in ran.items():
        key = versions[0].number, versions[0].image
        if key in known and all(each.is_created for each in versions):
            found[deploy] = known[key]
        else:
            known.setdefault(key, deploy)
    return found


def _fate(deploy: str, first: _Version, life: _Life, clones: Mapping[str, str]) -> _Fate:
    """What a deploy, whose `first` version that is, came to on one machine."""
    told = [clones.get(each.deploy, each.deploy) for each in life]
    if deploy not in told:
        return _Fate.MISSED if life[0].order < first.order else _Fate.NONE
    last = len(told) - 1 - told[::-1].index(deploy)
    if last == len(told) - 1:
        return _Fate.RUNS
    return _Fate.WENT_BACK if told[last + 1] in told[:last] else _Fate.STAYED


def _outcome(is_unfinished: bool, fates: Counter[_Fate]) -> Outcome:
    if is_unfinished:
        return Outcome.UNFINISHED
    if not fates[_Fate.RUNS] + fates[_Fate.STAYED]:
        return Outcome.ROLLED_BACK
    is_mixed = fates[_Fate.WENT_BACK] + fates[_Fate.MISSED] > 0
    return Outcome.IN_BETWEEN if is_mixed else Outcome.DONE


def time_ms(version: str) -> int:
    """The time in a ULID (github.com/ulid/spec), which Fly's versions are; 0 for another text."""
    if len(version) != 26 or not set(version) <= set(_CROCKFORD):
        return 0
    milliseconds = 0
    for digit in version[:10]:
        milliseconds = milliseconds << 5 | _CROCKFORD.index(digit)
    return milliseconds if milliseconds < 1 << 42 else 0  # beyond the year 2109 it is no time
