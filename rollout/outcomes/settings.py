"""What `guard:` in a flag says. Frozen; knows neither YAML nor records."""

from __future__ import annotations

from typing import Final

import msgspec

HOLDBACK_DAYS: Final = 14


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """When the percentage moves on, and when it is stopped.

    `stages` are thresholds (thousandths of a percent) that rise, `bake_s` is in seconds;
    `kill` and `advance` are evidence, to one; `budget` is the share by which failures may rise.
    """

    stages: tuple[int, ...] = (5_000, 10_000, 25_000, 50_000, 95_000)
    bake_s: int = 24 * 3600
    event: str = "not-done"
    kill: float = 100.0
    advance: float = 20.0
    budget: float = 0.25
    min_units: int = 30

    def next_stage(self, threshold: int) -> int | None:
        """The stage after `threshold`, None at the last or beyond."""
        return next((stage for stage in self.stages if stage > threshold), None)
