"""The order of a deploy: actions -> stages of tracks of steps.

Pure: one small function per strategy. Stages follow one another; the tracks of
a stage (one per process group, and one for machines that do not run) go side by
side; the steps of a track follow one another. The availability of a group is
not kept here but by the window that the executor holds over all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from deploy.api.machine import Fleet
from deploy.errors import DeployError, UsageProblem
from deploy.plan.base import Base
from deploy.plan.forward import (
    Action,
    Cordon,
    Create,
    Destroy,
    Stop,
    Uncordon,
    Update,
    Wait,
    canary,
)
from deploy.plan.release import CANARY, ROLE, Release, is_current


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


@dataclass(frozen=True, slots=True)
class Scene:
    """One process group as a strategy sees it: what is there, and what is to be done to it.

    `blues` are its machines that others replace, to be destroyed at the end.
    """

    release: Release
    group: str
    fleet: Fleet
    base: Base
    actions: tuple[Action, ...]
    blues: tuple[Destroy, ...]

    @property
    def machines(self) -> Fleet:
        return self.fleet.managed.group(self.group)

    @property
    def is_tried(self) -> bool:
        """Whether a machine of the group serves with the new release already."""
        return any(
            machine.is_serving and is_current(self.release, spec, machine)
            for spec in self.release.groups
            if spec.name == self.group
            for machine in self.machines
        )


def schedule(release: Release, fleet: Fleet, base: Base, actions: Sequence[Action]) -> Schedule:
    """The actions in the order of the release's strategy; destroying comes last of all.

    What proves the release (canaries, greens) must do so in every group before
    anything old is touched in any.
    """
    removals: list[Action] = [action for action in actions if isinstance(action, Destroy)]
    rest = [action for action in actions if not isinstance(action, Destroy)]
    proofs: list[Track] = []
    tracks: list[Track] = []
    named = [spec.name for spec in release.groups]  # where only blues are left, they still drain
    for group in dict.fromkeys([*named, *(action.group for action in rest)]):
        standbys = [a for a in rest if a.group == group and is_new_standby(a)]
        cold = [a for a in rest if a.group == group and is_cold(a) and a not in standbys]
        warm = tuple(a for a in rest if a.group == group and not is_cold(a))
        blues = tuple(
            removal
            for removal in actions
            if isinstance(removal, Destroy)
            and removal.group == group
            and removal.machine_id in base.serving
        )
        proof, roll = _STRATEGIES[release.strategy](Scene(release, group, fleet, base, warm, blues))
        proofs += _track(group, proof)
        last = _step(standbys, Gate.NONE, required=False)  # they name the machines before them
        tracks += _track(group, (*roll, last))
        tracks += _track(group, (_step(cold, Gate.NONE, required=False),))
        removals += [
            Destroy(name=action.name, group=group)
            for step in proof
            for action in step.actions
            if isinstance(action, Create) and is_canary(action)
        ]
    return _stages(proofs, tracks, removals)


def schedule_back(fleet: Fleet, actions: Sequence[Action]) -> Schedule:
    """The way back: what serves nobody goes first and costs nothing, extra machines go last."""
    serving = _serving(fleet)
    removals = [action for action in actions if isinstance(action, Destroy)]
    rest = [action for action in actions if not isinstance(action, Destroy)]
    tracks: list[Track] = []
    for group in dict.fromkeys(action.group for action in rest):
        mine = [action for action in rest if action.group == group]
        free, costly = _parted(mine, serving)
        steps = (
            _step(free, Gate.HEALTHY, required=False),
            _step(costly, Gate.HEALTHY, counted=True, required=False),
        )
        tracks += _track(group, steps)
    return _stages([], tracks, removals)


def refuse_unsuited(release: Release, fleet: Fleet) -> None:
    """Raise for a strategy that this app cannot use, or a machine that none can, before anything.

    UsageProblem where other options would do; DeployError for a volume on a host
    that does not answer, which only the platform can mend.
    """
    for machine in fleet.managed:
        if machine.is_out_of_reach and machine.config.get("mounts"):
            raise DeployError(
                f"machine {machine.name or machine.id} ({machine.id}) has a volume on a host that "
                f"is {machine.host_status}",
                hint=f"wait for the host, or leave it out: --exclude-machines {machine.id}",
            )
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


def without_gates(order: Schedule) -> Schedule:
    """The same order where nobody waits for health: what `--detach` asks for."""
    return tuple(
        tuple(Track(t.group, tuple(replace(s, gate=Gate.NONE) for s in t.steps)) for t in stage)
        for stage in order
    )


def is_canary(action: Create) -> bool:
    return str(action.config["metadata"].get(ROLE, "")).startswith(f"{CANARY} ")


def is_new_standby(action: Action) -> bool:
    return isinstance(action, Create) and bool(action.standby_for)


def is_cold(action: Action) -> bool:
    """Whether the machine does not run and is not going to: it costs nobody anything."""
    return isinstance(action, Update | Create) and not action.launch


# The steps that prove the release without touching what is old, and the steps after them.
_Order = tuple[tuple[Step, ...], tuple[Step, ...]]


def _rolling(scene: Scene) -> _Order:
    """New and sick machines first, they cost nothing; one serving machine alone; then the rest."""
    serving = _serving(scene.fleet) & scene.base.serving
    free, costly = _parted(scene.actions, serving)
    alone = not scene.is_tried
    is_first_deploy = not scene.base.machines
    return (), (
        _step(free, Gate.HEALTHY, first_alone=is_first_deploy, required=False),
        _step(costly, Gate.HEALTHY, counted=True, first_alone=alone, required=False),
    )


def _canary(scene: Scene) -> _Order:
    """One extra machine on the new release has to do well before the roll begins."""
    _, roll = _rolling(scene)
    before = scene.base.machines.group(scene.group)
    rolls = any(isinstance(action, Update) for action in scene.actions)
    if not before or not rolls or scene.is_tried:
        return (), roll
    spec = next(spec for spec in scene.release.groups if spec.name == scene.group)
    bird = canary(scene.release, spec, before.machines[0].region)
    there = next((machine for machine in scene.machines if machine.name == bird.name), None)
    if there is None:
        return (_step([bird], Gate.HEALTHY),), roll
    watch = Wait(machine_id=there.id, name=there.name, group=there.group, version=there.version)
    return (_step([watch], Gate.HEALTHY),), roll


def _bluegreen(scene: Scene) -> _Order:
    """Green comes up beside blue; all of it healthy, traffic moves; blue drains and stops."""
    by_id = scene.fleet.by_id
    waiting = [action for action in scene.actions if isinstance(action, Uncordon)]
    greens = [action for action in scene.actions if not isinstance(action, Uncordon)]
    made = [
        Uncordon(name=green.name, group=green.group)
        for green in greens
        if isinstance(green, Create) and green.cordoned
    ]
    running = [blue for blue in scene.blues if by_id[blue.machine_id].state == "started"]
    in_rotation = [blue for blue in running if not by_id[blue.machine_id].cordoned]
    return (_step(greens, Gate.HEALTHY),), (
        _step([*waiting, *made], Gate.HEALTHY),
        _step([_cordon(blue) for blue in in_rotation], Gate.NONE),
        _step([_stop(blue) for blue in running], Gate.NONE),
    )


def _immediate(scene: Scene) -> _Order:
    """All at once; nothing is waited for."""
    begun = [action for action in scene.actions if not isinstance(action, Wait)]
    return (), (_step(begun, Gate.NONE, required=False),)


_STRATEGIES = {
    "rolling": _rolling,
    "canary": _canary,
    "bluegreen": _bluegreen,
    "immediate": _immediate,
}


def _parted(
    actions: Iterable[Action], serving: frozenset[str]
) -> tuple[list[Action], list[Action]]:
    """Those that take nothing out of service, and those that do."""
    free: list[Action] = []
    costly: list[Action] = []
    for action in actions:
        takes_out = isinstance(action, Update) and action.machine_id in serving
        (costly if takes_out else free).append(action)
    return free, costly


def _stages(
    proofs: Sequence[Track], tracks: Sequence[Track], removals: Sequence[Action]
) -> Schedule:
    last = Track("", (_step(removals, Gate.NONE, required=False),))
    stages = (tuple(proofs), tuple(tracks), (last,) if removals else ())
    return tuple(stage for stage in stages if stage)


def _track(group: str, steps: Iterable[Step]) -> list[Track]:
    kept = tuple(step for step in steps if step.actions)
    return [Track(group, kept)] if kept else []


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
