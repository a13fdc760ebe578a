"""What a flag's `guard:` says: by which outcomes its percentage may move. Frozen values.

Knows neither YAML nor records.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

HOLDBACK_DAYS: Final = 14
"""So long a flag stays at its last stage before it can go to 100 %."""

EVENT: Final = re.compile(r"not-done|platform|in-between|slower:([0-9]{1,6}(?:\.[0-9]{1,3})?)")


class Event(NamedTuple):
    """Which runs are counted failures: `not-done`, `platform`, `in-between` or `slower`."""

    name: str = "not-done"
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}:{self.seconds:g}" if self.name == "slower" else self.name

    @property
    def words(self) -> str:
        """What such a deploy is, for people."""
        return {
            "not-done": "not done",
            "platform": "failed by the platform",
            "in-between": "left in between",
            "slower": f"slower than {self.seconds:g} s",
        }[self.name]


def parse_event(text: str) -> Event | None:
    """`not-done`, `platform`, `in-between` or `slower:SECONDS`; None for anything else."""
    match = EVENT.fullmatch(text)
    if match is None:
        return None
    return Event("slower", float(match[1])) if match[1] else Event(text)


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """When the percentage moves on, and when it is stopped.

    `stages` are thresholds (thousandths of a percent) that rise, `bake_s` is in seconds,
    `kill` and `advance` are evidence to one, `budget` is the share by which all failures
    together may rise, `min_units` how many units have to be inside.
    """

    stages: tuple[int, ...] = (5_000, 10_000, 25_000, 50_000, 95_000)
    bake_s: int = 24 * 3600
    event: Event = Event()
    kill: float = 100.0
    advance: float = 20.0
    budget: float = 0.25
    min_units: int = 30

    def next_stage(self, threshold: int) -> int | None:
        """The stage after `threshold`, None at the last or beyond."""
        return next((stage for stage in self.stages if stage > threshold), None)

    @property
    def words(self) -> dict[str, str]:
        """What each key says, as flags.yaml writes it."""
        hours, minutes = divmod(self.bake_s // 60, 60)
        return {
            "stages": ", ".join(f"{stage / 1000:g}" for stage in self.stages),
            "bake": f"{hours}h{f'{minutes}m' if minutes else ''}",
            "event": str(self.event),
            "kill": f"{self.kill:g}",
            "advance": f"{self.advance:g}",
            "budget": f"{self.budget:g}",
            "min_units": str(self.min_units),
        }
