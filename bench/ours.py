"""What tidegate puts into the race, and the floor under everybody: the hash itself."""

from __future__ import annotations

from collections.abc import Sequence

import mmh3

from bench.definitions import KEY, PERCENT
from bench.peers import Contender
from rollout import Flags
from rollout.bucketing import BUCKETS, Draw, bucket

FLAGS_TEXT = """\
version: 1
flags:
  {key}: {{bucket_by: app, percent: {percent}, inside: 5, outside: 0}}
"""


def flags(percent: int = PERCENT) -> Flags:
    """A file's worth of flags: one, by app, at `percent`."""
    return Flags.parse(FLAGS_TEXT.format(key=KEY, percent=percent))


_UNREAD = "value, reason; bucket not read"


def floor() -> Contender:
    """Bare `mmh3.hash`, called in its cheapest form, plus multiply and shift."""
    hash_ = mmh3.hash

    def run(units: Sequence[str]) -> None:
        for unit in units:
            (hash_(unit, 0, False) * 100_000) >> 32

    def is_inside(unit: str) -> bool:
        return (hash_(unit, 0, False) * 100_000) >> 32 < PERCENT * BUCKETS // 100

    return Contender("the floor: mmh3.hash", "mmh3", "bucket", run, is_inside)


def floor_as_function() -> Contender:
    """The same in a function of one line, as whoever decides is called: the least a call costs."""
    hash_ = mmh3.hash

    def place(unit: str) -> int:
        return (hash_(unit, 0, False) * 100_000) >> 32

    def run(units: Sequence[str]) -> None:
        for unit in units:
            place(unit)

    def is_inside(unit: str) -> bool:
        return place(unit) < PERCENT * BUCKETS // 100

    return Contender("the floor, as a function", "mmh3", "bucket", run, is_inside)


def decider() -> Contender:
    """`decide = flags.decider(key)`, then `decide(unit)`."""
    decide = flags().decider(KEY)

    def run(units: Sequence[str]) -> None:
        for unit in units:
            _ = decide(unit).value

    def is_inside(unit: str) -> bool:
        return decide(unit).variant == "inside"

    return Contender("tidegate decide(unit)", "tidegate", _UNREAD, run, is_inside)


def decider_with_bucket() -> Contender:
    """The same, with the bucket read: it is worked out only then."""
    decide = flags().decider(KEY)

    def run(units: Sequence[str]) -> None:
        for unit in units:
            _ = decide(unit).bucket

    def is_inside(unit: str) -> bool:
        return decide(unit).variant == "inside"

    name = "tidegate decide(unit).bucket"
    return Contender(name, "tidegate", "value, reason, bucket", run, is_inside)


def evaluate() -> Contender:
    """`flags.evaluate(key, app=unit)`."""
    ask = flags().evaluate

    def run(units: Sequence[str]) -> None:
        for unit in units:
            _ = ask(KEY, app=unit).value

    def is_inside(unit: str) -> bool:
        return ask(KEY, app=unit).variant == "inside"

    return Contender("tidegate evaluate()", "tidegate", _UNREAD, run, is_inside)


def check(units: Sequence[str]) -> None:
    """That the decisions timed are those of the standard, with all they promise to carry."""
    decide = flags().decider(KEY)
    for unit in units:
        decision = decide(unit)
        if (decision.bucket, decision.reason) != (bucket(Draw(KEY), unit), "SPLIT"):
            raise SystemExit(f"decided wrongly for {unit}: {decision.explain()}")


OURS = (floor, floor_as_function, decider, decider_with_bucket, evaluate)
