"""A release: what every machine of an app should be once the deploy is done.

Pure. Knows which configuration keys are ours, how they are merged over what a
machine already has, and which stamps say that a machine is there already.
Servers normalise configurations, so a returned one is never compared with one
that was sent: a digest of what we own travels in the metadata instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from deploy.api.machine import Fleet, Machine
from deploy.flytoml.appconfig import Group

DIGEST = "tidegate_digest"
DEPLOY = "tidegate_deploy"
FROM = "tidegate_from"
WAS = "tidegate_was"
ROLE = "tidegate_role"
INTENT = "tidegate_intent"

# Roles: "canary DEPLOY_ID" and "replaces MACHINE_ID DEPLOY_ID".
CANARY = "canary"
REPLACES = "replaces"

DEFAULT_MAX_UNAVAILABLE = Decimal("0.33")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """`number` is Fly's release version: one more than that of the release before."""

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

    @property
    def digest(self) -> str:
        """One digest over all groups: what a resume must find unchanged."""
        return _hash([group_digest(self.image, group) for group in self.groups])


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


def is_current(release: Release, group: Group, machine: Machine) -> bool:
    """Whether the machine runs this release already, going by its stamps.

    Other tools copy metadata forward when they update or clone a machine, so
    the digest counts only while image, environment and Fly's release id read
    back as they were stamped.
    """
    return (
        machine.metadata.get(DIGEST) == group_digest(release.image, group)
        and machine.metadata.get("fly_release_id") == machine.metadata.get(DEPLOY)
        and machine.image == release.image
        and (machine.config.get("env") or {}) == (group.config.get("env") or {})
    )


def is_stamped(machine: Machine, deploy_id: str) -> bool:
    """Whether the machine's present version was written by this deploy."""
    return machine.metadata.get(DEPLOY) == deploy_id == machine.metadata.get("fly_release_id")


def fly_release(machine: Machine) -> tuple[str, int]:
    """(id, number) of the release that the machine runs, by Fly's own stamps; "" and 0 if none."""
    number = machine.metadata.get("fly_release_version", "")
    return machine.metadata.get("fly_release_id", ""), int(number) if number.isdecimal() else 0


def is_made_by(machine: Machine, deploy_id: str) -> bool:
    """Whether this deploy created the machine.

    Metadata alone does not say so, since clones copy it: the name must be one
    that this deploy gives, too.
    """
    if role_of(machine)[2] == deploy_id:
        return True
    slot = machine.name.removeprefix(f"{machine.group}-")
    created = is_stamped(machine, deploy_id) and not machine.metadata.get(FROM)
    return created and slot != machine.name and slot.isdecimal()


def replaced_by(machine: Machine, deploy_id: str) -> str:
    """The id of the machine whose place this one was made by the deploy to take; else empty."""
    kind, subject, maker = role_of(machine)
    return subject if kind == REPLACES and maker == deploy_id else ""


def replacement_name(machine: Machine, deploy_id: str) -> str:
    """The name that the deploy gives to a machine made in this one's stead."""
    return f"{machine.group}-{machine.id[-8:]}-{deploy_id[-6:]}"


def role_of(machine: Machine) -> tuple[str, str, str]:
    """(kind, machine id or empty, deploy id) of a machine made beside others; else three blanks."""
    kind, _, rest = machine.metadata.get(ROLE, "").partition(" ")
    subject, _, maker = rest.rpartition(" ")
    if kind in (CANARY, REPLACES) and maker and machine.name.endswith(f"-{maker[-6:]}"):
        return kind, subject, maker
    return "", "", ""


def was(machine: Machine) -> str:
    """State and cordon in one word, to be read back by `read_was`."""
    return f"{machine.state},cordoned" if machine.cordoned else machine.state


def read_was(text: str) -> tuple[str, bool]:
    """(state, cordoned) out of a `tidegate_was` stamp."""
    state, _, cordoned = text.partition(",")
    return state, cordoned == "cordoned"


def updated_config(
    release: Release, group: Group, machine: Machine, *, launch: bool
) -> dict[str, Any]:
    """The whole configuration to send for an update of `machine`.

    What fly.toml owns replaces what is there, keys that are gone from it
    included; everything else, known to us or not, is sent back untouched. A
    machine keeps the volumes it has. One that this deploy made to take
    another's place counts as having been what it is to be.
    """
    merged = {key: value for key, value in machine.config.items() if value is not None}
    merged |= group.config
    merged["image"] = release.image
    merged["mounts"] = _keep_volumes(group.config.get("mounts") or [], machine)
    if group.has_services:
        merged.pop("standbys", None)
    metadata = {**machine.metadata, **_stamps(release, group)}
    if not is_stamped(machine, release.deploy_id):  # else it says so already
        metadata |= {FROM: machine.version or "unknown", WAS: was(machine)}
    if role_of(machine)[2] == release.deploy_id:
        metadata[WAS] = "started" if launch else "stopped"
    else:
        metadata.pop(ROLE, None)
    merged["metadata"] = metadata
    return merged


def created_config(release: Release, group: Group, *, role: str = "") -> dict[str, Any]:
    """The whole configuration of a machine that does not exist yet."""
    metadata = {**_stamps(release, group), FROM: "", WAS: ""}
    if role:
        metadata[ROLE] = role
    return {**group.config, "image": release.image, "metadata": metadata}


def mounts_fit(group: Group, machine: Machine) -> bool:
    """Whether an update can serve: the machine has exactly the mounts that fly.toml asks for."""
    wanted = {_mount_key(mount) for mount in group.config.get("mounts") or ()}
    present = {_mount_key(mount) for mount in machine.config.get("mounts") or ()}
    return {path for _, path in wanted} == {path for _, path in present} and all(
        name == other or not name or not other
        for name, path in wanted
        for other, same in present
        if path == same
    )


def _keep_volumes(wanted: list[Mapping[str, Any]], machine: Machine) -> list[dict[str, Any]]:
    present = {mount.get("path"): mount for mount in machine.config.get("mounts") or ()}
    return [{**present.get(mount.get("path"), {}), **mount} for mount in wanted]


def _mount_key(mount: Mapping[str, Any]) -> tuple[str, str]:
    return str(mount.get("name") or ""), str(mount.get("path") or "")


def _stamps(release: Release, group: Group) -> dict[str, str]:
    return {
        "fly_platform_version": "v2",
        "fly_process_group": group.name,
        "fly_release_id": release.deploy_id,
        "fly_release_version": str(release.number),
        DIGEST: group_digest(release.image, group),
        DEPLOY: release.deploy_id,
    }


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
