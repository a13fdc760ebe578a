"""The facts a run emits, as frozen values.

A run tells what happens to it and never prints: progress, journal and report
are readers of these events, each ignoring what it does not need. Every event
can be written as JSON by `to_json`; the names of events and fields are a
documented, versioned interface (`SCHEMA_VERSION`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, get_args

import msgspec

SCHEMA_VERSION = 1


class Phase(StrEnum):
    """Where one machine stands in this run."""

    QUEUED = "queued"
    CREATING = "creating"
    UPDATING = "updating"
    STARTING = "starting"
    CHECKING = "checking"
    CORDONING = "cordoning"
    UNCORDONING = "uncordoning"
    DRAINING = "draining"
    STOPPING = "stopping"
    DESTROYING = "destroying"
    DONE = "done"
    BACK = "back"
    GONE = "gone"
    WAITING = "waiting"
    FAILED = "failed"


class Result(StrEnum):
    """How a run ended, in the words of the exit codes."""

    DONE = "done"
    UNCHANGED = "unchanged"
    ROLLED_BACK = "rolled-back"
    FAILED = "failed"
    IN_BETWEEN = "in-between"
    REFUSED = "refused"
    LEASED = "leased"
    OUTAGE = "outage"
    INTERRUPTED = "interrupted"


class Cause(StrEnum):
    """What kept a run from being done."""

    APP = "app"
    PLATFORM = "platform"
    OUTAGE = "outage"
    REJECTED = "rejected"
    LEASED = "leased"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The first event. `command` is deploy, scale, resume or rollback.

    `user` and `commit` are who runs it, and from which revision, as far as it is known.
    """

    command: str
    app: str
    deploy_id: str
    run_id: str
    image: str
    strategy: str
    user: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagDecision:
    """Why this path: what the flag answered, or `source` "option" where the number was given.

    `variant` is inside or outside, `bucket` 0 to 99,999 and `percent`, how far the
    rollout is, 0 to 100; the last two are None where no bucket decided. `value` is the
    number of retries, None where the flag cannot be used: `error` says why.
    """

    source: str = ""
    sentence: str = ""
    flag: str = ""
    unit: str = ""
    bucket: int | None = None
    percent: float | None = None
    variant: str = ""
    reason: str = ""
    value: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChosen:
    """Which path runs and why, as one sentence; `decision` is the flag's, where one was asked.

    `assigned` is what the flag says of this deploy, also where the number was given by hand.
    """

    path: str
    retries: int
    sentence: str
    decision: FlagDecision | None = None
    assigned: FlagDecision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasesTaken:
    """So many of the pass's leases are held; told once a second, where it takes that long."""

    taken: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What the first pass that gets its leases is to do: one (machine, group, verb) per action.

    A machine goes by its name, or by its id where it has none.
    """

    actions: tuple[tuple[str, str, str], ...]
    unchanged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassStarted:
    """Pass `number` of at most `of`; `direction` is forward or back."""

    number: int
    of: int
    direction: str = "forward"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineMoved:
    """A machine entered a phase. `machine_id` is empty while it is being created."""

    machine_id: str
    name: str
    group: str
    phase: Phase
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HiccupMet:
    """A call failed in a way that retrying can help; `outcome_known`: the write is settled.

    `name` tells a machine that has no id yet: the one that was to be created.
    """

    operation: str
    machine_id: str
    message: str
    outcome_known: bool
    number: int
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFinished:
    """How a pass ended: how many actions are done, how many are left, and why."""

    number: int
    done: int
    left: int
    reason: str = ""
    direction: str = "forward"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackingOff:
    """Nothing is done for `delay_s` seconds before the next pass."""

    delay_s: float
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingBack:
    """The release is given up: machines return to what they ran before."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """Something a person should know that does not end the run."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineStands:
    """One machine at the end: `runs` is new, old, mixed (neither), gone or unknown."""

    machine_id: str
    name: str
    group: str
    region: str
    version: str
    image: str
    state: str
    cordoned: bool
    checks: str
    runs: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The last event: the result, every machine, and the machines left over with their remedy.

    `cause` is None where the run is done; `image_before` is what ran before it, with
    commas where machines differed; `log` is the last lines that the machine wrote
    whose app failed, where it was that.
    """

    result: Result
    exit_code: int
    message: str
    hint: str = ""
    cause: Cause | None = None
    machines: tuple[MachineStands, ...] = ()
    leftovers: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    image_before: str = ""


Event = (
    RunStarted
    | PathChosen
    | LeasesTaken
    | Planned
    | PassStarted
    | MachineMoved
    | HiccupMet
    | PassFinished
    | BackingOff
    | GoingBack
    | Noticed
    | RunFinished
)

Emit = Callable[[Event], None]

# A reader takes the Unix time in seconds at which the event happened, and the event.
Reader = Callable[[float, Event], None]


def emitter(now: Callable[[], float], *readers: Reader) -> Emit:
    """An `Emit` that stamps each event with `now()` and hands it to every reader in turn."""

    def emit(event: Event) -> None:
        at = now()
        for read in readers:
            read(at, event)

    return emit


def to_json(at: float, event: Event) -> dict[str, Any]:
    """The event as JSON-ready data: `{"v": 1, "at": unix seconds, "event": name, ...fields}`."""
    head = {"v": SCHEMA_VERSION, "at": round(at, 3), "event": _name(type(event))}
    return {**head, **msgspec.to_builtins(event)}


def from_json(data: object) -> tuple[float, Event] | None:
    """What `to_json` wrote: (Unix seconds, event); None for anything that this version cannot read.

    Fields it does not know are passed over: they come from a later tidegate. Numbers
    may be text: an earlier one wrote a decision's percentage so.
    """
    if not isinstance(data, dict):
        return None
    at, event_type = data.get("at"), _TYPES.get(str(data.get("event")))
    if event_type is None or not isinstance(at, int | float) or isinstance(at, bool):
        return None
    try:
        seconds = float(at)
        event: Event = msgspec.convert(data, event_type, strict=False)
    except (msgspec.ValidationError, OverflowError):
        return None
    return (seconds, event) if math.isfinite(seconds) else None


def to_line(data: Mapping[str, Any]) -> str:
    """JSON-ready data as one line of ASCII without its end, safe on any stream."""
    return json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _name(event_type: type) -> str:
    """`PassStarted` -> `pass_started`."""
    name = event_type.__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


_TYPES: dict[str, type[Event]] = {_name(kind): kind for kind in get_args(Event)}
