"""Events as sentences: one line each, the same words on a terminal and in a log. Prints nothing."""

from __future__ import annotations

from deploy.events import (
    BackingOff,
    Event,
    GoingBack,
    HiccupMet,
    LeasesTaken,
    MachineMoved,
    Noticed,
    PassFinished,
    PassStarted,
    PathChosen,
    Planned,
    RunStarted,
)
from deploy.readers.timeline import AT_REST, KIND, Kind, Track, hiccup_words
from deploy.wording import count, printable, seconds, short_image

DETAIL_LENGTH = 200
_AT_HOME = "the bundled flags.yaml"  # a decision from anywhere else says from where


def story_lines(event: Event) -> list[str]:
    """The lines of an event that is about the whole run; the closing report is not one of them."""
    match event:
        case RunStarted():
            of = f" of {short_image(event.image)}" if event.image else ""
            how = f" ({printable(event.strategy)})" if event.strategy else ""
            ids = f"deploy {printable(event.deploy_id)}, run {printable(event.run_id)}"
            return [f"{printable(event.app)}: {printable(event.command)}{of}{how}, {ids}"]
        case PathChosen():
            source = event.decision.source if event.decision else ""
            told = [] if source in ("", _AT_HOME) else [f"flags: {printable(source)}"]
            return [printable(event.sentence), *told]
        case LeasesTaken():
            return [leases_line(event)]
        case Planned():
            return [plan_line(event)]
        case BackingOff():
            return [f"waiting {seconds(event.delay_s)} before the next pass"]
        case GoingBack():
            return [f"going back: {printable(event.reason, DETAIL_LENGTH)}"]
        case _:
            return []


def leases_line(event: LeasesTaken) -> str:
    return f"taking leases {event.taken}/{event.of}"


def plan_line(event: Planned) -> str:
    """`plan: 4 update, 1 create; 2 machines unchanged`."""
    verbs: dict[str, int] = {}
    for _, _, verb in event.actions:
        verbs[printable(verb)] = verbs.get(printable(verb), 0) + 1
    todo = ", ".join(f"{many} {verb}" for verb, many in verbs.items()) or "nothing to do"
    return f"plan: {todo}; {count(event.unchanged, 'machine')} unchanged"


def pass_title(event: PassStarted) -> str:
    """`pass 2 of 6`, `pass 1 of 6, going back`."""
    back = ", going back" if event.direction == "back" else ""
    return f"pass {event.number} of {event.of}{back}"


def pass_result(event: PassFinished) -> str:
    back = " back" if event.direction == "back" else ""
    why = f": {printable(event.reason, DETAIL_LENGTH)}" if event.reason else ""
    return f"pass {event.number}{back} ended with {event.done} done, {event.left} left{why}"


def hiccup_line(where: str, event: HiccupMet) -> str:
    settled = "" if event.outcome_known else " (whether it was carried out is unknown)"
    what = printable(hiccup_words(event), DETAIL_LENGTH)
    return f"{printable(where)}: hiccup {event.number}: {what}{settled}"


def move_line(track: Track, event: MachineMoved, now_s: float) -> str:
    """`web-1: done (4.1 s)`, `web-2: failed: exit code 1 (2.0 s)`."""
    detail = f": {printable(event.detail, DETAIL_LENGTH)}" if event.detail else ""
    kind = KIND[event.phase]
    is_over = kind in AT_REST and kind is not Kind.IDLE
    took = f" ({seconds(track.duration_s(now_s))})" if is_over else ""
    return f"{printable(track.label)}: {event.phase}{detail}{took}"


def notice_line(event: Noticed) -> str:
    hint = f" ({printable(event.hint)})" if event.hint else ""
    return f"{printable(event.message)}{hint}"
