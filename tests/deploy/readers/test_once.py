from __future__ import annotations

from deploy.events import (
    BackingOff,
    Event,
    HiccupMet,
    Noticed,
    PassFinished,
    Result,
    RunFinished,
)
from deploy.readers.once import Once

REASON = "list (401): unauthorized"
ENDED = PassFinished(number=1, done=0, left=1, reason=REASON)
HICCUP = HiccupMet(operation="list", machine_id="", message=REASON, outcome_known=True, number=1)


def told(*events: Event, tells_hiccups: bool = True) -> list[Event]:
    once = Once(tells_hiccups=tells_hiccups)
    return [each for event in events for each in once.take(event)] + once.rest()


def test_a_refusal_is_told_once() -> None:
    last_look = Noticed(message=f"the last look at the app failed: {REASON}")
    end = RunFinished(result=Result.REFUSED, exit_code=4, message=f"{REASON}; all is as before")
    events = told(ENDED, last_look, end)
    assert sum(REASON in str(event) for event in events) == 1
    assert events[-1] == end
    assert isinstance(events[0], PassFinished)


def test_a_refusal_is_told_once_whatever_the_ids_of_its_requests() -> None:
    first, second = (f"{REASON} [fly-request-id 01M8-{number}]" for number in (1, 2))
    ended = PassFinished(number=1, done=0, left=1, reason=first)
    last_look = Noticed(message=f"the last look at the app failed: {second}")
    end = RunFinished(result=Result.REFUSED, exit_code=4, message=f"{first}; all is as before")
    assert sum(REASON in str(event) for event in told(ended, last_look, end)) == 1


def test_a_reason_that_nothing_else_tells_is_kept() -> None:
    pause = BackingOff(delay_s=1.0, number=2)
    other = Noticed(message="another thing")
    assert told(ENDED, other, pause) == [ENDED, other, pause]
    assert told(ENDED) == [ENDED]


def test_a_hiccup_that_was_told_is_not_told_again_by_the_pass() -> None:
    *_, ended = told(HICCUP, ENDED)
    assert isinstance(ended, PassFinished)
    assert ended.reason == ""
    assert told(HICCUP, ENDED, tells_hiccups=False)[-1] == ENDED
