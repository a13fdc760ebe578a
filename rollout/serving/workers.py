"""Further processes that answer on the same socket, since one Python answers on one processor.

The first process alone follows the source, and hands on what it has read: an address is
asked once, and all soon serve the same. A worker that will hear nothing more is to end,
or its first process is gone: it answers what has been asked, and ends.
"""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import TypeAlias

import anyio

from rollout.sources.text import Text

_TAKEN_WITHIN_S = 60.0
"""The largest file takes a slow machine a third of it."""

Work: TypeAlias = Callable[[Connection], None]
"""What a worker does, given where it hears of newer texts; see `obey`."""


class Workers:
    """The workers of this process."""

    def __init__(self) -> None:
        self._members: list[tuple[ForkProcess, Connection]] = []
        self._stopping = False

    def fork(self, work: Work) -> None:
        """One more."""
        fork = get_context("fork")
        hears, tells = fork.Pipe()
        process = fork.Process(target=self._begin, args=(work, hears, tells))
        process.start()
        hears.close()
        self._members.append((process, tells))

    async def tell(self, text: Text) -> None:
        """Have all serve `text`, which is in order; they do when it returns.

        A worker that does not take it is ended, or what it answers would be old for good.
        """
        async with anyio.create_task_group() as tasks:
            for process, tells in self._members:
                tasks.start_soon(self._tell, process, tells, text)

    def stop(self) -> None:
        """Have all answer what has been asked, and end."""
        self._stopping = True
        for _, tells in self._members:
            # Not closed: a thread may be waiting for what the worker says. It may be gone, too.
            end = socket.fromfd(tells.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)
            with end, suppress(OSError):
                end.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End all at once."""
        for process, _ in self._members:
            process.kill()
        for process, _ in self._members:
            process.join()

    async def watch(self, say: Callable[[str], None]) -> None:
        """Say so when one has ended that nobody stopped; returns when all have ended."""
        async with anyio.create_task_group() as tasks:
            for process, _ in self._members:
                tasks.start_soon(self._attend, process, say)

    async def _tell(self, process: ForkProcess, tells: Connection, text: Text) -> None:
        with anyio.move_on_after(_TAKEN_WITHIN_S) as waiting:
            await anyio.to_thread.run_sync(_hand_over, tells, text, abandon_on_cancel=True)
        if waiting.cancelled_caught:
            process.kill()

    async def _attend(self, process: ForkProcess, say: Callable[[str], None]) -> None:
        await anyio.wait_readable(process.sentinel)
        process.join()
        if not self._stopping:
            say(f"worker {process.pid} has ended ({process.exitcode}); the others go on")

    def _begin(self, work: Work, hears: Connection, tells: Connection) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # whom to stop, the first process says
        for end in (tells, *(others for _, others in self._members)):
            end.close()  # else nobody would see that the first process is gone
        work(hears)


def _hand_over(tells: Connection, text: Text) -> None:
    with suppress(OSError, EOFError):  # a worker that is gone
        tells.send(text)
        tells.recv()


@contextmanager
def forked(count: int, work: Work) -> Iterator[Workers]:
    """So many workers, for as long as the context lasts."""
    workers = Workers()
    gc.freeze()  # what is there now stays shared memory
    for _ in range(count):
        workers.fork(work)
    try:
        yield workers
    finally:
        workers.stop()
        workers.kill()


async def obey(hears: Connection, take: Callable[[Text], None]) -> None:
    """Have `take` serve each text that the first process tells of, until there will be no more."""
    with suppress(EOFError, OSError):  # the first process has closed its end, or is gone
        while True:
            await anyio.wait_readable(hears)
            await anyio.to_thread.run_sync(take, hears.recv())
            hears.send(None)
