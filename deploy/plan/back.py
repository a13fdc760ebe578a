"""The way back: (fleet, base) -> the actions that undo a deploy. Pure.

Asked again before every pass: undoing what is undone yields nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.api.machine import Fleet, Machine
from deploy.plan.actions import Action, Stop, Uncordon, Update, bring_up, destroy, where
from deploy.plan.base import Base
from deploy.plan.configs import restored_config
from deploy.plan.forward import should_launch
from deploy.plan.intent import read_intent
from deploy.plan.stamps import fly_release, is_made_by, is_stamped


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
    for machine in fleet.managed:
        if machine.id not in written or machine.id in base.lost:
            continue
        old = before.get(machine.id)
        if old is None:
            if is_made_by(machine, deploy_id):
                yield destroy(machine)
        elif is_stamped(machine, deploy_id):
            intent = read_intent(machine)
            mark = intent.dump(fly_release(old)[0]) if intent else None
            yield Update(
                **where(machine),
                config=restored_config(old.config, mark, deploy_id),
                current_version=machine.version,
                launch=_launches(old),
                serves=machine.id in base.serving,
                restores=True,
            )
            if machine.cordoned and not old.cordoned:
                yield Uncordon(**where(machine), version=machine.version)
        elif machine.is_dead and _is_as_it_was(machine, old):
            continue  # nobody could have changed it; its stand-in stays in its place
        else:
            served = machine.id in base.serving
            yield from _back_to_state(machine, old, machine.id in doubtful, served=served)


def _back_to_state(
    machine: Machine, old: Machine, is_doubtful: bool, *, served: bool
) -> Iterator[Action]:
    """What is left for a machine that has its own configuration again."""
    launch = _launches(old)
    if machine.cordoned and not old.cordoned:
        yield Uncordon(**where(machine), version=machine.version)
    if not launch:
        if machine.state == "started":
            yield Stop(**where(machine))
    elif is_doubtful or machine.state != "started":
        rests = machine.is_asleep or machine.has_ended_well
        if not rests and (served or not _is_left_to_itself(machine, is_doubtful)):
            yield bring_up(machine)


def _is_as_it_was(machine: Machine, old: Machine) -> bool:
    return (machine.state, machine.cordoned) == (old.state, old.cordoned)


def _is_left_to_itself(machine: Machine, is_doubtful: bool) -> bool:
    """Whether what it does now is its own affair: it runs or crashes, or has ended by itself.

    Not where it was stopped, or where a write of ours may be under way.
    """
    if machine.state in ("stopped", "suspended", "created"):
        return machine.is_down
    return not (is_doubtful and machine.state in ("replacing", "updating"))


def _launches(old: Machine) -> bool:
    return should_launch(old.state, standby=bool(old.config.get("standbys")))
