"""What the machines of one process group should be, as fly.toml and the options describe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One process group.

    `config` is a machine configuration in the shape of the Machines API, holding
    the keys that a deploy owns whole, always all of them (empty when fly.toml
    says nothing): env, services, checks, init, mounts, files, restart,
    stop_config; and guest, metrics, statics only when fly.toml names them. No
    image, no metadata, no volume. The same text gives the same value, and it is
    JSON.
    """

    name: str
    config: Mapping[str, Any]

    @property
    def has_services(self) -> bool:
        return bool(self.config["services"])

    @property
    def has_checks(self) -> bool:
        in_services = any(service.get("checks") for service in self.config["services"])
        return in_services or bool(self.config["checks"])

    @property
    def has_mounts(self) -> bool:
        return bool(self.config["mounts"])
