"""What is to be done: (release, fleet) -> actions. Pure.

It is asked again before every pass, so that what is done already is not done
again: planning after everything is done yields nothing. The order in which
actions are carried out is the strategy's affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.api.machine import Fleet, Machine
from deploy.plan.actions import (
    Action,
    Create,
    Uncordon,
    Update,
    bring_up,
    destroy,
    where,
)
from deploy.plan.base import Base
from deploy.plan.configs import (
    created_config,
    mounts_fit,
    replacement_configs,
    updated_config,
)
from deploy.plan.group import Group
from deploy.plan.intent import Intent, read_intent
from deploy.plan.places import Place, Places, places_of
from deploy.plan.release import Release, is_current
from deploy.plan.stamps import (
    DEPLOY,
    FROM,
    INTENT,
    Role,
    is_made_by,
    replaced_by,
    replacement_name,
    slot_name,
)
from deploy.plan.strategies import strategy_named

# A machine in one of these states was not running, and is left not running.
_COLD = frozenset({"stopped", "stopping", "suspended", "suspending", "created"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What there is to plan from.

    `doubtful` holds the ids of machines that were written to in this run and
    not yet seen to serve since, `refused` those whose host will not take an
    update.
    """

    release: Release
    fleet: Fleet
    base: Base
    doubtful: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()


def plan(situation: Situation) -> tuple[Action, ...]:
    """The actions that bring the fleet to the release, in the order of groups and machine ids."""
    release, base = situation.release, situation.base
    actions: list[Action] = []
    for group in release.groups:
        machines = situation.fleet.managed.group(group.name)
        actions += _bring_all(situation, group, machines)
        if _is_new(group, base) and not release.update_only:
            actions += _missing(release, group, {machine.name for machine in machines})
    if not release.update_only:
        unknown = (m for m in situation.fleet.managed if release.group(m.group) is None)
        actions += [destroy(machine) for machine in unknown]
    return tuple(actions)


def should_launch(state: str, *, standby: bool = False) -> bool:
    """Whether an update may start the machine: cold machines keep their state.

    A standby runs only while it has taken over for the machine it stands by.
    """
    if standby:
        return state == "started"
    return state not in _COLD


def group_count(release: Release, group: Group) -> int:
    """How many machines a new group gets: 1 with mounts, 2 with services, else 1 and a standby."""
    if group.has_mounts or not release.high_availability:
        return 1
    return 2


def _bring_all(situation: Situation, group: Group, machines: Fleet) -> Iterator[Action]:
    """What the machines of a group need; those beside the ones that count go.

    What was surplus at first stays so, even when the one that counted has been
    replaced.
    """
    deploy_id = situation.release.deploy_id
    at_first = places_of(situation.base.machines.group(group.name), deploy_id)
    places = places_of(machines, deploy_id)
    surplus = places.surplus | at_first.surplus
    for machine in machines:
        if machine.id in surplus:
            yield destroy(machine)
        else:
            place = places.by_machine[machine.id]
            launch = _launches(situation, group, machine, at_first)
            yield from _bring(situation, group, machine, place, launch=launch)


def _bring(
    situation: Situation, group: Group, machine: Machine, place: Place, *, launch: bool
) -> Iterator[Action]:
    """What the machine that counts in a place needs."""
    before = situation.base.machines.by_id.get(machine.id)
    if not _is_there(situation, machine, before):
        if _must_move(situation, group, machine, launch=launch):
            yield _replacement(situation.release, group, machine, place, launch=launch)
            yield destroy(machine)
            return
        yield Update(
            **where(machine),
            config=updated_config(situation.release, group, machine, launch=launch),
            current_version=machine.version,
            launch=launch,
            serves=launch,
        )
    elif launch:
        yield from _seen_to_serve(machine, machine.id in situation.doubtful)
    is_new = before is None or is_made_by(machine, situation.release.deploy_id)  # in whose place
    if is_new and machine.cordoned and launch:
        yield Uncordon(**where(machine), version=machine.version)


def _launches(situation: Situation, group: Group, machine: Machine, at_first: Places) -> bool:
    """Whether it runs in the end: as it did at first, a stand-in as who counted in its place."""
    standby = bool(machine.config.get("standbys")) and not group.has_services
    before = situation.base.machines.by_id.get(machine.id)
    if before is None:
        place = at_first.by_machine.get(replaced_by(machine, situation.release.deploy_id))
        if place is None:
            return not standby
        before = place.occupant
    is_down = before.id in situation.base.down and not standby
    return is_down or should_launch(before.state, standby=standby)


def _is_there(situation: Situation, machine: Machine, before: Machine | None) -> bool:
    """Whether it runs the release; with `--force` only if this deploy has written it.

    A dead one does where it died after this deploy had seen it serve: the next replaces it.
    """
    is_old = before is not None and machine.version == before.version
    was_dead = before is not None and before.is_dead
    is_unseen = machine.id in situation.doubtful or machine.cordoned
    if machine.is_dead and (was_dead or is_unseen):
        return False
    return is_current(situation.release, machine) and not (situation.release.force and is_old)


def _must_move(situation: Situation, group: Group, machine: Machine, *, launch: bool) -> bool:
    """Whether another machine takes the place, since an update will not do."""
    is_refused = machine.id in situation.refused and not machine.config.get("mounts")
    was_there = machine.id in situation.base.machines.by_id
    swaps = strategy_named(situation.release.strategy).swaps and launch and was_there
    return is_refused or swaps or machine.is_out_of_reach or not mounts_fit(group, machine)


def _seen_to_serve(machine: Machine, is_doubtful: bool) -> Iterator[Action]:
    """What is left for a machine that is on the release."""
    is_seen = machine.state == "started" and machine.checks_pass and not is_doubtful
    if not is_seen and not machine.is_asleep and not machine.has_ended_well:
        yield bring_up(machine)


def _replacement(
    release: Release, group: Group, machine: Machine, place: Place, *, launch: bool
) -> Create:
    """A machine elsewhere that takes the place of one which an update cannot serve.

    It is not started at first, then updated. Where the strategy swaps, it comes
    up cordoned, since all greens are switched together. A second replacement
    inherits the original machine's place, for as long as that one is there; its name
    follows from that of the first, which may be there still, dead.
    """
    newest = place.stand_ins[-1] if place.stand_ins else machine
    is_there = place.id in {member.id for member in place.members}
    inherited = replaced_by(machine, release.deploy_id) or (place.id if is_there else "")
    name = replacement_name(newest, release.deploy_id)
    first, then = replacement_configs(
        release,
        group,
        machine,
        name=name,
        role=Role(release.deploy_id, inherited or machine.id),
        launch=launch,
    )
    return Create(
        name=name,
        group=group.name,
        region=machine.region,
        config=first,
        then=then,
        launch=launch,
        cordoned=launch and strategy_named(release.strategy).swaps,
        replaces=machine.id,
    )


def _is_new(group: Group, base: Base) -> bool:
    """Whether the group had no machine before; a first deploy that died half way does not count."""
    machines = base.machines.group(group.name)
    unfinished = {intent.deploy for machine in machines if (intent := read_intent(machine))}
    return all(
        not machine.metadata.get(FROM) and machine.metadata.get(DEPLOY) in unfinished
        for machine in machines
    )


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
            config["metadata"][INTENT] = Intent.of(release).dump(release.deploy_id)
        yield Create(
            name=name,
            group=group.name,
            region=release.region,
            config=config,
            launch=not standby,
            standby_for=first if standby else "",
        )
