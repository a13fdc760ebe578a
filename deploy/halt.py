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
    """Set at most once; the first reason counts."""

    def __init__(self) -> None:
        self.reason: DeployError | None = None
        self._waits: set[anyio.CancelScope] = set()

    @property
    def is_set(self) -> bool:
        return self.reason is not None

    def set(self, reason: DeployError) -> None:
        if self.reason is None:
            self.reason = reason
            for scope in self._waits:
                scope.cancel()

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
