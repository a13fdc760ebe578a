"""What the machines of one process group should be, as fly.toml and the options describe it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCheck:
    """A command that tries a new machine of a group from another one; its exit code has to be 0.

    `image` is empty for the release's. `init` and `stop_config` are those of its
    machine's configuration; `init` has the command.
    """

    init: Mapping[str, Any]
    image: str = ""
    stop_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What it runs, as one would type it."""
        return shlex.join([*self.init.get("entrypoint", ()), *self.init["cmd"]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One process group.

    `config` is a machine configuration in the shape of the Machines API, holding
    the keys that a deploy owns whole, always all of them (empty when fly.toml
    says nothing): env, services, checks, init, mounts, files, restart,
    stop_config; and guest, metrics, statics only when fly.toml names them (the
    latter two go from a machine where it does not). No image, no metadata, no
    volume. The same text gives the same value, and it is JSON. `machine_checks`
    are not part of what its machines are: each is there once.
    """

    name: str
    config: Mapping[str, Any]
    machine_checks: tuple[MachineCheck, ...] = ()

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
