"""The app as it was before a deploy touched it. Pure.

Fixed once: availability is measured against it in every pass, both ways, and it
is what going back goes back to. For a deploy that is taken up again by another
computer it is put together from what the deploy wrote on the platform.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.api.machine import Fleet, Machine
from deploy.plan.release import (
    CANARY,
    FROM,
    WAS,
    is_made_by,
    is_stamped,
    read_was,
    replaced_by,
    replacement_name,
    role_of,
)

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
        lasting = (machine for machine in managed if role_of(machine)[0] != CANARY)
        return cls(managed, frozenset(machine.id for machine in lasting if machine.is_serving))

    @classmethod
    def before(cls, deploy_id: str, fleet: Fleet, versions: Versions) -> Base:
        """The base of a deploy that has begun: what the stamps say of each machine.

        A machine that the deploy made is no part of it, unless the machine that
        it replaced is gone: then it has taken its place.
        """
        managed = fleet.managed
        ids = managed.by_id.keys()
        names = {machine.name for machine in managed}
        replaced = {replaced_by(machine, deploy_id) for machine in managed}
        machines: list[Machine] = []
        serving: set[str] = set()
        lost: set[str] = set()
        for machine in managed:
            is_ours = is_made_by(machine, deploy_id)
            if is_ours and not _has_taken_a_place(machine, deploy_id, ids, names):
                continue
            old = machine
            if is_stamped(machine, deploy_id):
                config = versions.get(machine.id, {}).get(machine.metadata.get(FROM, ""))
                if config is None:
                    lost.add(machine.id)
                old = _as_it_was(machine, config if config is not None else machine.config)
            elif machine.id in replaced:
                old = replace(machine, state="started", cordoned=False)
            if _served(machine, old):
                serving.add(machine.id)
            machines.append(old)
        return cls(Fleet.of(machines), frozenset(serving), frozenset(lost))


def _has_taken_a_place(
    machine: Machine, deploy_id: str, ids: Collection[str], names: Collection[str]
) -> bool:
    replaced = replaced_by(machine, deploy_id)
    is_replaced = replacement_name(machine, deploy_id) in names
    return bool(replaced) and replaced not in ids and not is_replaced


def _as_it_was(machine: Machine, config: Mapping[str, Any]) -> Machine:
    state, cordoned = read_was(machine.metadata.get(WAS, ""))
    return replace(
        machine,
        config=config,
        version=machine.metadata.get(FROM, ""),
        state=state or "started",
        cordoned=cordoned,
        checks=(),
    )


def _served(machine: Machine, old: Machine) -> bool:
    """Whether it was in service; of a machine that was written to, only its stamp can tell."""
    if old is machine:
        return machine.is_serving
    return old.state == "started" and not old.cordoned
