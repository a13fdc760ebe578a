"""A release: what every machine of an app should be once the deploy is done. Pure.

Servers normalise configurations, so a returned one is never compared with one
that was sent: a digest of what we own travels in the metadata instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from typing import Any

from deploy.api.machine import Fleet, Machine
from deploy.plan.group import Group
from deploy.plan.stamps import DEPLOY, DIGEST, fly_release

DEFAULT_MAX_UNAVAILABLE = Decimal("0.33")
RESUME = ("resume",)


@dataclass(frozen=True, kw_only=True)
class Release:
    """`number` is Fly's release version: one more than that of the release before.

    `finish` are the words of the command that goes on with a deploy of it.
    """

    app: str
    deploy_id: str
    image: str
    groups: tuple[Group, ...]
    strategy: str = "rolling"
    max_unavailable: Decimal | int = DEFAULT_MAX_UNAVAILABLE
    region: str = ""
    number: int = 1
    high_availability: bool = True
    force: bool = False
    update_only: bool = False
    finish: tuple[str, ...] = RESUME

    @property
    def digest(self) -> str:
        """One digest over all groups: what a resume must find unchanged."""
        return _hash(list(self.digests.values()))

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """The digest of each process group, by its name: worked out once, not for each machine."""
        return {group.name: group_digest(self.image, group) for group in self.groups}

    def group(self, name: str) -> Group | None:
        """What fly.toml says of a process group, None where it has no such group."""
        return next((group for group in self.groups if group.name == name), None)


def group_digest(image: str, group: Group) -> str:
    """16 hex digits over the image and all that we own of the group's configuration."""
    return _hash({"image": image, "group": group.name, "config": group.config})


def unavailable_limit(max_unavailable: Decimal | int, size: int) -> int:
    """How many of `size` serving machines may be out at once: a count, or a fraction rounded up."""
    if max_unavailable >= 1:
        return min(int(max_unavailable), max(size, 1))
    share = Decimal(max_unavailable) * size
    return max(1, int(share.to_integral_value(ROUND_CEILING)))


def next_number(fleet: Fleet) -> int:
    """Fly's release version for the next release: one more than any machine carries."""
    return 1 + max((fly_release(machine)[1] for machine in fleet.managed), default=0)


def is_current(release: Release, machine: Machine) -> bool:
    """Whether the machine runs this release already, going by its stamps.

    Other tools copy metadata forward when they update or clone a machine, so
    the digest counts only while image, environment and Fly's release id read
    back as they were stamped.
    """
    group = release.group(machine.group)
    return (
        group is not None
        and machine.metadata.get(DIGEST) == release.digests[group.name]
        and machine.metadata.get("fly_release_id") == machine.metadata.get(DEPLOY)
        and machine.image == release.image
        and (machine.config.get("env") or {}) == (group.config.get("env") or {})
    )


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
