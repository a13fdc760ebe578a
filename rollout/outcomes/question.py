"""What is asked of the records: of which flag, and which runs count as failures. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from rollout.errors import InvalidValue, show
from rollout.outcomes.record import DONE, Record

_EVENT: Final = re.compile(r"not-done|platform|in-between|slower:([0-9]{1,6}(?:\.[0-9]{1,3})?)")


class Event(NamedTuple):
    """Which runs are counted failures: `not-done`, `platform`, `in-between` or `slower`."""

    name: str = "not-done"
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}:{self.seconds:g}" if self.name == "slower" else self.name

    @property
    def words(self) -> str:
        """What such a run is, for people."""
        return {
            "not-done": "not done",
            "platform": "failed by the platform",
            "in-between": "left in between",
            "slower": f"slower than {self.seconds:g} s",
        }[self.name]

    def happened(self, record: Record) -> bool:
        """Whether the run is one."""
        if self.name == "not-done":
            return record.result not in DONE
        if self.name == "platform":
            return record.why in ("platform", "outage", "unknown")
        if self.name == "in-between":
            return record.result == "in-between"
        return record.duration_s > self.seconds


def parse_event(text: str) -> Event | None:
    """`not-done`, `platform`, `in-between` or `slower:SECONDS`; None for anything else."""
    match = _EVENT.fullmatch(text)
    if match is None:
        return None
    return Event("slower", float(match[1])) if match[1] else Event(text)


def event_option(text: str) -> Event:
    """The same for the value of --event; raises InvalidValue."""
    event = parse_event(text)
    if event is None:
        raise InvalidValue(
            f"--event {show(text)} is not an event",
            hint="use not-done, platform, in-between or slower:SECONDS",
        )
    return event


class Question(NamedTuple):
    """A flag as it is drawn now, and what counts, up to the Unix time `now`.

    A state has counted what was known by the Unix time `since`, and the failures of the
    deploys `known`.
    """

    flag: str
    bucket_by: str
    salt: str
    event: Event
    now: float
    since: float = float("-inf")
    known: frozenset[str] = frozenset()
