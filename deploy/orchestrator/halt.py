"""One switch that says: begin nothing new, and stop waiting.

Writes that are under way are never cut: whether they happened would be a
guess. Waiting is only reading, and ends at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from deploy.errors import DeployError


class Cut(Exception):
    """A wait ended because the run is being halted, not because of the machine."""


class Halt:
    """The first reason counts, but for a final one: that of a person who wants out."""

    def __init__(self) -> None:
        self.reason: DeployError | None = None
        self.is_final = False
        self.has_turned_back = False
        self._waits: set[anyio.CancelScope] = set()

    @property
    def is_set(self) -> bool:
        return self.reason is not None

    def set(self, reason: DeployError, *, final: bool = False) -> None:
        if self.reason is None or (final and not self.is_final):
            self.reason = reason
            self.is_final = final
            for scope in self._waits:
                scope.cancel()

    def clear(self) -> None:
        """Go on, in the other direction; after a final reason there is no going on."""
        self.has_turned_back = True
        if not self.is_final:
            self.reason = None

    @contextmanager
    def cuts(self) -> Iterator[None]:
        """A block of waiting. Raises Cut when the run is halted before or during it."""
        if self.is_set:
            raise Cut
        with anyio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                yield
            finally:
                self._waits.discard(scope)
        if scope.cancelled_caught:
            raise Cut
