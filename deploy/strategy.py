"""The order of a deploy: actions -> stages of tracks of steps.

Pure: one small function per strategy. Stages follow one another; the tracks of
a stage (one per process group, and one for machines that do not run) go side by
side; the steps of a track follow one another. The availability of a group is
not kept here but by the window that the executor holds over all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from deploy.errors import UsageProblem
from deploy.machine import Fleet
from deploy.plan import (
    Action,
    Base,
    Cordon,
    Create,
    Destroy,
    Start,
    Stop,
    Uncordon,
    Update,
    Wait,
    canary,
)
from deploy.release import Release, is_current


class Gate(Enum):
    """What must be seen of a machine before its action counts as done."""

    NONE = "none"
    STARTED = "started"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Actions that may go side by side.

    With `first_alone`, one at a time until one has succeeded. `counted` actions
    take a place in the group's window while their machine is out of service.
    `required` steps must be done wholly before the next step begins.
    """

    actions: tuple[Action, ...]
    gate: Gate
    counted: bool = False
    first_alone: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True)
class Track:
    """Steps of one process group, one after the other."""

    group: str
    steps: tuple[Step, ...]


Stage = tuple[Track, ...]
Schedule = tuple[Stage, ...]


def schedule(release: Release, fleet: Fleet, base: Base, actions: Sequence[Action]) -> Schedule:
    """The actions in the order of the release's strategy; destroying comes last of all."""
    removals = [action for action in actions if isinstance(action, Destroy)]
    groups = dict.fromkeys(action.group for action in actions if not isinstance(action, Destroy))
    tracks: list[Track] = []
    for group in groups:
        mine = [a for a in actions if a.group == group and not isinstance(a, Destroy)]
        cold = [a for a in mine if is_cold(a)]
        if cold:
            tracks.append(Track(group, (_step(cold, Gate.NONE, required=False),)))
        warm = [a for a in mine if not is_cold(a)]
        blues = [r for r in removals if r.group == group and r.machine_id in base.machines.by_id]
        steps = _STRATEGIES[release.strategy](release, group, fleet, base, warm, blues)
        if any(step.actions for step in steps):
            tracks.append(Track(group, tuple(step for step in steps if step.actions)))
    stages = [tuple(tracks)] if tracks else []
    if removals:
        last = _step(removals, Gate.NONE, required=False)
        stages.append((Track("", (last,)),))
    return tuple(stages)


def schedule_back(base: Base, fleet: Fleet, actions: Sequence[Action]) -> Schedule:
    """The way back: what serves nobody first, then the rest within the window, then extra machines.

    Starting and uncordoning what was in service before never waits for anything.
    """
    serving = _serving(fleet)
    removals = [action for action in actions if isinstance(action, Destroy)]
    tracks: list[Track] = []
    for group in dict.fromkeys(a.group for a in actions if not isinstance(a, Destroy)):
        mine = [a for a in actions if a.group == group and not isinstance(a, Destroy)]
        free = [a for a in mine if a.machine_id not in serving or not isinstance(a, Update)]
        rest = [a for a in mine if a not in free]
        steps = (
            _step(free, Gate.HEALTHY, required=False),
            _step(rest, Gate.HEALTHY, counted=True, required=False),
        )
        tracks.append(Track(group, tuple(step for step in steps if step.actions)))
    stages = [tuple(tracks)] if tracks else []
    if removals:
        stages.append((Track("", (_step(removals, Gate.NONE, required=False),)),))
    return tuple(stages)


def refuse_unsuited(release: Release, fleet: Fleet) -> None:
    """Raise UsageProblem for a strategy that this app cannot use, before anything changes."""
    if release.strategy not in ("canary", "bluegreen"):
        return
    mounted = {group.name for group in release.groups if group.has_mounts}
    mounted |= {machine.group for machine in fleet.managed if machine.config.get("mounts")}
    if mounted:
        raise UsageProblem(
            f"strategy {release.strategy} cannot be used with mounts, "
            f"and group {min(mounted)} has some",
            hint="a volume belongs to one machine: use --strategy rolling",
        )
    if release.strategy == "bluegreen" and not any(group.has_checks for group in release.groups):
        raise UsageProblem(
            "strategy bluegreen needs at least one health check to know when green is ready",
            hint="add [[http_service.checks]] or [checks.NAME] to fly.toml",
        )


def is_cold(action: Action) -> bool:
    """Whether the machine does not run and is not going to: it costs nobody anything."""
    return isinstance(action, Update | Create) and not action.launch


def _rolling(
    release: Release,
    group: str,
    fleet: Fleet,
    base: Base,
    actions: Sequence[Action],
    blues: Sequence[Destroy],
) -> tuple[Step, ...]:
    """New and sick machines first, since they cost nothing; the first serving one alone; the rest."""
    del blues
    serving = _serving(fleet) & base.serving
    tried = any(
        machine.is_serving and is_current(release, spec, machine)
        for spec in release.groups
        if spec.name == group
        for machine in fleet.managed.group(group)
    )
    free = [a for a in actions if a.machine_id not in serving or not isinstance(a, Update)]
    rest = [a for a in actions if a.machine_id in serving and isinstance(a, Update)]
    return (
        _step(free, Gate.HEALTHY, required=False),
        _step(rest, Gate.HEALTHY, counted=True, first_alone=not tried, required=False),
    )


def _canary(
    release: Release,
    group: str,
    fleet: Fleet,
    base: Base,
    actions: Sequence[Action],
    blues: Sequence[Destroy],
) -> tuple[Step, ...]:
    """One extra machine on the new release has to do well before the roll begins."""
    spec = next(spec for spec in release.groups if spec.name == group)
    before = base.machines.group(group)
    rolling = _rolling(release, group, fleet, base, actions, blues)
    if not before or not any(isinstance(action, Update) for action in actions):
        return rolling
    bird = canary(release, spec, before.machines[0].region)
    if any(machine.name == bird.name for machine in fleet):
        return rolling
    return (_step([bird], Gate.HEALTHY), *rolling)


def _bluegreen(
    release: Release,
    group: str,
    fleet: Fleet,
    base: Base,
    actions: Sequence[Action],
    blues: Sequence[Destroy],
) -> tuple[Step, ...]:
    """Green comes up beside blue; all of it healthy, traffic moves; blue drains and stops."""
    del release, base
    greens = [a for a in actions if isinstance(a, Create | Wait | Start)]
    cordoned = {machine.id for machine in fleet if machine.cordoned}
    running = {machine.id for machine in fleet if machine.state == "started"}
    made = {a.key: a for a in greens if isinstance(a, Create) and a.cordoned}
    waiting = {a.machine_id: a for a in actions if isinstance(a, Uncordon)}
    switch = [
        *(Uncordon(name=a.name, group=group) for a in made.values()),
        *waiting.values(),
    ]
    others = [a for a in actions if isinstance(a, Update)]
    return (
        _step([*greens, *others], Gate.HEALTHY),
        _step(switch, Gate.HEALTHY),
        _step([_cordon(blue) for blue in blues if blue.machine_id not in cordoned], Gate.NONE),
        _step([_stop(blue) for blue in blues if blue.machine_id in running], Gate.NONE),
    )


def _immediate(
    release: Release,
    group: str,
    fleet: Fleet,
    base: Base,
    actions: Sequence[Action],
    blues: Sequence[Destroy],
) -> tuple[Step, ...]:
    """All at once; nothing is waited for."""
    del release, group, fleet, base, blues
    return (_step([a for a in actions if not isinstance(a, Wait)], Gate.NONE, required=False),)


_STRATEGIES = {
    "rolling": _rolling,
    "canary": _canary,
    "bluegreen": _bluegreen,
    "immediate": _immediate,
}


def _step(
    actions: Iterable[Action],
    gate: Gate,
    *,
    counted: bool = False,
    first_alone: bool = False,
    required: bool = True,
) -> Step:
    return Step(
        actions=tuple(actions),
        gate=gate,
        counted=counted,
        first_alone=first_alone,
        required=required,
    )


def _serving(fleet: Fleet) -> frozenset[str]:
    return frozenset(machine.id for machine in fleet.managed if machine.is_serving)


def _cordon(blue: Destroy) -> Cordon:
    return Cordon(machine_id=blue.machine_id, name=blue.name, group=blue.group)


def _stop(blue: Destroy) -> Stop:
    return Stop(machine_id=blue.machine_id, name=blue.name, group=blue.group)
