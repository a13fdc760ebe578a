"""What a deploy writes into a machine's metadata, and what that says when it is read back.

Other tools copy metadata forward when they update or clone a machine, so a
stamp counts only beside what they do not copy: Fly's own release id, or a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from deploy.api.machine import Machine

DIGEST = "tidegate_digest"
DEPLOY = "tidegate_deploy"
FROM = "tidegate_from"
WAS = "tidegate_was"
ROLE = "tidegate_role"
INTENT = "tidegate_intent"

_OF_A_RUN = re.compile(r"([0-9a-z]{16})/[0-9a-z]{16}")
_CANARY = "canary"
_REPLACES = "replaces"


@dataclass(frozen=True, slots=True)
class Role:
    """What a machine was made for beside others, and by which deploy.

    `replaces` is the id of the machine whose place it was made to take, empty
    for a canary. Written as `canary DEPLOY` or `replaces MACHINE DEPLOY`.
    """

    maker: str
    replaces: str = ""

    @property
    def is_canary(self) -> bool:
        return not self.replaces

    def __str__(self) -> str:
        words = (_REPLACES, self.replaces) if self.replaces else (_CANARY,)
        return " ".join((*words, self.maker))


def role_of(machine: Machine) -> Role | None:
    """The role of a machine, None where it has none, or only a copy of another's."""
    match machine.metadata.get(ROLE, "").split(" "):
        case [kind, maker] if kind == _CANARY and maker:
            role = Role(maker)
        case [kind, subject, maker] if kind == _REPLACES and subject and maker:
            role = Role(maker, subject)
        case _:
            return None
    return role if machine.name.endswith(f"-{role.maker[-6:]}") else None


def is_stamped(machine: Machine, deploy_id: str) -> bool:
    """Whether the machine's present version was written by this deploy."""
    return machine.metadata.get(DEPLOY) == deploy_id == machine.metadata.get("fly_release_id")


def is_made_by(machine: Machine, deploy_id: str) -> bool:
    """Whether this deploy created the machine.

    Metadata alone does not say so, since clones copy it: the name must be one
    that this deploy gives, too.
    """
    role = role_of(machine)
    if role is not None and role.maker == deploy_id:
        return True
    slot = machine.name.removeprefix(f"{machine.group}-")
    created = is_stamped(machine, deploy_id) and not machine.metadata.get(FROM)
    return created and slot != machine.name and slot.isdecimal()


def replaced_by(machine: Machine, deploy_id: str) -> str:
    """The id of the machine whose place this one was made by the deploy to take; else empty."""
    role = role_of(machine)
    return role.replaces if role is not None and role.maker == deploy_id else ""


def slot_name(group: str, slot: int) -> str:
    """The name of a machine made in a place of its own: `web-1`."""
    return f"{group}-{slot}"


def canary_name(group: str, deploy_id: str, number: int = 1) -> str:
    """Of the deploy's first canary in the group, or of one that follows a dead one."""
    nth = f"{number}-" if number > 1 else ""
    return f"{group}-canary-{nth}{deploy_id[-6:]}"


def replacement_name(machine: Machine, deploy_id: str) -> str:
    """The name that the deploy gives to a machine made in this one's stead."""
    return f"{machine.group}-{machine.id[-8:]}-{deploy_id[-6:]}"


def fly_release(machine: Machine) -> tuple[str, int]:
    """(id, number) of the release that the machine runs, by Fly's own stamps; "" and 0 if none."""
    number = machine.metadata.get("fly_release_version", "")
    return machine.metadata.get("fly_release_id", ""), int(number) if number.isdecimal() else 0


def lease_description(deploy_id: str, run_id: str) -> str:
    """What a run writes on its leases, to be read back by `deploy_of_lease`."""
    return f"{deploy_id}/{run_id}"


def deploy_of_lease(description: str) -> str:
    """The deploy whose run holds a lease; empty for another tool's words."""
    found = _OF_A_RUN.fullmatch(description)
    return found[1] if found else ""


class Was(NamedTuple):
    """What a `tidegate_was` stamp tells of a machine; `sick`: it ran, and failed its checks."""

    state: str
    cordoned: bool
    down: bool
    sick: bool


def was(machine: Machine) -> str:
    """State, cordon and whether it was down or sick, in one word, to be read back by `read_was`."""
    flags = {
        "cordoned": machine.cordoned,
        "down": machine.is_down and machine.state == "stopped",  # `failed` says so itself
        "sick": machine.state == "started" and not machine.checks_pass,
    }
    return ",".join([machine.state, *(flag for flag, is_so in flags.items() if is_so)])


def read_was(text: str) -> Was:
    state, *flags = text.split(",")
    return Was(state, "cordoned" in flags, "down" in flags, "sick" in flags)
