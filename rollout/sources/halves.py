"""Records observed by two processes where there are many: what is found is the same, to the byte.

The first half is read here and the second by a fork, which tells what it saw when it is
done. A fork that cannot is no loss but of time: its half is read here, too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Final, TypeAlias

from rollout.outcomes.observed import Observed, Observer, concluded, observe
from rollout.outcomes.question import Question
from rollout.outcomes.record import Record
from rollout.sources.reports import Part, Reports

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

LARGE: Final = 32 << 20
"""From so many bytes on, which take a fourth of a second, a second process pays."""

_OPENING: Final = 4096
"""Opening a file takes as long as reading so many bytes."""

Halves: TypeAlias = tuple[Sequence[Part], Sequence[Part]]


def observed(reports: Reports[Record], question: Question) -> Observed:
    """What the records say; see `observe`."""
    halves = _halves(reports)
    if halves is None:
        return observe(reports, question)
    return concluded(partial(_both, reports, halves, question))


def _halves(reports: Reports[Record]) -> Halves | None:
    """The files up to the middle of all bytes and those from there on; None to read all here."""
    sizes = [_size(path) for path in reports.files]
    if sum(sizes) < LARGE or 0 in sizes or os.cpu_count() == 1:
        return None
    middle, number = sum(sizes) // 2, 0
    while middle > sizes[number]:
        middle -= sizes[number]
        number += 1
    path, parts = reports.files[number], [Part(path) for path in reports.files]
    if (cut := reports.line_after(path, middle)) is None:
        return parts[: number + 1], parts[number + 1 :]
    first, second = Part(path, end=cut), Part(path, start=cut)
    return [*parts[:number], first], [second, *parts[number + 1 :]]


def _size(path: str) -> int:
    """What a file weighs in bytes; 0 for what may be a stream of this process alone."""
    try:
        status = Path(path).lstat()
    except OSError:
        return 0
    return status.st_size + _OPENING if S_ISREG(status.st_mode) else 0


def _both(
    reports: Reports[Record], halves: Halves, question: Question, contested: frozenset[int]
) -> Observer:
    import multiprocessing  # takes longer than a small directory of reports

    first, second = map(reports.only, halves)
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    look = partial(Observer, question, contested)
    child = fork.Process(target=_tell, args=(receiver, sender, second, look), daemon=True)
    child.start()
    sender.close()
    found = look().take(first)
    try:
        other, second.broken, second.broken_count = receiver.recv()
    except EOFError:
        other = look().take(second)
    found.add(other)
    reports.name_all(first, second)
    child.join()
    return found


def _tell(
    receiver: Connection, sender: Connection, half: Reports[Record], look: partial[Observer]
) -> None:
    """What the fork does. It ends without a word where the first process is gone or interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    receiver.close()
    try:
        found = look().take(half)
    except Exception:
        return  # the first process will meet it, too
    with suppress(OSError):
        sender.send((found, half.broken, half.broken_count))
