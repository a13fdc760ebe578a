"""What is to be done: (release, fleet) -> actions.

Pure. The same two functions are asked again before every pass, so that what is
done already is not done again: planning after everything is done yields
nothing. The order in which actions are carried out is the strategy's affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from deploy.appconfig import Group
from deploy.machine import RESTING, TERMINAL, Fleet, Machine
from deploy.release import (
    CANARY,
    DEPLOY,
    FROM,
    INTENT,
    ROLE,
    WAS,
    Release,
    created_config,
    is_current,
    is_stamped,
    mounts_fit,
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

    `standby_for` is the name of the machine that it stands by for.
    """

    config: Mapping[str, Any]
    region: str = ""
    launch: bool = True
    cordoned: bool = False
    replaces: str = ""
    standby_for: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The app as it was before this deploy touched it.

    `machines` are as at the first look; for a deploy that is taken up again,
    with the state and the configuration from before put back in. `serving` is
    fixed once: availability is measured against it in every pass, both ways.
    """

    machines: Fleet
    serving: frozenset[str]
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, fleet: Fleet) -> Base:
        managed = fleet.managed
        return cls(
            machines=managed,
            serving=frozenset(machine.id for machine in managed if machine.is_serving),
        )

    def config(self, machine: Machine) -> Mapping[str, Any]:
        return self.configs.get(machine.id, machine.config)

    def is_new(self, machine: Machine) -> bool:
        return machine.id not in self.machines.by_id


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
        replaced = {_replaces(machine) for machine in machines}
        for machine in machines:
            if machine.id in replaced:
                yield Destroy(machine_id=machine.id, name=machine.name, group=group.name)
            else:
                moves = machine.id in refused and not machine.config.get("mounts")
                old = before.get(machine.id)
                yield from _bring(release, group, machine, old, doubtful, moves=moves)
        if not any(m.group == group.name for m in base.machines) and not release.update_only:
            yield from _missing(release, group, {machine.name for machine in machines})
    if release.update_only:
        return
    named = {group.name for group in release.groups}
    for machine in fleet:
        if machine.group not in named and machine.state != "destroying":
            yield Destroy(machine_id=machine.id, name=machine.name, group=machine.group)


def _bring(
    release: Release,
    group: Group,
    machine: Machine,
    before: Machine | None,
    doubtful: frozenset[str],
    *,
    moves: bool,
) -> Iterator[Action]:
    """What one machine of a group needs; it `moves` when its host will not take an update."""
    if machine.metadata.get(ROLE) == CANARY:
        yield Destroy(machine_id=machine.id, name=machine.name, group=group.name)
        return
    launch = _launches(group, machine, before)
    where = _where(machine)
    forced = release.force and before is not None and machine.version == before.version
    if forced or not is_current(release, group, machine):
        swaps = launch and release.strategy == "bluegreen"
        if moves or swaps or not mounts_fit(group, machine):
            yield replacement(release, group, machine, launch=launch)
            yield Destroy(**where)
        else:
            yield Update(
                **where,
                config=updated_config(release, group, machine),
                current_version=machine.version,
                launch=launch,
                serves=launch,
            )
        return
    if before is None and machine.cordoned:
        yield Uncordon(**where, version=machine.version)
    if not launch:
        return
    if machine.state in RESTING and machine.state != "started":
        if not is_asleep(machine):
            yield Start(**where, version=machine.version)
    elif machine.state != "started" or machine.id in doubtful or not machine.checks_pass:
        yield Wait(**where, version=machine.version)


class _Where(TypedDict):
    machine_id: str
    name: str
    group: str


def _where(machine: Machine) -> _Where:
    return {"machine_id": machine.id, "name": machine.name, "group": machine.group}


def _launches(group: Group, machine: Machine, before: Machine | None) -> bool:
    standby = bool(machine.config.get("standbys")) and not group.has_services
    if before is None:
        return not standby
    return should_launch(before.state, standby=standby)


def replacement(release: Release, group: Group, machine: Machine, *, launch: bool) -> Create:
    """A machine elsewhere that takes the place of one which an update cannot serve.

    It comes up cordoned under bluegreen, where all greens are switched together.
    """
    return Create(
        name=f"{group.name}-{machine.id[-8:]}-{release.deploy_id[-6:]}",
        group=group.name,
        region=machine.region,
        config=created_config(release, group, role=f"replaces {machine.id}"),
        launch=launch,
        cordoned=release.strategy == "bluegreen",
        replaces=machine.id,
    )


def canary(release: Release, group: Group, region: str) -> Create:
    """One extra machine that tries the release first; destroyed when the roll is done."""
    return Create(
        name=f"{group.name}-canary-{release.deploy_id[-6:]}",
        group=group.name,
        region=region,
        config=created_config(release, group, role=CANARY),
    )


def is_asleep(machine: Machine) -> bool:
    """Stopped or suspended by the platform for want of traffic, which is as good as running."""
    autostop = any(
        service.get("autostop") not in (None, False, "off")
        for service in machine.config.get("services") or ()
    )
    ended_badly = bool(machine.exits) and machine.exits[0].is_bad
    return autostop and machine.state in ("stopped", "suspended") and not ended_badly


def group_count(release: Release, group: Group) -> int:
    """How many machines a new group gets: 1 with mounts, 2 with services, else 1 and a standby."""
    if group.name in release.counts:
        return release.counts[group.name]
    if group.has_mounts or not release.high_availability:
        return 1
    return 2


def _missing(release: Release, group: Group, names: set[str]) -> Iterator[Action]:
    """The machines that a new group still lacks, named by slot so that no create is repeated."""
    first = slot_name(group.name, 1)
    stands_by = not group.has_services and group.name not in release.counts
    for slot in range(1, group_count(release, group) + 1):
        name = slot_name(group.name, slot)
        if name in names:
            continue
        standby = stands_by and slot > 1
        yield Create(
            name=name,
            group=group.name,
            region=release.region,
            config=created_config(release, group),
            launch=not standby,
            standby_for=first if standby else "",
        )


def slot_name(group: str, slot: int) -> str:
    return f"{group}-{slot}"


def _replaces(machine: Machine) -> str:
    """The id of the machine that this one was made to replace, empty for any other machine."""
    role = machine.metadata.get(ROLE, "")
    return role.removeprefix("replaces ") if role.startswith("replaces ") else ""


def plan_scale(fleet: Fleet, group: str, count: int, pattern: Create) -> tuple[Action, ...]:
    """Bring a group to `count` machines: new ones after `pattern`, else the last ones go."""
    machines = sorted(
        fleet.managed.group(group), key=lambda machine: (len(machine.name), machine.name)
    )
    if count <= len(machines):
        return tuple(
            Destroy(machine_id=machine.id, name=machine.name, group=group)
            for machine in machines[count:]
        )
    taken = {machine.name for machine in machines}
    free = (slot_name(group, slot) for slot in range(1, count + len(machines) + 1))
    names = [name for name in free if name not in taken][: count - len(machines)]
    return tuple(
        Create(name=name, group=group, region=pattern.region, config=pattern.config)
        for name in names
    )


def clone_config(machine: Machine) -> dict[str, Any]:
    """The configuration of one more machine like this: its stamps hold, its intent does not."""
    config = {key: value for key, value in machine.config.items() if value is not None}
    config["metadata"] = {
        key: value
        for key, value in machine.metadata.items()
        if key not in (INTENT, FROM, WAS, ROLE)
    }
    config.pop("standbys", None)
    return config


def plan_back(
    fleet: Fleet,
    base: Base,
    *,
    deploy_id: str,
    written: frozenset[str],
    doubtful: frozenset[str] = frozenset(),
) -> tuple[Action, ...]:
    """The actions that return every machine this deploy touched to what it was before.

    `written` holds the ids of machines that this run may have written to. A
    machine that was made by this deploy goes; nobody else's is touched.
    """
    return tuple(_plan_back(fleet, base, deploy_id, written, doubtful))


def _plan_back(
    fleet: Fleet, base: Base, deploy_id: str, written: frozenset[str], doubtful: frozenset[str]
) -> Iterator[Action]:
    before = base.machines.by_id
    for machine in fleet:
        if machine.state in TERMINAL or machine.state == "destroying":
            continue
        where = _where(machine)
        old = before.get(machine.id)
        if old is None:
            if machine.id in written and machine.metadata.get(DEPLOY) == deploy_id:
                yield Destroy(**where)
            continue
        if machine.id not in written:
            continue
        launch = should_launch(old.state, standby=bool(old.config.get("standbys")))
        if is_stamped(machine, deploy_id):
            yield Update(
                **where,
                config=restored_config(base.config(old), machine.metadata.get(INTENT)),
                current_version=machine.version,
                launch=launch,
                serves=machine.id in base.serving,
                restores=True,
            )
            continue
        yield from _back_to_state(machine, old, launch, where, doubtful)


def _back_to_state(
    machine: Machine,
    old: Machine,
    launch: bool,
    where: _Where,
    doubtful: frozenset[str],
) -> Iterator[Action]:
    if machine.cordoned and not old.cordoned:
        yield Uncordon(**where, version=machine.version)
    if launch and machine.state in ("stopped", "suspended", "created"):
        if not is_asleep(machine):
            yield Start(**where, version=machine.version)
    elif launch and (machine.id in doubtful or machine.state != "started"):
        yield Wait(**where, version=machine.version)
    elif not launch and machine.state == "started":
        yield Stop(**where)


def restored_config(config: Mapping[str, Any], intent: str | None) -> dict[str, Any]:
    """A configuration from before, to be sent back.

    The intent that the machine carries now stays until the run is over, so that
    another computer can finish going back.
    """
    kept = {key: value for key, value in config.items() if value is not None}
    metadata = {k: v for k, v in (kept.get("metadata") or {}).items() if k != INTENT}
    kept["metadata"] = metadata | ({INTENT: intent} if intent else {})
    return kept
