"""Failures of the platform, on purpose: drawn from a seed, repeatable.

Whether a write is struck, and how, is a pure function of the seed, the app, the
machine's slot, the operation and how often that operation was asked for that
slot before. Reads are never counted, and lease refreshes, whose number depends
on how long a run takes, are an operation of their own: so timing changes
nothing. The failures are those that deploys on Fly.io meet.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from deploy.local.refusals import Refusal, being_replaced, not_from_state, update_in_progress

HIDDEN_S = 1.0  # how long a new machine may be unseen by reads


@dataclass(frozen=True, slots=True)
class Strike:
    """One failure: the write is carried out all the same if `applied`, then refused.

    Without a `refusal` no answer comes, or the true one, with the new machine
    unseen by reads for `hidden_s` seconds.
    """

    kind: str
    refusal: Refusal | None = None
    applied: bool = False
    hidden_s: float = 0.0


def _status(status: int, text: str) -> tuple[Strike, Strike]:
    refusal = Refusal(status, text)
    return (
        Strike(f"{status} before the write", refusal),
        Strike(f"{status} after the write", refusal, applied=True),
    )


_ANY = (
    Strike("reset before the write"),
    Strike("reply lost", applied=True),
    Strike("reply lost", applied=True),
    *_status(408, "deadline_exceeded: request timed out"),
    *_status(500, "internal: server error"),
    *_status(502, "bad gateway"),
    *_status(503, "unavailable: upstream unavailable"),
    *_status(504, "gateway timeout"),
    Strike("429", Refusal(429, "rate limit exceeded")),
    Strike("429 with Retry-After", Refusal(429, "rate limit exceeded", retry_after_s=1)),
)
_BUSY = Strike("409 replacing", update_in_progress())
_REFUSING = Strike("412 refusing to start", being_replaced())
_TOO_EARLY = Strike("412 from created", not_from_state("start", "created"))
_UNSEEN = Strike("created but not seen yet", applied=True, hidden_s=HIDDEN_S)

_EXTRA = {
    "create": (_UNSEEN,),
    "update": (_BUSY,),
    "stop": (_BUSY,),
    "restart": (_BUSY,),
    "suspend": (_BUSY,),
    "destroy": (_BUSY,),
    "start": (_REFUSING, _TOO_EARLY),
}


class Hiccups:
    """Strikes a share `rate` (0 to 1) of all writes; `met` counts the strikes by kind.

    `say` takes a line about each strike.
    """

    def __init__(
        self, *, rate: float, seed: int, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.rate = rate
        self.seed = seed
        self._say = say
        self.met: Counter[str] = Counter()
        self._asked: Counter[tuple[str, str, str]] = Counter()

    def next(self, app: str, slot: str, operation: str) -> Strike | None:
        """What strikes this write, if anything; counts it."""
        occurrence = self._asked[app, slot, operation]
        self._asked[app, slot, operation] += 1
        strike = self.draw(app, slot, operation, occurrence)
        if strike is not None:
            self.met[strike.kind] += 1
            self._say(f"hiccup: {app}, {operation} of {slot}: {strike.kind}")
        return strike

    def draw(self, app: str, slot: str, operation: str, occurrence: int) -> Strike | None:
        """The same answer for the same question, always."""
        if self.rate <= 0:
            return None
        key = f"{self.seed}/{app}/{slot}/{operation}/{occurrence}"
        chance = random.Random(key)  # noqa: S311 - a seeded run is to be repeatable
        if chance.random() >= self.rate:
            return None
        return chance.choice(_ANY + _EXTRA.get(operation, ()))
