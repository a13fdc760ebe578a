"""How a pass ended, and how a run did: values. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deploy.errors import DeployError, Meaning
from deploy.plan.actions import Action, Destroy

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
