"""Which volumes machines that are to be made can have, and which there are too few of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deploy.plan.actions import Action, Create

Volume = tuple[str, str, str]
"""(id, name, region) of a volume that no machine has."""


def volume_name(mount: Mapping[str, Any]) -> str:
    return str(mount.get("name") or "data")


def take_free(free: list[Volume], mount: Mapping[str, Any], region: str) -> str:
    """The id of a free volume of the mount's name, taken out of `free`; empty without one."""
    name = volume_name(mount)
    volume = next((v for v in free if v[1] == name and region in ("", v[2])), None)
    if volume is None:
        return ""
    free.remove(volume)
    return volume[0]


def missing_volumes(actions: Iterable[Action], free: list[Volume]) -> list[tuple[str, str]]:
    """(name, region) of every volume that would have to be made for these actions."""
    left = list(free)
    return [
        (volume_name(mount), action.region)
        for action in actions
        if isinstance(action, Create)
        for mount in (action.then or action.config).get("mounts") or ()
        if not mount.get("volume") and not take_free(left, mount, action.region)
    ]
