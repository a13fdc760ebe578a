"""Reasons said once, where a failure comes up as a hiccup, as a pass's end and as the run's."""

from __future__ import annotations

import re
from dataclasses import replace

from deploy.events import Event, HiccupMet, Noticed, PassFinished, RunFinished

_REQUEST = re.compile(r" ?\[fly-request-id [^\]]*\]")  # another one each time it is asked


class Once:
    """Takes events one by one and gives back those to be told now.

    The end of a pass is held back until the next event: where that says the same
    reason, the pass goes without. `tells_hiccups`: each is told by itself, too.
    """

    def __init__(self, *, tells_hiccups: bool) -> None:
        self._tells_hiccups = tells_hiccups
        self._told: set[str] = set()
        self._held: PassFinished | None = None

    def take(self, event: Event) -> list[Event]:
        held, self._held = self._held, None
        match event:
            case PassFinished():
                is_told = event.reason in self._told
                self._held = replace(event, reason="") if is_told else event
                return [held] if held else []
            case Noticed() if held and held.reason and _says(event.message, held.reason):
                self._held = held
                return []
            case RunFinished() if held and _says(event.message, held.reason):
                held = replace(held, reason="")
            case HiccupMet() if self._tells_hiccups:
                self._told.add(event.message)
            case _:
                pass
        return [held, event] if held else [event]

    def rest(self) -> list[Event]:
        """What is still held back when no more events come."""
        held, self._held = self._held, None
        return [held] if held else []


def _says(message: str, reason: str) -> bool:
    return _REQUEST.sub("", reason) in _REQUEST.sub("", message)
