"""What happened when: the one fold over a run's events that every reader looks at.

A `Timeline` takes events one by one and can be read at any moment, so that live
progress, the report and the pictures of a finished run agree. It knows neither
clocks nor screens. It takes what comes: a missing first event, an unknown
machine or a clock that jumps back make a poorer timeline and never an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from deploy.events import (
    BackingOff,
    Event,
    HiccupMet,
    LeasesTaken,
    MachineMoved,
    Noticed,
    PassFinished,
    PassStarted,
    PathChosen,
    Phase,
    Planned,
    RunFinished,
    RunStarted,
)


class Kind(StrEnum):
    """Phases that mean the same to somebody looking on."""

    IDLE = "waiting"
    WRITE = "changing"
    START = "starting"
    CHECK = "checking"
    SWITCH = "switching"
    STOP = "stopping"
    DONE = "done"
    BACK = "back"
    GONE = "gone"
    FAILED = "failed"


KIND: dict[Phase, Kind] = {
    Phase.QUEUED: Kind.IDLE,
    Phase.WAITING: Kind.IDLE,
    Phase.CREATING: Kind.WRITE,
    Phase.UPDATING: Kind.WRITE,
    Phase.STARTING: Kind.START,
    Phase.CHECKING: Kind.CHECK,
    Phase.CORDONING: Kind.SWITCH,
    Phase.UNCORDONING: Kind.SWITCH,
    Phase.DRAINING: Kind.SWITCH,
    Phase.STOPPING: Kind.STOP,
    Phase.DESTROYING: Kind.STOP,
    Phase.DONE: Kind.DONE,
    Phase.BACK: Kind.BACK,
    Phase.GONE: Kind.GONE,
    Phase.FAILED: Kind.FAILED,
}

# A kind at a glance: its colour, as rich and click both name it, and the sign of one at rest.
COLOUR: dict[Kind, str] = {
    Kind.IDLE: "bright_black",
    Kind.WRITE: "blue",
    Kind.START: "cyan",
    Kind.CHECK: "yellow",
    Kind.SWITCH: "magenta",
    Kind.STOP: "magenta",
    Kind.DONE: "green",
    Kind.BACK: "yellow",
    Kind.GONE: "bright_black",
    Kind.FAILED: "red",
}
SIGN: dict[Kind, str] = {Kind.DONE: "✓", Kind.BACK: "↩", Kind.GONE: "×", Kind.FAILED: "✗"}

SETTLED = frozenset({Kind.DONE, Kind.BACK, Kind.GONE})
AT_REST = SETTLED | {Kind.FAILED, Kind.IDLE}


@dataclass(frozen=True, slots=True)
class Span:
    """One phase of one machine, in Unix seconds; a phase at rest lasts until the next one."""

    phase: Phase
    begin_s: float
    end_s: float
    detail: str = ""

    @property
    def kind(self) -> Kind:
        return KIND[self.phase]


def hiccup_words(hiccup: HiccupMet) -> str:
    """The message, behind its operation where it does not begin with it."""
    is_named = hiccup.message.startswith(hiccup.operation)
    return hiccup.message if is_named else f"{hiccup.operation}: {hiccup.message}"


@dataclass(slots=True)
class Track:
    """One machine through the run. `ref` is the id or name it was first heard of by."""

    ref: str
    machine_id: str = ""
    name: str = ""
    group: str = ""
    verb: str = ""
    moves: list[tuple[float, MachineMoved]] = field(default_factory=list)
    hiccups: list[tuple[float, HiccupMet]] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Its name, else its id."""
        return self.name or self.machine_id or self.ref or "(no name)"

    @property
    def key(self) -> str:
        """Its id, else its name: what a record files it under."""
        return self.machine_id or self.name or self.ref

    @property
    def phase(self) -> Phase:
        return self.moves[-1][1].phase if self.moves else Phase.QUEUED

    @property
    def kind(self) -> Kind:
        return KIND[self.phase]

    @property
    def detail(self) -> str:
        """The newest word on it: its last move's, or a hiccup's that came after."""
        moved_s = self.moves[-1][0] if self.moves else 0.0
        if self.hiccups and self.hiccups[-1][0] >= moved_s and self.kind not in SETTLED:
            return f"hiccup: {hiccup_words(self.hiccups[-1][1])}"
        return self.moves[-1][1].detail if self.moves else self.verb

    @property
    def began_s(self) -> float | None:
        """When work on it began, which queueing is not; None when it never did."""
        return next((at for at, move in self.moves if KIND[move.phase] is not Kind.IDLE), None)

    def duration_s(self, now_s: float) -> float:
        """From its first phase of work to its last phase; to `now_s` while it is in motion."""
        if self.began_s is None:
            return 0.0
        end_s = self.moves[-1][0] if self.kind in AT_REST else now_s
        return max(0.0, end_s - self.began_s)

    def spans(self, end_s: float) -> list[Span]:
        """Its phases in order, the last one until `end_s`; a phase heard of twice is one."""
        spans: list[Span] = []
        ends = [*(at for at, _ in self.moves[1:]), end_s]
        for (begin_s, move), until_s in zip(self.moves, ends, strict=False):
            if spans and spans[-1].phase is move.phase:
                begin_s = spans.pop().begin_s  # noqa: PLW2901 - the two become one
            spans.append(Span(move.phase, begin_s, max(begin_s, until_s), move.detail))
        return spans


@dataclass(slots=True)
class Lap:
    """One pass, in Unix seconds; `outcome` is None while it is under way."""

    begin_s: float
    started: PassStarted
    end_s: float | None = None
    outcome: PassFinished | None = None


@dataclass(slots=True)
class Timeline:
    """All that is known of a run so far."""

    begin_s: float = 0.0
    end_s: float = 0.0
    started: RunStarted | None = None
    chosen: PathChosen | None = None
    finished: RunFinished | None = None
    resting: tuple[float, BackingOff] | None = None
    leases: LeasesTaken | None = None
    passes: list[Lap] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    hiccups: list[tuple[float, HiccupMet]] = field(default_factory=list)
    notices: list[Noticed] = field(default_factory=list)
    _known: dict[str, Track] = field(default_factory=dict)
    _settled: int = 0
    _concerned: int = 0
    _is_empty: bool = True

    @classmethod
    def of(cls, events: Iterable[tuple[float, Event]]) -> Timeline:
        timeline = cls()
        for at, event in events:
            timeline.add(at, event)
        return timeline

    @property
    def duration_s(self) -> float:
        return self.end_s - self.begin_s

    @property
    def tally(self) -> tuple[int, int]:
        """(machines that are settled, machines that the run is about)."""
        return self._settled, self._concerned

    def add(self, at: float, event: Event) -> Track | None:
        """Take in one event; returns the machine it is about, where it is about one."""
        if self._is_empty:
            self._is_empty, self.begin_s, self.end_s = False, at, at
        # A wall clock may be set back in the middle of a run; a timeline only goes forward.
        at = self.end_s = max(at, self.end_s)
        self.leases = event if isinstance(event, LeasesTaken) else None
        match event:
            case MachineMoved():
                return self._move(at, event)
            case HiccupMet():
                return self._hiccup(at, event)
            case Planned():
                self._plan(event)
            case PassStarted() | PassFinished() | BackingOff():
                self._pass(at, event)
            case RunStarted():
                self.started = event
            case PathChosen():
                self.chosen = event
            case Noticed():
                self.notices.append(event)
            case RunFinished():
                self.resting = None
                self.finished = event
        return None

    def _move(self, at: float, event: MachineMoved) -> Track:
        track = self._find(event)
        self._count(track, -1)
        track.machine_id = event.machine_id or track.machine_id
        track.name = event.name or track.name
        track.group = event.group or track.group
        for ref in filter(None, (track.machine_id, track.name)):
            self._known[ref] = track
        track.moves.append((at, event))
        self._count(track, 1)
        return track

    def _count(self, track: Track, by: int) -> None:
        """Keeps the tally as it goes, since it is asked for at every move of every machine."""
        if track.moves or track.verb:
            self._concerned += by
            self._settled += by * (track.kind in SETTLED)

    def _find(self, event: MachineMoved) -> Track:
        """By id first; a name is somebody else's once its machine has another id or is gone."""
        if event.machine_id and (track := self._known.get(event.machine_id)):
            return track
        track = self._known.get(event.name or event.machine_id)
        if track is not None:
            same = event.machine_id in ("", track.machine_id) if track.machine_id else True
            if same and (event.machine_id or track.kind is not Kind.GONE):
                return track
        return self._new(event.name or event.machine_id)

    def _new(self, ref: str) -> Track:
        track = Track(ref=ref)
        self.tracks.append(track)
        self._known[ref] = track
        return track

    def _hiccup(self, at: float, event: HiccupMet) -> Track | None:
        self.hiccups.append((at, event))
        track = self._met_by(event)
        if track is not None:
            track.hiccups.append((at, event))
        return track

    def _met_by(self, event: HiccupMet) -> Track | None:
        """By id, else by name, even one that never moves; a list's hiccup has neither."""
        ref = event.machine_id or event.name
        if not ref:
            return None
        return self._known.get(ref) or self._known.get(event.name) or self._new(ref)

    def _plan(self, event: Planned) -> None:
        for ref, group, verb in event.actions:
            track = self._known.get(ref) or self._new(ref)
            self._count(track, -1)
            track.group, track.verb = group, verb
            self._count(track, 1)

    def _pass(self, at: float, event: PassStarted | PassFinished | BackingOff) -> None:
        match event:
            case PassStarted():
                self.resting = None
                self.passes.append(Lap(at, event))
            case PassFinished() if self.passes and self.passes[-1].outcome is None:
                self.passes[-1].end_s, self.passes[-1].outcome = at, event
            case BackingOff():
                self.resting = (at, event)
