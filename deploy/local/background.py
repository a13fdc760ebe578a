"""Tasks that run beside other code and end with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def background() -> AsyncIterator[TaskGroup]:
    """A task group that is cancelled at the end of the block.

    An error of the block leaves it as it is, not wrapped in a group; an error of
    a task, which is a fault of ours, ends the block.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


class HasTasks:
    """An async context manager with tasks of its own, which end when it is left."""

    _tasks: TaskGroup

    async def __aenter__(self) -> Self:
        self._background = background()
        self._tasks = await self._background.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._background.__aexit__(*error)
