"""The app as it was before a deploy touched it. Pure.

Fixed once: availability is measured against it in every pass, both ways, and it
is what going back goes back to. For a deploy that is taken up again by another
computer it is put together from what the deploy wrote on the platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deploy.api.machine import Fleet, Machine
from deploy.plan.intent import read_intent
from deploy.plan.places import Places, places_of
from deploy.plan.stamps import (
    DEPLOY,
    FROM,
    WAS,
    Was,
    fly_release,
    is_made_by,
    is_stamped,
    read_was,
    role_of,
)

Versions = Mapping[str, Mapping[str, Mapping[str, Any]]]  # machine id -> version -> configuration


@dataclass(frozen=True, slots=True)
class Base:
    """`machines` with the configuration, state and cordon from before; the rest are ids.

    `serving` were in service. `down` did not run by their own bad exit, or because
    of a deploy that is taken over, and are to be brought up. Of `lost` nobody has
    the old configuration any more.
    """

    machines: Fleet
    serving: frozenset[str]
    down: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()

    @classmethod
    def of(cls, fleet: Fleet) -> Base:
        """The base of a deploy that begins now."""
        managed = fleet.managed
        serving = frozenset(m.id for m in managed if m.is_serving and not _is_canary(m))
        unfinished = {intent.deploy for m in managed if (intent := read_intent(m))}
        down = frozenset(m.id for m in managed if m.is_down or _was_brought_down(m, unfinished))
        return cls(managed, serving, down)

    @classmethod
    def before(cls, deploy_id: str, fleet: Fleet, versions: Versions) -> Base:
        """The base of a deploy that has begun: what the stamps say of each machine.

        A machine that the deploy made is no part of it, unless everybody who held
        its place before is gone: then it has taken that.
        """
        there = _there(fleet, deploy_id)
        written = [machine for machine in there if is_stamped(machine, deploy_id)]
        written += put_back(fleet, deploy_id, versions)
        found = {machine.id: versions.get(machine.id, {}) for machine in written}
        old = _as_they_ran(there, places_of(fleet.managed, deploy_id))
        old |= {machine.id: _as_it_was(machine, found[machine.id]) for machine in written}
        sick = {machine.id for machine in written if _was(machine).sick}
        return cls(
            Fleet.of(old.values()),
            serving=frozenset(m.id for m in there if _served(m, old[m.id])) - sick,
            down=frozenset(m.id for m in written if _was(m).down),
            lost=frozenset(m.id for m in written if _came_from(m) not in found[m.id]),
        )


def to_be_asked_for(fleet: Fleet, deploy_id: str) -> list[Machine]:
    """The machines whose versions tell what they were before the deploy.

    It wrote them, or they have ended by themselves, and it may have put them back before.
    """
    return [m for m in fleet.managed if is_stamped(m, deploy_id) or _has_ended(m)]


def put_back(fleet: Fleet, deploy_id: str, versions: Versions) -> list[Machine]:
    """What the deploy wrote and has put back, each with the configuration that it had in between.

    That says whether it ran before; the one that it has again does not.
    """
    found = []
    for machine in _there(fleet, deploy_id):
        known = versions.get(machine.id, {})
        written = (replace(machine, config=config) for config in known.values())
        between = next((one for one in written if is_stamped(one, deploy_id)), None)
        if between is None or is_stamped(machine, deploy_id):
            continue
        if fly_release(_as_it_was(between, known)) == fly_release(machine):
            found.append(between)  # else somebody else has written since
    return found


def _has_ended(machine: Machine) -> bool:
    """Whether it does not run, and nobody asked for that."""
    by_itself = bool(machine.exits) and not machine.exits[0].requested
    return machine.state == "failed" or (machine.state == "stopped" and by_itself)


def _there(fleet: Fleet, deploy_id: str) -> list[Machine]:
    """The machines that were there before the deploy, or have taken the place of such."""
    heirs = places_of(fleet.managed, deploy_id).heirs
    return [m for m in fleet.managed if not is_made_by(m, deploy_id) or m.id in heirs]


def _as_they_ran(there: list[Machine], places: Places) -> dict[str, Machine]:
    """By id. What a running machine is to stand in for served, whatever has become of it.

    So did the place that a stand-in has taken which has not been updated yet.
    """
    moved = places.stood_in_for | places.heirs

    def ran(machine: Machine) -> bool:
        return machine.id in moved and (
            _was(places.by_machine[machine.id].stand_ins[-1]).state != "stopped"
        )

    return {m.id: replace(m, state="started", cordoned=False) if ran(m) else m for m in there}


def _is_canary(machine: Machine) -> bool:
    role = role_of(machine)
    return role is not None and role.is_canary


def _came_from(machine: Machine) -> str:
    return machine.metadata.get(FROM, "")


def _was(machine: Machine) -> Was:
    return read_was(machine.metadata.get(WAS, ""))


def _was_brought_down(machine: Machine, unfinished: set[str]) -> bool:
    """Whether it ran before an unfinished deploy wrote it, and does not any more by itself."""
    deploy_id = machine.metadata.get(DEPLOY, "")
    if deploy_id not in unfinished or not is_stamped(machine, deploy_id):
        return False
    was_asked = bool(machine.exits) and machine.exits[0].requested
    return machine.state == "stopped" and _was(machine).state == "started" and not was_asked


def _as_it_was(machine: Machine, versions: Mapping[str, Mapping[str, Any]]) -> Machine:
    came_from = _came_from(machine)
    was = _was(machine)
    return replace(
        machine,
        config=versions.get(came_from, machine.config),
        version=came_from,
        state=was.state or "started",
        cordoned=was.cordoned,
        checks=(),
    )


def _served(machine: Machine, old: Machine) -> bool:
    """Whether it was in service; of a machine that was written to, only its stamp can tell."""
    if old is machine:
        return machine.is_serving
    return old.state == "started" and not old.cordoned
