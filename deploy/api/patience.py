"""How long to wait before asking again.

tenacity's own waits and its stop after a delay read the wall clock and the global random
generator; these take anyio's clock and a seeded generator instead, so that a
simulated hour of retries is exact and takes milliseconds.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_base

from deploy.errors import CallFailed, Meaning

T = TypeVar("T")

READ_FIRST_S = 0.25
READ_LIMIT_S = 5.0
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
        growing = _Growing(READ_FIRST_S, READ_LIMIT_S, self.chance)

        def wait_s(state: RetryCallState) -> float:
            return min(growing(state), max(0.0, deadline - anyio.current_time()))

        policy = AsyncRetrying(
            retry=retry_if_exception(_WorthAskingAgain(self.sure)),
            stop=lambda _: anyio.current_time() >= deadline,
            wait=wait_s,
            sleep=anyio.sleep,
            reraise=True,
        )

        async def attempt() -> T:  # tenacity awaits only what is declared async
            return await read()

        return await policy(attempt)


class PassBackoff(wait_base):
    """Between passes: exponential backoff with jitter up to 30 s.

    Never shorter than the `retry_after_s`, in seconds, that a pass's result asks
    for; that is honoured up to five minutes.
    """

    def __init__(self, chance: random.Random) -> None:
        self._growing = _Growing(PASS_FIRST_S, PASS_LIMIT_S, chance)

    def __call__(self, retry_state: RetryCallState) -> float:
        asked: float = retry_state.outcome.result().retry_after_s if retry_state.outcome else 0.0
        return max(self._growing(retry_state), min(asked, 10 * PASS_LIMIT_S))


class _WorthAskingAgain:
    """A hiccup is; to who is not sure, not what could not be read the last time either."""

    def __init__(self, sure: bool) -> None:
        self._sure = sure
        self._garbled = ""

    def __call__(self, error: BaseException) -> bool:
        if not isinstance(error, CallFailed) or error.meaning is not Meaning.REPEAT:
            return False
        before, self._garbled = self._garbled, error.message if error.garbled else ""
        return self._sure or not error.garbled or error.message != before


class _Growing(wait_base):
    """Exponential backoff with equal jitter: between half of the step and the whole of it.

    After Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog).
    """

    def __init__(self, first_s: float, limit_s: float, chance: random.Random) -> None:
        self._first_s = first_s
        self._limit_s = limit_s
        self._chance = chance

    def __call__(self, retry_state: RetryCallState) -> float:
        exponent = min(retry_state.attempt_number - 1, 16)
        step_s = min(self._limit_s, self._first_s * float(2**exponent))
        asked_s = _asked_s(retry_state)
        return max(step_s / 2 + self._chance.random() * step_s / 2, asked_s)


def _asked_s(state: RetryCallState) -> float:
    """The `Retry-After` of the failure that is being waited for, in seconds, at most 60."""
    error = state.outcome.exception() if state.outcome and state.outcome.failed else None
    asked = error.retry_after_s if isinstance(error, CallFailed) else None
    return min(asked or 0.0, 60.0)
