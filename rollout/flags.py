"""The library: `Flags.load(...)`, then `flags.evaluate("deploy-retries", app="hello")`.

Where one flag is asked for many units, `decide = flags.decider("deploy-retries")` and
then `decide("hello")` gives the same decisions and costs less.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from time import time
from typing import Any, Never, final

from rollout.errors import UnknownFlag
from rollout.evaluate import NOTHING_ELSE, Decide, compile_flag, evaluate
from rollout.file import flagfile
from rollout.flag import Context, Decision, Flag, Ramp
from rollout.sources import source

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


@final
class Flags(Mapping[str, Flag]):
    """The flags of one file: a read-only mapping from key to Flag that can also decide.

    Never changes after it is made, so any number of threads may share it.
    `source` says for people where the flags are from, as it was when they were read.

    >>> flags = Flags.parse(
    ...     "{version: 1, flags: {a: {bucket_by: app, percent: 10, inside: 1, outside: 0}}}"
    ... )
    >>> flags
    <Flags of flags.yaml: a>
    >>> "a" in flags, len(flags), flags["a"].bucket_by
    (True, 1, 'app')
    >>> flags["b"]
    Traceback (most recent call last):
    rollout.errors.UnknownFlag: flags.yaml has no flag b
    """

    __slots__ = ("_deciders", "_flags", "source")

    source: str
    _flags: Mapping[str, Flag]
    _deciders: Mapping[str, tuple[str, Decide, bool]]

    def __init__(self, file: flagfile.FlagFile) -> None:
        deciders = {
            key: (flag.bucket_by, _decider(flag), bool(flag.always))
            for key, flag in file.flags.items()
        }
        for name, value in (
            ("source", file.source),
            ("_flags", file.flags),
            ("_deciders", deciders),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def load(cls, spec: str | os.PathLike[str] | None = None) -> Flags:
        """The flags of the file or URL `spec`; of the file bundled with the package without it.

        From a URL it takes a second at most, and then gives the last good copy, if there
        is one; `source` says so. Raises SourceProblem when it cannot be read, and
        BadFlagFile with all that is wrong with it when it is not a flags file.

        >>> Flags.load().source
        'the bundled flags.yaml'
        >>> Flags.load("http://example.com/flags.yaml")
        Traceback (most recent call last):
        rollout.errors.SourceProblem: http://example.com/flags.yaml is plain http to another machine
        """
        text = source.read(spec)
        return cls(flagfile.parse_bytes(text.data, text.source))

    @classmethod
    def parse(cls, text: str, source: str = "flags.yaml") -> Flags:
        """The flags that `text` states; raises BadFlagFile.

        >>> Flags.parse("version: 1")
        Traceback (most recent call last):
        rollout.errors.BadFlagFile: flags.yaml:1:1: flags is missing
        """
        return cls(flagfile.parse(text, source))

    def evaluate(self, key: str, /, **attributes: Any) -> Decision:
        """What the flag `key` is worth now, for somebody with these attributes.

        Only raises UnknownFlag: a unit that is missing or is no text gives the
        value outside the rollout, with the reason ERROR.

        >>> flags = Flags.parse(
        ...     "{version: 1, flags: {a: {bucket_by: app, percent: 10, inside: 1, outside: 0}}}"
        ... )
        >>> flags.evaluate("a", app="hello", org="acme").unit
        'hello'
        >>> nobody = flags.evaluate("a")
        >>> nobody.value, nobody.reason, nobody.error_code
        (0, 'ERROR', 'TARGETING_KEY_MISSING')
        """
        try:
            bucket_by, decide, _ = self._deciders[key]
            return decide(attributes[bucket_by], attributes)
        except KeyError:
            return self.decider(key)(None, attributes)

    def decider(self, key: str) -> Decide:
        """The flag `key` as a function: from a unit to what the flag is worth for it now.

        `decide("hello")` decides as `evaluate(key, app="hello")` does for a flag that
        is bucketed by app, without the price of keywords. Other attributes go into a
        second argument, `decide("hello", {"org": "acme"})`. Raises UnknownFlag.

        >>> flags = Flags.parse(
        ...     "{version: 1, flags: {a: {bucket_by: app, percent: 10, inside: 1, outside: 0}}}"
        ... )
        >>> decide = flags.decider("a")
        >>> sum(decide(f"app-{number}").value for number in range(1000))
        93
        """
        return self.deciding(key)[1]

    def deciding(self, key: str) -> tuple[str, Decide, bool]:
        """The flag's `bucket_by`, its decider, and whether that looks at more than the unit.

        For who finds the unit in another way. Raises UnknownFlag.
        """
        try:
            return self._deciders[key]
        except KeyError:
            raise self._unknown(key) from None

    def evaluate_at(self, now: datetime, key: str, context: Context) -> Decision:
        """The same at a given time, which must have an offset: pure, never reads the clock.

        >>> from datetime import UTC, datetime
        >>> flags = Flags.parse('''
        ... version: 1
        ... flags:
        ...   a:
        ...     bucket_by: app
        ...     inside: true
        ...     outside: false
        ...     ramp:
        ...       - {at: 2027-03-01T09:00Z, percent: 10}
        ...       - {at: 2027-03-02T09:00Z, percent: 100}
        ... ''')
        >>> flags.evaluate_at(datetime(2027, 3, 1, 9, tzinfo=UTC), "a", {"app": "x"}).value
        False
        >>> flags.evaluate_at(datetime(2027, 3, 2, 9, tzinfo=UTC), "a", {"app": "x"}).value
        True
        """
        if now.tzinfo is None:
            raise ValueError("the time needs an offset, such as datetime.now(UTC) has")
        return evaluate(self[key], context, now)

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(f"Flags never change, so {name} cannot be set")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError(f"Flags never change, so {name} cannot be deleted")

    def __getitem__(self, key: str) -> Flag:
        flag = self._flags.get(key)
        if flag is None:
            raise self._unknown(key)
        return flag

    def __contains__(self, key: object) -> bool:
        return key in self._flags

    def __iter__(self) -> Iterator[str]:
        return iter(self._flags)

    def __len__(self) -> int:
        return len(self._flags)

    def __repr__(self) -> str:
        return f"<Flags of {self.source}: {', '.join(self._flags)}>"

    def _unknown(self, key: str) -> UnknownFlag:
        return UnknownFlag(key, self._flags, self.source)


def _decider(flag: Flag) -> Decide:
    """The flag compiled: once for good, or for a ramp once for each step."""
    if not isinstance(flag.rollout, Ramp):
        return compile_flag(flag, _BEFORE_ALL)
    starts = [step.at.timestamp() for step in flag.rollout.steps]
    stages = [
        compile_flag(flag, _BEFORE_ALL),
        *(compile_flag(flag, s.at) for s in flag.rollout.steps),
    ]

    def decide(unit: Any, context: Context = NOTHING_ELSE, /) -> Decision:
        return stages[bisect_right(starts, time())](unit, context)

    return decide
