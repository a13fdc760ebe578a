"""What the platform asks of the router."""

from __future__ import annotations

from typing import Protocol

import msgspec

from deploy.local.state import App


class ServiceAddress(msgspec.Struct, frozen=True):
    """Where one service of an app can be reached; `moved`: on another port than its own."""

    port: int
    protocol: str
    address: str
    moved: bool


class Traffic(Protocol):
    """Carries requests to machines."""

    def sync(self, app: App) -> None:
        """The services of an app may have changed."""

    def remove(self, app: App) -> None:
        """The app is gone."""

    def services(self, app: str) -> list[ServiceAddress]:
        """Where the services of an app can be reached."""

    async def drain(self, machine_id: str, timeout_s: float) -> None:
        """Return when no request is in flight to the machine, or the time is over."""


class NoTraffic:
    """Nobody carries requests to the machines."""

    def sync(self, app: App) -> None:
        """Nothing listens for it."""

    remove = sync

    def services(self, _app: str) -> list[ServiceAddress]:
        return []

    async def drain(self, machine_id: str, timeout_s: float) -> None:
        """Nothing is in flight."""
