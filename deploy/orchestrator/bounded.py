"""Many things side by side, and never more than so many at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

T = TypeVar("T")

AT_ONCE = 64  # what one client may ask of the platform in the same moment


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do `work` on each item, in their order, at most `AT_ONCE` of them at a time."""
    waiting = list(items)
    left = iter(waiting)

    async def worker() -> None:
        for item in left:
            await work(item)

    async with anyio.create_task_group() as tasks:
        for _ in range(min(AT_ONCE, len(waiting))):
            tasks.start_soon(worker)
