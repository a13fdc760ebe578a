"""The flags of a source, looked at again and again: always the newest that are in order.

What is read is swapped in as a whole, so an evaluation sees one file or the
next and never a mixture. A file that lacks a flag may be half written: it counts once
it has been seen twice in a row. Knows nothing of who asks, and starts no thread.
"""

from __future__ import annotations

import os
import threading

import msgspec

from rollout.errors import RolloutError
from rollout.file import flagfile
from rollout.flags import Flags
from rollout.sources import source
from rollout.sources.text import Text

FILE_POLL_S = 1.0
ADDRESS_POLL_S = 30.0


class State(msgspec.Struct, frozen=True):
    """The flags that count, where they are from, and what is wrong with their source now."""

    flags: Flags
    source: str
    problem: str = ""


class News(msgspec.Struct, frozen=True):
    """What a look has found.

    The keys of the flags that were added, removed or changed; what is wrong with the source
    now, if that is new; and whether what was wrong is over.
    """

    changed: list[str]
    broke: str = ""
    mended: bool = False


class Live:
    """Holds the newest `state`; any number of threads may read it."""

    def __init__(self, spec: str | os.PathLike[str] | None = None) -> None:
        """Reads `spec`, a path or URL or nothing, as Flags.load does, and raises what it does."""
        self.spec = spec
        text = source.read(spec)
        self._data = text.data
        self._lacking = b""
        self._lock = threading.Lock()
        flags = Flags(flagfile.parse_bytes(text.data, text.source))
        self.state = State(flags, text.source, text.problem)

    @property
    def poll_s(self) -> float:
        """How long to wait between two looks: an address is asked less often than a file."""
        return ADDRESS_POLL_S if "://" in os.fspath(self.spec or "") else FILE_POLL_S

    @property
    def text(self) -> Text:
        """What serves now, as it was read, and what is wrong with its source."""
        return Text(self._data, self.state.source, self.state.problem)

    def take(self, text: Text) -> None:
        """Serve `text`, which another process has read; raises BadFlagFile."""
        with self._lock:
            flags = self._flags(text)
            self._data, self._lacking = text.data, b""
            self.state = State(flags, text.source, text.problem)

    def refresh(self) -> News:
        """Look again.

        A source that cannot be read or is broken changes nothing but `state.problem`; of
        an address whose last good copy serves, it says why.
        """
        with self._lock:
            before = self.state
            self.state = self._look(before)
            old, new = before.flags, self.state.flags
            problem = self.state.problem
            return News(
                [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)],
                broke=problem if problem != before.problem else "",
                mended=bool(before.problem) and not problem,
            )

    def _look(self, before: State) -> State:
        try:
            text = source.read(self.spec)
            flags = self._flags(text)
        except RolloutError as error:
            return State(before.flags, before.source, error.message)
        if before.flags.keys() - flags.keys() and text.data != self._lacking:
            self._lacking = text.data
            return before
        self._data, self._lacking = text.data, b""
        return State(flags, text.source, text.problem)

    def _flags(self, text: Text) -> Flags:
        if text.data == self._data:
            return self.state.flags
        return Flags(flagfile.parse_bytes(text.data, text.source))
