"""What the platform asks of the router."""

from __future__ import annotations

from typing import Any, Protocol

from deploy.local.state import App


class Traffic(Protocol):
    """Carries requests to machines."""

    def sync(self, app: App) -> None:
        """The services of an app may have changed."""

    def remove(self, app: App) -> None:
        """The app is gone."""

    def services(self, app: str) -> list[dict[str, Any]]:
        """Where the services of an app can be reached, as JSON."""

    async def drain(self, machine_id: str, timeout_s: float) -> None:
        """Return when no request is in flight to the machine, or the time is over."""


class NoTraffic:
    """Nobody carries requests to the machines."""

    def sync(self, app: App) -> None:
        """Nothing listens for it."""

    remove = sync

    def services(self, _app: str) -> list[dict[str, Any]]:
        return []

    async def drain(self, machine_id: str, timeout_s: float) -> None:
        """Nothing is in flight."""
