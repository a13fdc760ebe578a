"""Runs one world on asyncio or on trio, where time passes only when nobody is busy.

trio has such a clock of its own (`tests.worlds.simulated.clockwork`); asyncio gets a
loop whose clock jumps to the next timer instead of waiting for it. Nothing in
such a world may touch a socket, a thread or a process.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from tests.worlds.simulated.clockwork import LONGEST_S, run_in_time

T = TypeVar("T")

BACKENDS = ("asyncio", "trio")


def run_on(
    backend: str,
    main: Callable[[], Awaitable[T]],
    *,
    seed: int = 0,
    before_time_passes: Callable[[float], None] | None = None,
) -> T:
    """The result of `main`; `before_time_passes(now)` is called when all are waiting."""
    if backend == "trio":
        return run_in_time(main, seed=seed, before_time_passes=before_time_passes)

    async def bounded() -> T:
        with anyio.fail_after(LONGEST_S):
            return await main()

    factory = {"loop_factory": lambda: _JumpingLoop(before_time_passes)}
    return anyio.run(bounded, backend="asyncio", backend_options=factory)


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for events and never waits for them: instead of waiting, time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.before_time_passes: Callable[[float], None] | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if not events and timeout != 0:
            if timeout is None:
                raise RuntimeError("everybody waits, and nothing will ever happen")
            if self.before_time_passes is not None:
                self.before_time_passes(self.now)
            self.now += max(timeout, 1e-9) if timeout > 0 else 0.0
        return events


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self, before_time_passes: Callable[[float], None] | None) -> None:
        self._jumping = _JumpingSelector()
        self._jumping.before_time_passes = before_time_passes
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now
