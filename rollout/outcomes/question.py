"""What is asked of the records: of which flag, and which runs count as failures. Pure."""

from __future__ import annotations

from typing import NamedTuple

from rollout.bucketing import Draw
from rollout.flag.guard import Event
from rollout.outcomes.record import DONE, Record


class Question(NamedTuple):
    """A flag as it is drawn now, and what counts, up to the Unix time `now`.

    A state has counted what was known by the Unix time `since`, and the failures of the
    deploys `known`.
    """

    flag: str
    bucket_by: str
    draw: Draw
    event: Event
    now: float
    since: float = float("-inf")
    known: frozenset[str] = frozenset()


def happened(event: Event, record: Record) -> bool:
    """Whether the run is a counted failure."""
    if event.name == "not-done":
        return record.result not in DONE
    if event.name == "platform":
        return record.why in ("platform", "outage", "unknown")
    if event.name == "in-between":
        return record.result == "in-between"
    return record.duration_s > event.seconds
