"""The whole configuration to send for a machine: what fly.toml owns over what is there. Pure.

Keys that are ours replace what a machine has, those that are gone from fly.toml
included; everything else, known to us or not, is sent back untouched, and so is
what fly.toml has no word for within a key that is ours.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any

from deploy.api.machine import Machine
from deploy.plan.group import Group
from deploy.plan.release import Release, group_digest
from deploy.plan.stamps import (
    DEPLOY,
    DIGEST,
    FROM,
    INTENT,
    ROLE,
    WAS,
    Role,
    is_stamped,
    role_of,
    was,
)

_OURS_WHERE_NAMED = ("metrics", "statics")
_WORDS = {
    "init": ("cmd", "entrypoint", "exec", "swap_size_mb"),
    "restart": ("policy", "max_retries"),
    "stop_config": ("signal", "timeout"),
}
"""Of a key that is ours what fly.toml can say: `init.tty` is not among it."""


def updated_config(
    release: Release, group: Group, machine: Machine, *, launch: bool
) -> dict[str, Any]:
    """For an update of `machine` to the release.

    A machine keeps the volumes it has. One that this deploy made to take
    another's place counts as having been what it is to be; the role stays, since
    the machine before it may still be there.
    """
    present = _present(machine.config)
    kept = {key: value for key, value in present.items() if key not in _OURS_WHERE_NAMED}
    merged = {**kept, **group.config}
    for key, words in _WORDS.items():
        merged[key] = {**_unsaid(present.get(key), words), **group.config[key]}
    merged["image"] = release.image
    merged["mounts"] = _keep_volumes(group.config.get("mounts") or [], machine)
    if group.has_services:
        merged.pop("standbys", None)
    metadata = {**machine.metadata, **_stamps(release, group)}
    if not is_stamped(machine, release.deploy_id):  # else it says so already
        metadata |= {FROM: machine.version or "unknown", WAS: was(machine)}
    if release.deploy_id not in metadata.get(INTENT, ""):
        metadata.pop(INTENT, None)  # an earlier deploy's, which this one goes over
    role = role_of(machine)
    if role is None:
        metadata.pop(ROLE, None)  # a copy of another's
    elif role.maker == release.deploy_id:
        metadata[WAS] = _ran(launch)
    merged["metadata"] = metadata
    return merged


def created_config(release: Release, group: Group, role: Role | None = None) -> dict[str, Any]:
    """For a machine that does not exist yet."""
    metadata = {**_stamps(release, group), FROM: "", WAS: ""}
    if role is not None:
        metadata[ROLE] = str(role)
    return {**group.config, "image": release.image, "metadata": metadata}


def replacement_configs(
    release: Release, group: Group, machine: Machine, *, name: str, role: Role, launch: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """For a machine that takes the place of `machine`: (made with, updated at once to).

    It is made with the old configuration, so that its versions hold the way
    back when the old machine is gone, and with whether that one ran.
    """
    first = {"image": release.image, **_present(machine.config)}  # a lost host may tell none
    first["metadata"] = {**machine.metadata, ROLE: str(role), WAS: _ran(launch)}
    first["mounts"] = [dict(mount) for mount in group.config["mounts"]]
    made = replace(machine, name=name, config=first)
    return first, updated_config(release, group, made, launch=launch)


def restored_config(
    config: Mapping[str, Any], intent: str | None, deploy_id: str
) -> dict[str, Any]:
    """A configuration from before, to be sent back.

    The intent that the machine carries now stays until the run is over, so that
    another computer can finish going back. What says that this deploy made the
    machine does not come back.
    """
    kept = _present(config)
    metadata = {
        key: value
        for key, value in (kept.get("metadata") or {}).items()
        if key != INTENT and not (key in (DEPLOY, ROLE) and str(value).endswith(deploy_id))
    }
    kept["metadata"] = metadata | ({INTENT: intent} if intent else {})
    return kept


def reissued_config(
    release: Release, machine: Machine, config: Mapping[str, Any], *, was_before: str
) -> dict[str, Any]:
    """For an update of `machine` to a configuration of an earlier release, as a new release."""
    kept = _present(config)
    if machine.config.get("mounts"):
        kept["mounts"] = machine.config["mounts"]
    metadata = {k: v for k, v in (kept.get("metadata") or {}).items() if k not in (INTENT, ROLE)}
    kept["metadata"] = (
        metadata
        | _release_stamps(release)
        | {FROM: machine.version or "unknown", WAS: was_before}
        | {key: machine.metadata[key] for key in (INTENT, ROLE) if machine.metadata.get(key)}
    )
    return kept


def clone_config(machine: Machine, deploy_id: str) -> dict[str, Any]:
    """For one more machine like this, made by `deploy_id`.

    Its digest holds, since it is the same; its intent and its history do not.
    """
    config = _present(machine.config)
    config.pop("standbys", None)
    if config.get("mounts"):  # a volume belongs to one machine
        config["mounts"] = [{**mount, "volume": ""} for mount in config["mounts"]]
    kept = {k: v for k, v in machine.metadata.items() if k not in (INTENT, FROM, WAS, ROLE)}
    config["metadata"] = {**kept, DEPLOY: deploy_id, "fly_release_id": deploy_id, FROM: "", WAS: ""}
    return config


def mounts_fit(group: Group, machine: Machine) -> bool:
    """Whether an update can serve: the machine has exactly the mounts that fly.toml asks for."""
    wanted = _names_by_path(group.config)
    present = _names_by_path(machine.config)
    return wanted.keys() == present.keys() and all(
        "" in (name, present[path]) or name == present[path] for path, name in wanted.items()
    )


def _names_by_path(config: Mapping[str, Any]) -> dict[str, str]:
    mounts = config.get("mounts") or ()
    return {str(mount.get("path") or ""): str(mount.get("name") or "") for mount in mounts}


def _keep_volumes(wanted: list[Mapping[str, Any]], machine: Machine) -> list[dict[str, Any]]:
    present = {mount.get("path"): mount for mount in machine.config.get("mounts") or ()}
    return [{**present.get(mount.get("path"), {}), **mount} for mount in wanted]


def _ran(launch: bool) -> str:
    """What a stand-in says of the machine before it: it ran if this one is to run."""
    return "started" if launch else "stopped"


def _unsaid(there: object, words: Container[str]) -> dict[str, Any]:
    """What a key of ours holds on a machine that fly.toml has no word for."""
    if not isinstance(there, Mapping):
        return {}
    return _present({word: value for word, value in there.items() if word not in words})


def _present(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a server says is null was never set."""
    return {key: value for key, value in config.items() if value is not None}


def _stamps(release: Release, group: Group) -> dict[str, str]:
    return _release_stamps(release) | {
        "fly_platform_version": "v2",
        "fly_process_group": group.name,
        DIGEST: group_digest(release.image, group),
    }


def _release_stamps(release: Release) -> dict[str, str]:
    return {
        "fly_release_id": release.deploy_id,
        "fly_release_version": str(release.number),
        DEPLOY: release.deploy_id,
    }
