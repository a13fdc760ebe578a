"""How long to wait before asking again.

Time is anyio's and chance a seeded generator's, so that a simulated hour of retries is
exact and takes milliseconds: tenacity's own waits read the wall clock and the global
random generator. A read is asked again in a loop, since what is retried is every call's.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio
from tenacity import RetryCallState
from tenacity.wait import wait_base

from deploy.errors import CallFailed, Meaning

T = TypeVar("T")

READ_FIRST_S = 0.25
READ_LIMIT_S = 5.0
_ASKED_LIMIT_S = 60.0  # of a `Retry-After`
PASS_FIRST_S = 1.0
PASS_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds a failed read is asked again.

    Who is not `sure` that a Machines API answers asks once more for what cannot be read:
    the same again is no hiccup.
    """

    within_s: float
    chance: random.Random
    sure: bool = True

    async def ask(self, read: Callable[[], Awaitable[T]], *, within_s: float | None = None) -> T:
        """The answer of `read`, asked again while its failure is a hiccup and time remains.

        The last real failure passes through. `within_s` shortens the patience, it
        never lengthens it; nor does a `Retry-After` for which there is no time.
        """
        limit_s = self.within_s if within_s is None else min(self.within_s, within_s)
        deadline = anyio.current_time() + limit_s
        garbled = ""  # what could not be read the last time
        step_s = READ_FIRST_S
        while True:
            try:
                return await read()
            except CallFailed as error:
                is_the_same = error.garbled and error.message == garbled
                garbled = error.message if error.garbled else ""
                if error.meaning is not Meaning.REPEAT or (is_the_same and not self.sure):
                    raise
                jittered_s = _jittered_s(step_s, self.chance)
                left_s = deadline - anyio.current_time()
                if left_s <= 0:
                    raise
                asked_s = min(error.retry_after_s or 0.0, _ASKED_LIMIT_S)
            await anyio.sleep(min(max(jittered_s, asked_s), left_s))
            step_s = min(2 * step_s, READ_LIMIT_S)


class PassBackoff(wait_base):
    """Between passes: exponential backoff with jitter up to 30 s.

    Never shorter than the `retry_after_s`, in seconds, that a pass's result asks
    for; that is honoured up to five minutes.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def __call__(self, retry_state: RetryCallState) -> float:
        asked_s: float = retry_state.outcome.result().retry_after_s if retry_state.outcome else 0.0
        step_s = min(PASS_LIMIT_S, PASS_FIRST_S * 2.0 ** min(retry_state.attempt_number - 1, 16))
        return max(_jittered_s(step_s, self._chance), min(asked_s, 10 * PASS_LIMIT_S))


def _jittered_s(step_s: float, chance: random.Random) -> float:
    """Equal jitter for an exponential backoff: between half of the step and the whole of it.

    After Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog).
    """
    return step_s / 2 + chance.random() * step_s / 2
