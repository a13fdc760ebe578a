"""Progress for people, and for programs that read along: events in, lines out.

On a terminal the picture is `deploy.readers.live`'s; elsewhere a line per change worth
a line, without control characters, and in GitHub Actions groups and
annotations. With `--output json` it is one event per line, the report the last.
A run's warnings, and the closing report of a run that is not done, go to
standard error; all else to standard output. Nothing here can fail a deploy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, Self, TextIO

from deploy.events import (
    Event,
    HiccupMet,
    MachineMoved,
    Noticed,
    PassFinished,
    PassStarted,
    Phase,
    to_json,
    to_line,
)
from deploy.readers.once import Once
from deploy.readers.report import Report, report_of
from deploy.readers.sentences import (
    hiccup_line,
    move_line,
    notice_line,
    pass_result,
    pass_title,
    story_lines,
)
from deploy.readers.timeline import AT_REST, KIND, SETTLED, Timeline, Track
from deploy.readers.voices import GithubVoice, Lines, PlainVoice, Voice, is_terminal


class Progress(Protocol):
    """A reader of events that says its last words when its `with` ends.

    `report` is what it has heard so far: after the run, the record for `--report`.
    """

    @property
    def report(self) -> Report: ...
    def __call__(self, at: float, event: Event) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def open_progress(
    output: str,
    out: TextIO,
    err: TextIO,
    environ: Mapping[str, str],
    now: Callable[[], float],
) -> Progress:
    """The progress that fits: `output` is text or json, `now` the clock that stamps the events."""
    if output == "json":
        return JsonLines(out)
    can_redraw = is_terminal(out) and environ.get("TERM", "dumb") not in ("dumb", "unknown", "")
    if can_redraw:
        from deploy.readers.live import LiveProgress

        return LiveProgress(out, err, no_color=bool(environ.get("NO_COLOR")), now=now)
    if environ.get("GITHUB_ACTIONS") == "true":
        return PlainProgress(GithubVoice(Lines(out)))
    return PlainProgress(PlainVoice(Lines(out), Lines(err)))


class JsonLines:
    """One event per line as it happens, and the report as the last line."""

    def __init__(self, out: TextIO) -> None:
        self._lines = Lines(out)
        self._timeline = Timeline()

    def __call__(self, at: float, event: Event) -> None:
        self._timeline.add(at, event)
        self._lines.write(to_line(to_json(at, event)))

    @property
    def report(self) -> Report:
        return report_of(self._timeline)

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timeline.started is not None:
            self._lines.write(self.report.to_line())


class PlainProgress:
    """Where no terminal is: a line when a machine begins and one when it comes to rest."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._timeline = Timeline()
        self._once = Once(tells_hiccups=True)
        self._told: dict[int, MachineMoved] = {}
        self._held: tuple[Track, str] | None = None

    def __call__(self, at: float, event: Event) -> None:
        track = self._timeline.add(at, event)
        self._say_held(but=track if isinstance(event, HiccupMet) else None)
        for each in self._once.take(event):
            self._tell(track, each)

    def _tell(self, track: Track | None, event: Event) -> None:
        match event:
            case MachineMoved() if track:
                self._move(track, event)
            case HiccupMet():
                where = track.label if track else event.machine_id or "the platform"
                self._voice.say(f"  {hiccup_line(where, event)}")
            case PassStarted():
                self._voice.begin(pass_title(event))
            case PassFinished():
                self._voice.say(pass_result(event))
                self._voice.end()
            case Noticed():
                self._voice.warn(notice_line(event))
            case _:
                for line in story_lines(event):
                    self._voice.say(line)

    @property
    def report(self) -> Report:
        return report_of(self._timeline)

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._say_held()
        for each in self._once.rest():
            self._tell(None, each)
        self._voice.end()
        if self._timeline.finished is not None:
            self._voice.close(self.report)

    def _move(self, track: Track, event: MachineMoved) -> None:
        """Phases between the first and the rest are for the journal, and so is queueing."""
        before = self._told.get(id(track))
        is_at_rest = KIND[event.phase] in AT_REST
        goes_on = before is not None and KIND[before.phase] not in AT_REST
        if event.phase is Phase.QUEUED or (goes_on and not is_at_rest):
            return
        if before is not None and (before.phase, before.detail) == (event.phase, event.detail):
            return
        self._told[id(track)] = event
        line = f"  {self._count(event)}{move_line(track, event, self._timeline.end_s)}"
        if event.phase is Phase.WAITING:
            self._held = (track, line)
        else:
            self._voice.say(line)

    def _count(self, event: MachineMoved) -> str:
        """`[3/40] ` before a machine that is settled."""
        if KIND[event.phase] not in SETTLED:
            return ""
        settled, total = self._timeline.tally
        return f"[{settled}/{total}] "

    def _say_held(self, but: Track | None = None) -> None:
        """A machine waits because of a hiccup, mostly: told next, that says it all."""
        held, self._held = self._held, None
        if held is not None and held[0] is not but:
            self._voice.say(held[1])
