"""All that is known when a run is over, and what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy.api.machine import Fleet, Machine
from deploy.errors import AppFailed, DeployError, Overtaken
from deploy.hints import Invocation
from deploy.orchestrator.outcome import NOT_BEGUN, Ending, Outcome, app_failed, why_undone
from deploy.plan.actions import Action, Destroy, Wait
from deploy.plan.base import Base
from deploy.plan.intent import BACK, FORWARD
from deploy.plan.places import places_of
from deploy.plan.release import Release
from deploy.plan.stamps import is_made_by, is_stamped, role_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What a run remembers of its own writes: ids of machines, and `known` versions by id.

    `own` it has made, under the `names` (id -> name); `healthy` it has seen to be
    healthy. `may_have_written` is whether anything may have been changed by it or
    by the run that it took up, `knows_what_landed` whether the latter is told apart
    from what is yet to come. `has_disputed`: a read showed a machine otherwise than a
    list, or than it was written, and no other has settled it.
    """

    written: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    destroyed: frozenset[str] = frozenset()
    healthy: frozenset[str] = frozenset()
    known: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    has_written: bool = False
    has_lost_creates: bool = False
    has_disputed: bool = False
    knows_what_landed: bool = True

    @property
    def may_have_written(self) -> bool:
        return bool(self.written) or self.has_lost_creates or not self.knows_what_landed


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known when a run is over.

    `base` is None if the run did not get as far as one, `fleet` if nothing can
    be seen any more, `ending` if the run was cut off. `stopped_by` is why
    nothing new began; `is_interrupted`: a person wanted that. `left` is what is
    still to be done to reach the aim, `left_back` what is still to be undone.
    `untried` are the groups whose machine checks it was to wait for, and that have
    not passed. `is_unmarked`: no machine carries the intent of the unfinished deploy.
    `done` is what the run brings about, where that is not a release of an image.
    """

    release: Release
    goal: str
    called: Invocation
    done: str = ""
    traces: Traces
    base: Base | None = None
    fleet: Fleet | None = None
    ending: Ending | None = None
    stopped_by: DeployError | None = None
    is_interrupted: bool = False
    left: tuple[Action, ...] = ()
    left_back: tuple[Action, ...] = ()
    untried: frozenset[str] = frozenset()
    is_unmarked: bool = False

    @property
    def forward(self) -> Outcome:
        return self.ending.forward if self.ending else NOT_BEGUN

    @property
    def went_back(self) -> bool:
        return self.ending is not None and self.ending.back is not None

    @property
    def cause(self) -> DeployError | None:
        """Why the run did not get where it was to go; what a person wants goes first.

        Where nothing failed that it waited for, what the last look shows; and an app
        that has failed, before what another pass could have helped.
        """
        known = self.stopped_by if self.is_interrupted else self.forward.cause or self.stopped_by
        if self.is_interrupted or (known is not None and not known.meaning.is_hiccup):
            return known
        seen = self._seen_cause
        is_apps = isinstance(seen, AppFailed) and not self._goes_back
        return seen if is_apps or known is None else known

    @property
    def _goes_back(self) -> bool:
        return self.goal == BACK or self.went_back

    @property
    def _seen_cause(self) -> DeployError | None:
        left = self.left_back if self._goes_back else self.unreached
        if left and self.fleet is not None:
            return why_undone(left, self.fleet)
        return app_failed(self.broken[0]) if self.broken else None

    @property
    def broken(self) -> tuple[Machine, ...]:
        """The sick that were healthy in this run, or have ended by themselves."""
        return tuple(machine for machine in self.sick if self._is_to_blame(machine))

    def _is_to_blame(self, machine: Machine) -> bool:
        """One that is being restarted after a bad exit is, where the run has written to it.

        Not one whose host was lost, which no deploy can do.
        """
        if machine.is_dead:
            return False
        crashed = bool(machine.exits) and machine.exits[0].is_bad and machine.state != "started"
        is_ours = machine.id in self.traces.written
        return machine.id in self.traces.healthy or machine.is_down or (crashed and is_ours)

    @property
    def has_arrived(self) -> bool:
        """Whether all that is new is in place, by the last look.

        What the run saw fail does not count against that, but for the app's own
        failures: the reply of the last write may be lost.
        """
        if self.goal != FORWARD or self.went_back or self.unreached:
            return False
        if self.forward.is_complete or self.forward.is_in_place:
            return True
        cause = self.cause
        is_hiccup = cause is not None and cause.meaning.is_hiccup and not self.is_interrupted
        return is_hiccup and bool(self.traces.written) and not self.waiting

    @property
    def stuck(self) -> tuple[Machine, ...]:
        """What cannot be brought back, since its host does not answer."""
        undo = {action.machine_id for action in self.left_back}
        managed = self.fleet.managed if self.fleet else ()
        return tuple(machine for machine in managed if machine.is_dead and machine.id in undo)

    @property
    def waiting(self) -> tuple[Action, ...]:
        """What was not seen to serve, and does not at the last look or has yet to be tried."""
        managed = self.fleet.managed if self.fleet else ()
        well = {m.id for m in managed if m.is_well and m.group not in self.untried}
        return tuple(a for a in self.left if isinstance(a, Wait) and a.machine_id not in well)

    @property
    def sick(self) -> tuple[Machine, ...]:
        """Machines that do not serve at the last look, in places that did at first or are new."""
        if self.fleet is None or self.base is None:
            return ()
        before = self.base.machines.by_id
        held = [
            place.occupant
            for place in places_of(self.fleet.managed, self.release.deploy_id)
            if {place.id, place.occupant.id} & self.base.serving
            or (place.occupant.id in self.traces.own and place.id not in before)
        ]
        return tuple(machine for machine in held if not machine.is_well or machine.cordoned)

    @property
    def unreached(self) -> tuple[Action, ...]:
        """What keeps the app from running the release; cleaning up does not."""
        return tuple(a for a in self.left if not isinstance(a, Destroy | Wait))

    @property
    def is_undone(self) -> bool:
        """Whether the last look shows the app as it was before."""
        if self.fleet is None or self.base is None or self.base.lost:
            return False
        serving = {machine.id for machine in self.fleet.managed if machine.is_serving}
        to_undo = [  # a machine that serves again is not waited for
            action
            for action in self.left_back
            if not (isinstance(action, Wait) and action.machine_id in serving)
        ]
        return self.traces.knows_what_landed and not (self._unseen or self._removed or to_undo)

    @property
    def is_anothers(self) -> bool:
        """Whether another deploy has gone over the app, and left nothing of this one."""
        if not isinstance(self.cause, Overtaken) or self.fleet is None:
            return False
        deploy, now = self.release.deploy_id, self.fleet.managed
        is_left = any(is_stamped(m, deploy) or is_made_by(m, deploy) for m in now)
        return not is_left and not self._unseen

    @property
    def _removed(self) -> frozenset[str]:
        """What was there before and this run has destroyed, but for what a deploy had left over."""
        if self.fleet is None or self.base is None:
            return frozenset()
        stays = {machine.id for machine in self.fleet if not machine.is_going}
        before = self.base.machines
        own = {machine.id for machine in before if role_of(machine) is None} | self.base.serving
        return frozenset(self.traces.destroyed & own - stays)

    @property
    def _unseen(self) -> frozenset[str]:
        """What this run has made, and the last look does not show."""
        shown = self.fleet.by_id.keys() if self.fleet else ()
        return self.traces.own.difference(shown, self.traces.destroyed)
