"""What is to be done: (release, fleet) -> actions.

Pure. It is asked again before every pass, so that what is
done already is not done again: planning after everything is done yields
nothing. The order in which actions are carried out is the strategy's affair.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from deploy.api.machine import RESTING, Fleet, Machine
from deploy.flytoml.appconfig import Group
from deploy.plan.base import Base
from deploy.plan.intent import Intent, read_intent
from deploy.plan.release import (
    CANARY,
    DEPLOY,
    FROM,
    INTENT,
    REPLACES,
    ROLE,
    Release,
    created_config,
    is_current,
    mounts_fit,
    replaced_by,
    replacement_name,
    role_of,
    updated_config,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something to do to one machine. `machine_id` is empty until a machine exists."""

    machine_id: str = ""
    name: str = ""
    group: str = ""

    @property
    def key(self) -> str:
        """What identifies the machine from one pass to the next."""
        return self.machine_id or self.name

    @property
    def verb(self) -> str:
        return type(self).__name__.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Create(Action):
    """Make a machine; `replaces` is the id of the one whose place it takes.

    `standby_for` is the name of the machine that it stands by for. With `then`
    it is made unstarted and updated at once to that configuration.
    """

    config: Mapping[str, Any]
    region: str = ""
    launch: bool = True
    cordoned: bool = False
    replaces: str = ""
    standby_for: str = ""
    then: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Action):
    """Replace a machine's configuration, provided that it is still on `current_version`."""

    config: Mapping[str, Any]
    current_version: str
    launch: bool
    serves: bool = True  # whether it is then expected to pass its checks
    restores: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(Action):
    """Nothing to write: the machine is as it should be, but has not been seen to serve."""

    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Action):
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Action):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cordon(Action):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncordon(Action):
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroy(Action):
    pass


# A machine in one of these states was not running, and is left not running.
_COLD = frozenset({"stopped", "stopping", "suspended", "suspending", "created"})


def should_launch(state: str, *, standby: bool = False) -> bool:
    """Whether an update may start the machine: cold machines keep their state.

    A standby runs only while it has taken over for the machine it stands by.
    """
    if standby:
        return state == "started"
    return state not in _COLD


def plan(
    release: Release,
    fleet: Fleet,
    base: Base,
    *,
    doubtful: frozenset[str] = frozenset(),
    refused: frozenset[str] = frozenset(),
) -> tuple[Action, ...]:
    """The actions that bring `fleet` to `release`, in the order of groups and machine ids.

    `doubtful` holds the ids of machines that were written to in this run and
    not yet seen to serve since, `refused` those whose host will not take an
    update.
    """
    return tuple(_plan(release, fleet.managed, base, doubtful, refused))


def _plan(
    release: Release,
    fleet: Fleet,
    base: Base,
    doubtful: frozenset[str],
    refused: frozenset[str],
) -> Iterator[Action]:
    before = base.machines.by_id
    for group in release.groups:
        machines = [m for m in fleet.group(group.name) if m.state != "destroying"]
        # What was surplus at first stays so, even when the one that counted has been replaced.
        at_first = _surplus(base.machines.group(group.name).machines, release.deploy_id)
        surplus = at_first | _surplus(machines, release.deploy_id)
        for machine in machines:
            if machine.id in surplus:
                yield Destroy(**where(machine))
            else:
                moves = machine.id in refused and not machine.config.get("mounts")
                old = before.get(machine.id)
                stood = old or before.get(replaced_by(machine, release.deploy_id))
                launch = _launches(group, machine, stood)
                yield from _bring(
                    release, group, machine, old, doubtful, moves=moves, launch=launch
                )
        if _is_new(group, base) and not release.update_only:
            yield from _missing(release, group, {machine.name for machine in machines})
    if release.update_only:
        return
    named = {group.name for group in release.groups}
    for machine in fleet:
        if machine.group not in named and machine.state != "destroying":
            yield Destroy(**where(machine))


def _is_new(group: Group, base: Base) -> bool:
    """Whether the group had no machine before; a first deploy that died half way does not count."""
    machines = base.machines.group(group.name)
    unfinished = {intent.deploy for machine in machines if (intent := read_intent(machine))}
    return all(
        not machine.metadata.get(FROM) and machine.metadata.get(DEPLOY) in unfinished
        for machine in machines
    )


def _surplus(machines: Collection[Machine], deploy_id: str) -> set[str]:
    """Machines that are there beside the one that counts.

    That is every canary; every machine that another has replaced, a replacement
    itself included; and a green that a dead deploy made and never switched on,
    whose blue still serves.
    """
    ids = {machine.id for machine in machines}
    names = {machine.name for machine in machines}
    surplus = set()
    for machine in machines:
        kind, replaced, maker = role_of(machine)
        if kind == CANARY:
            surplus.add(machine.id)
        elif kind == REPLACES and replaced in ids:
            abandoned = machine.cordoned and maker != deploy_id
            surplus.add(machine.id if abandoned else replaced)
        if maker and replacement_name(machine, maker) in names:
            surplus.add(machine.id)
    return surplus


def _bring(
    release: Release,
    group: Group,
    machine: Machine,
    before: Machine | None,
    doubtful: frozenset[str],
    *,
    moves: bool,
    launch: bool,
) -> Iterator[Action]:
    """What one machine of a group needs; it `moves` when its host will not take an update."""
    forced = release.force and before is not None and machine.version == before.version
    if forced or not is_current(release, group, machine):
        swaps = launch and release.strategy == "bluegreen" and before is not None
        if moves or swaps or machine.is_out_of_reach or not mounts_fit(group, machine):
            yield replacement(release, group, machine, launch=launch)
            yield Destroy(**where(machine))
            return
        yield Update(
            **where(machine),
            config=updated_config(release, group, machine, launch=launch),
            current_version=machine.version,
            launch=launch,
            serves=launch,
        )
    elif launch:
        yield from _seen_to_serve(machine, machine.id in doubtful)
    if before is None and machine.cordoned and launch:
        yield Uncordon(**where(machine), version=machine.version)


def _seen_to_serve(machine: Machine, is_doubtful: bool) -> Iterator[Action]:
    """What is left for a machine that is on the release."""
    if machine.state in RESTING and machine.state != "started":
        if not is_asleep(machine) and not has_ended_well(machine):
            yield Start(**where(machine), version=machine.version)
    elif machine.state != "started" or is_doubtful or not machine.checks_pass:
        yield Wait(**where(machine), version=machine.version)


class Where(TypedDict):
    """Which machine an action is about."""

    machine_id: str
    name: str
    group: str


def where(machine: Machine) -> Where:
    return {"machine_id": machine.id, "name": machine.name, "group": machine.group}


def _launches(group: Group, machine: Machine, before: Machine | None) -> bool:
    standby = bool(machine.config.get("standbys")) and not group.has_services
    if before is None:
        return not standby
    return should_launch(before.state, standby=standby)


def replacement(release: Release, group: Group, machine: Machine, *, launch: bool) -> Create:
    """A machine elsewhere that takes the place of one which an update cannot serve.

    It is made with the old configuration and not started, then updated: so its
    versions hold the way back when the old machine is gone. Under bluegreen it
    comes up cordoned, since all greens are switched together.
    """
    name = replacement_name(machine, release.deploy_id)
    place = replaced_by(machine, release.deploy_id) or machine.id  # of a replacement the first one
    role = f"{REPLACES} {place} {release.deploy_id}"
    first = {key: value for key, value in machine.config.items() if value is not None}
    first["metadata"] = {**machine.metadata, ROLE: role}
    first["mounts"] = [dict(mount) for mount in group.config["mounts"]]
    made = replace(machine, name=name, config=first)
    return Create(
        name=name,
        group=group.name,
        region=machine.region,
        config=first,
        then=updated_config(release, group, made, launch=launch),
        launch=launch,
        cordoned=launch and release.strategy == "bluegreen",
        replaces=machine.id,
    )


def canary(release: Release, group: Group, region: str) -> Create:
    """One extra machine that tries the release first; destroyed when the roll is done."""
    return Create(
        name=f"{group.name}-canary-{release.deploy_id[-6:]}",
        group=group.name,
        region=region,
        config=created_config(release, group, role=f"{CANARY} {release.deploy_id}"),
    )


def is_asleep(machine: Machine) -> bool:
    """Stopped or suspended by the platform for want of traffic, which is as good as running."""
    autostop = any(
        service.get("autostop") not in (None, False, "off")
        for service in machine.config.get("services") or ()
    )
    ended_badly = bool(machine.exits) and machine.exits[0].is_bad
    return autostop and machine.state in ("stopped", "suspended") and not ended_badly


def has_ended_well(machine: Machine) -> bool:
    """A machine that did its work and stopped, with nothing to serve and nothing to check."""
    return (
        machine.state == "stopped"
        and not machine.configured_checks
        and not machine.config.get("services")
        and bool(machine.exits)
        and not machine.exits[0].is_bad
        and not machine.exits[0].requested
    )


def group_count(release: Release, group: Group) -> int:
    """How many machines a new group gets: 1 with mounts, 2 with services, else 1 and a standby."""
    if group.has_mounts or not release.high_availability:
        return 1
    return 2


def _missing(release: Release, group: Group, names: set[str]) -> Iterator[Action]:
    """The machines that a new group still lacks, named by slot so that no create is repeated.

    The first carries the intent from its birth.
    """
    first = slot_name(group.name, 1)
    stands_by = not group.has_services
    for slot in range(1, group_count(release, group) + 1):
        name = slot_name(group.name, slot)
        if name in names:
            continue
        standby = stands_by and slot > 1
        config = created_config(release, group)
        if slot == 1:
            config["metadata"][INTENT] = Intent.of(release).dump()
        yield Create(
            name=name,
            group=group.name,
            region=release.region,
            config=config,
            launch=not standby,
            standby_for=first if standby else "",
        )


def slot_name(group: str, slot: int) -> str:
    return f"{group}-{slot}"
