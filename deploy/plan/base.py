"""The app as it was before a deploy touched it. Pure.

Fixed once: availability is measured against it in every pass, both ways, and it
is what going back goes back to. For a deploy that is taken up again by another
computer it is put together from what the deploy wrote on the platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.api.machine import Fleet, Machine
from deploy.plan.places import places_of
from deploy.plan.stamps import FROM, WAS, is_made_by, is_stamped, read_was, role_of

Versions = Mapping[str, Mapping[str, Mapping[str, Any]]]  # machine id -> version -> configuration


@dataclass(frozen=True, slots=True)
class Base:
    """`machines` with the configuration, state and cordon from before; `serving` are ids.

    `lost` holds the ids of machines whose old configuration nobody has any more.
    """

    machines: Fleet
    serving: frozenset[str]
    lost: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, fleet: Fleet) -> Base:
        """The base of a deploy that begins now."""
        managed = fleet.managed
        serving = frozenset(m.id for m in managed if m.is_serving and not _is_canary(m))
        return cls(managed, serving)

    @classmethod
    def before(cls, deploy_id: str, fleet: Fleet, versions: Versions) -> Base:
        """The base of a deploy that has begun: what the stamps say of each machine.

        A machine that the deploy made is no part of it, unless everybody who held
        its place before is gone: then it has taken that.
        """
        places = places_of(fleet.managed, deploy_id)
        heirs, replaced = places.heirs, places.stood_in_for
        machines: list[Machine] = []
        serving: set[str] = set()
        lost: set[str] = set()
        for machine in fleet.managed:
            if is_made_by(machine, deploy_id) and machine.id not in heirs:
                continue
            old = machine
            if is_stamped(machine, deploy_id):
                old, is_lost = _as_it_was(machine, versions.get(machine.id, {}))
                lost |= {machine.id} if is_lost else set()
            elif machine.id in replaced:
                old = replace(machine, state="started", cordoned=False)
            if _served(machine, old):
                serving.add(machine.id)
            machines.append(old)
        return cls(Fleet.of(machines), frozenset(serving), frozenset(lost))


def _is_canary(machine: Machine) -> bool:
    role = role_of(machine)
    return role is not None and role.is_canary


def _as_it_was(machine: Machine, versions: Mapping[str, Mapping[str, Any]]) -> tuple[Machine, bool]:
    """The machine before the deploy wrote it, and whether its configuration from then is lost."""
    came_from = machine.metadata.get(FROM, "")
    config = versions.get(came_from)
    state, cordoned = read_was(machine.metadata.get(WAS, ""))
    old = replace(
        machine,
        config=machine.config if config is None else config,
        version=came_from,
        state=state or "started",
        cordoned=cordoned,
        checks=(),
    )
    return old, config is None


def _served(machine: Machine, old: Machine) -> bool:
    """Whether it was in service; of a machine that was written to, only its stamp can tell."""
    if old is machine:
        return machine.is_serving
    return old.state == "started" and not old.cordoned
