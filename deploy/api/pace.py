"""Keep to the platform's request limits without being told 429 first.

Fly.io allows 1 request/s per action per machine (create and list: per app,
burst 3) and 5/s with a burst of 10 for reading one machine. Each (action,
machine) waits for itself only, so a busy machine never slows another.
"""

from __future__ import annotations

import anyio


class Pace:
    """A virtual-scheduling rate limiter (the "leaky bucket as a meter" of ATM's GCRA)."""

    def __init__(self, *, interval_s: float, burst: int) -> None:
        self._interval_s = interval_s
        self._slack_s = interval_s * (burst - 1)
        self._due: dict[tuple[str, str], float] = {}

    async def turn(self, operation: str, subject: str) -> None:
        """Wait until `operation` on `subject` may be sent."""
        now = anyio.current_time()
        due = max(self._due.get((operation, subject), now), now)
        self._due[operation, subject] = due + self._interval_s
        await anyio.sleep(max(0.0, due - self._slack_s - now))
