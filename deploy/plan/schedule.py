"""Actions -> the order in which a strategy carries them out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from deploy.api.machine import Fleet
from deploy.errors import HostLost, UsageProblem
from deploy.plan.actions import Action, Create, Destroy, Uncordon, Update
from deploy.plan.base import Base
from deploy.plan.release import Release
from deploy.plan.stamps import role_of
from deploy.plan.steps import (
    Gate,
    Schedule,
    Step,
    Track,
    actions_in,
    parted,
    serving,
    step,
    track,
)
from deploy.plan.strategies import strategy_named
from deploy.plan.strategies.strategy import Scene


def schedule(
    release: Release,
    fleet: Fleet,
    base: Base,
    actions: Sequence[Action],
    doubtful: frozenset[str] = frozenset(),
) -> Schedule:
    """The actions in the order of the release's strategy; destroying comes last of all.

    What proves the release (canaries, greens) must do so in every group before
    anything old is touched in any.
    """
    strategy = strategy_named(release.strategy)
    removals = [action for action in actions if isinstance(action, Destroy)]
    proofs: list[Track] = []
    tracks: list[Track] = []
    for group, mine in _by_group(release, actions).items():
        scene = replace(_scene(release, fleet, base, group, mine, removals), doubtful=doubtful)
        prove = strategy.prove(scene) if strategy.prove else ()
        proofs += track(group, _tried(release, group, prove))
        roll = (*strategy.roll(scene), _standbys(mine))
        tracks += track(group, _tried(release, group, roll))
        tracks += track(group, (_cold(mine),))
    return _stages(proofs, tracks, [*removals, *_temporary(proofs)])


def schedule_back(fleet: Fleet, actions: Sequence[Action]) -> Schedule:
    """The way back: what serves nobody goes first and costs nothing, extra machines go last.

    But for what hosts keep from being done that do not answer: nothing else waits for that,
    and only a machine that is back lets its stand-in go.
    """
    serving_now = serving(fleet)
    dead, stand_ins, living = _about_the_dead(fleet, actions)
    removals = [action for action in living if isinstance(action, Destroy)]
    rest = [action for action in living if not isinstance(action, Destroy)]
    written = {action.machine_id for action in rest if isinstance(action, Update)}
    tracks: list[Track] = []
    for group in dict.fromkeys(action.group for action in rest):
        mine = [action for action in rest if action.group == group]
        last, others = _split(mine, lambda a: isinstance(a, Uncordon) and a.machine_id in written)
        free, costly = parted(others, serving_now)
        steps = (
            step(free, Gate.HEALTHY, required=False),
            step(costly, Gate.HEALTHY, counted=True, required=False),
            step(last, Gate.HEALTHY, required=False),
        )
        tracks += track(group, steps)
    stages = _stages([], tracks, removals)
    return stages + _stages([], track("", (step(dead, Gate.HEALTHY),)), stand_ins)


def _about_the_dead(
    fleet: Fleet, actions: Sequence[Action]
) -> tuple[list[Action], list[Action], list[Action]]:
    """What is to be done to the dead, the removal of their stand-ins, and all the rest."""
    lost = {machine.id for machine in fleet.managed if machine.is_dead}
    dead, living = _split(actions, lambda action: action.machine_id in lost)
    undone = {action.machine_id for action in dead if not isinstance(action, Destroy)}
    roles = ((machine.id, role_of(machine)) for machine in fleet.managed)
    waiting = {id_ for id_, role in roles if role is not None and role.replaces in undone}
    stand_ins, rest = _split(
        living, lambda action: isinstance(action, Destroy) and action.machine_id in waiting
    )
    return dead, stand_ins, rest


def _split(
    actions: Sequence[Action], belongs: Callable[[Action], bool]
) -> tuple[list[Action], list[Action]]:
    """Those that belong there, and all others, each in their order."""
    return [a for a in actions if belongs(a)], [a for a in actions if not belongs(a)]


def refuse_unsuited(release: Release, fleet: Fleet) -> None:
    """Raise for a strategy that this app cannot use, or a machine that none can, before anything.

    UsageProblem where other options would do; HostLost for a volume on a host
    that does not answer, which only the platform can fix.
    """
    for machine in fleet.managed:
        if machine.is_out_of_reach and machine.config.get("mounts"):
            raise HostLost(
                f"machine {machine.name or machine.id} ({machine.id}) has a volume on a host that "
                f"is {machine.host_status}",
                machine_id=machine.id,
                hint=f"wait for the host, or leave it out: --exclude-machines {machine.id}",
            )
    strategy = strategy_named(release.strategy)
    mounted = _with_mounts(release, fleet)
    if strategy.extras is not None and mounted:
        raise UsageProblem(
            f"strategy {strategy.name} cannot be used with mounts, "
            f"and group {min(mounted)} has some",
            hint="a volume belongs to one machine: use --strategy rolling",
        )
    if strategy.needs_checks and not any(group.has_checks for group in release.groups):
        raise UsageProblem(
            f"strategy {strategy.name} needs at least one health check to know when green is ready",
            hint="add [[http_service.checks]] or [checks.NAME] to fly.toml",
        )


def _with_mounts(release: Release, fleet: Fleet) -> set[str]:
    """The names of groups that have volumes, or are to have some."""
    asked = {group.name for group in release.groups if group.has_mounts}
    return asked | {machine.group for machine in fleet.managed if machine.config.get("mounts")}


def _by_group(release: Release, actions: Sequence[Action]) -> dict[str, list[Action]]:
    """What is not a removal, by group; a group where only blues are left still drains them."""
    found: dict[str, list[Action]] = {group.name: [] for group in release.groups}
    for action in actions:
        if not isinstance(action, Destroy):
            found.setdefault(action.group, []).append(action)
    return found


def _scene(
    release: Release,
    fleet: Fleet,
    base: Base,
    group: str,
    actions: Sequence[Action],
    removals: Sequence[Destroy],
) -> Scene:
    return Scene(
        release=release,
        group=group,
        machines=fleet.managed.group(group),
        base=base,
        actions=tuple(action for action in actions if not action.is_cold),
        blues=tuple(r for r in removals if r.group == group and r.machine_id in base.serving),
    )


def _tried(release: Release, name: str, steps: Iterable[Step]) -> Iterator[Step]:
    """The steps of a group, where health is not enough if the group has machine checks."""
    group = release.group(name)
    for one in steps:
        is_tried = group is not None and group.machine_checks and one.gate is Gate.HEALTHY
        yield replace(one, gate=Gate.TRIED) if is_tried else one


def _is_standby(action: Action) -> bool:
    return isinstance(action, Create) and bool(action.standby_for)


def _standbys(actions: Sequence[Action]) -> Step:
    """Last of a group's own, since they name the machines before them."""
    return step(filter(_is_standby, actions), Gate.NONE, required=False)


def _cold(actions: Sequence[Action]) -> Step:
    cold = (action for action in actions if action.is_cold and not _is_standby(action))
    return step(cold, Gate.NONE, required=False)


def _temporary(proofs: Sequence[Track]) -> list[Destroy]:
    """What was made only to prove the release goes again."""
    return [
        Destroy(name=action.name, group=action.group)
        for action in actions_in(tuple(proofs))
        if isinstance(action, Create) and action.is_temporary
    ]


def _stages(
    proofs: Sequence[Track], tracks: Sequence[Track], removals: Sequence[Action]
) -> Schedule:
    last = track("", (step(removals, Gate.NONE, required=False, guarded=True),))
    return tuple(stage for stage in (tuple(proofs), tuple(tracks), last) if stage)
