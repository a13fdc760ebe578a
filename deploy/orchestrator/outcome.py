"""How a pass ended, and how a run did: values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deploy.api.machine import Fleet, Machine
from deploy.api.meaning import names_missing_image
from deploy.errors import AppFailed, DeployError, Meaning, ShownUndone
from deploy.plan.actions import Action, Destroy, Start

IsDecisive = Callable[[DeployError], bool]
"""Whether nothing new begins after a failure."""

_RANK = {
    Meaning.APP: 0,
    Meaning.REJECTED: 1,
    Meaning.NAME_TAKEN: 1,
    Meaning.USAGE: 1,
    Meaning.BLOCKED: 1,
    Meaning.LEASED: 2,
    Meaning.OUTAGE: 3,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed; `action` is None where a pass did not get as far as one."""

    error: DeployError
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended: how many actions are done, how many are left, and the failures."""

    done: int = 0
    left: int = 0
    failures: tuple[Failure, ...] = ()

    @property
    def is_complete(self) -> bool:
        return self.left == 0 and not self.failures

    @property
    def is_in_place(self) -> bool:
        """Whether all that is new is healthy, so that only cleaning up has failed."""
        removals = [f for f in self.failures if isinstance(f.action, Destroy)]
        return bool(removals) and len(removals) == len(self.failures)

    @property
    def leaves_the_dead(self) -> bool:
        """Whether nothing else has failed but the removal of machines whose hosts do not answer."""
        removals = [f.action for f in self.failures if isinstance(f.action, Destroy)]
        return self.is_in_place and all(action.is_unleased for action in removals)

    @property
    def cause(self) -> DeployError | None:
        """The failure that decides: the app's before a rejection, a lease, an outage, a hiccup."""
        errors = (failure.error for failure in self.failures)
        return min(errors, key=lambda error: _RANK.get(error.meaning, len(_RANK)), default=None)

    @property
    def retry_after_s(self) -> float:
        """The longest `Retry-After` that the platform asked for in this pass."""
        return max((failure.error.retry_after_s or 0.0 for failure in self.failures), default=0.0)


NOT_BEGUN = Outcome(left=1)
"""Of a pass that was cut short, or never came."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the way forward ended and, where it was gone, the way back.

    Of a run that was asked to go back, that way is the only one, and `forward`.
    """

    forward: Outcome
    back: Outcome | None = None

    @property
    def last(self) -> Outcome:
        return self.back or self.forward


def why_undone(left: Sequence[Action], fleet: Fleet) -> DeployError:
    """Why a look shows these actions undone: an app that has ended by itself goes before the rest.

    Without one the platform has taken something back.
    """
    for action in left:
        machine = fleet.by_id.get(action.machine_id)
        if isinstance(action, Start) and machine is not None and _has_failed(machine):
            return app_failed(machine)
    action = left[0]
    return ShownUndone(
        f"{action.verb} {action.key} was done, and the platform shows it undone",
        machine_id=action.machine_id,
    )


def app_failed(machine: Machine) -> AppFailed:
    """The app's failure, as a look shows it."""
    return AppFailed(
        f"machine {machine.name or machine.id} {machine.trouble}",
        machine_id=machine.id,
        hint="look at its log; the deploy is not retried for an app that exits",
    )


def _has_failed(machine: Machine) -> bool:
    ended = bool(machine.exits) and not machine.exits[0].requested
    return ended or names_missing_image(machine.failure)
