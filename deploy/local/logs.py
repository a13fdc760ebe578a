"""What machines wrote: the newest lines of each, kept and handed on as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count

import anyio
import msgspec

from deploy.local.runtime import Clock

LINES_KEPT = 1000  # of each machine
MACHINES_KEPT = 1000  # the oldest go first


class LogLine(msgspec.Struct, frozen=True):
    """One line as it was written, without its end; `at` is in Unix seconds."""

    machine: str
    name: str
    at: float
    line: str
    number: int  # in the order of all lines


class Logs:
    """Of all machines of one platform; `say` gets each line too, with its machine's name."""

    def __init__(self, clock: Clock, say: Callable[[str], None]) -> None:
        self._clock = clock
        self._say = say
        self._numbers = count(1)
        self._of: dict[str, deque[LogLine]] = {}
        self._more: anyio.Event | None = None  # set with the next line, if anybody waits

    def writer(self, app: str, machine: str, name: str) -> Callable[[str], None]:
        """Takes the lines of one machine."""

        def write(line: str) -> None:
            self._add(LogLine(machine, name, self._clock(), line, next(self._numbers)))
            self._say(f"{app}/{name} | {line}")

        return write

    def _add(self, line: LogLine) -> None:
        self._of.setdefault(line.machine, deque(maxlen=LINES_KEPT)).append(line)
        if len(self._of) > MACHINES_KEPT:
            del self._of[next(iter(self._of))]
        if self._more is not None:
            self._more.set()
            self._more = None

    def tail(self, machines: Sequence[str], lines: int, *, after: int = 0) -> list[LogLine]:
        """The newest `lines` of these machines together, oldest first, that came `after` one."""
        found = [line for machine in machines for line in self._newer(machine, after)]
        return sorted(found, key=lambda line: line.number)[-lines:]

    async def follow(
        self, machines: Callable[[], Sequence[str]], lines: int
    ) -> AsyncIterator[LogLine]:
        """The tail, and then every line as it comes; `machines` may grow. Endless."""
        after = 0
        while True:
            more = self._more = self._more or anyio.Event()
            for line in self.tail(machines(), lines, after=after):
                after = line.number
                yield line
            lines = LINES_KEPT
            await more.wait()

    def _newer(self, machine: str, after: int) -> Sequence[LogLine]:
        lines = self._of.get(machine, ())
        return [line for line in lines if line.number > after]
