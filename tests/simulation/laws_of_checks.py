"""The law of machine checks: they run before a release is done, and leave no machine behind."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.events import Cause, Noticed, PassStarted, Result
from deploy.plan.stamps import INTENT
from tests.simulation.laws_of_calls import (
    has_written,
    is_about_check,
    of_run,
    was_shown_the_past,
)
from tests.worlds.simulated.faults import CHANGES
from tests.worlds.simulated.world import Run, Story

CHECK_GROUP = "fly_app_test_machine_command"
_APP = ("web", "worker")


def machine_checks_run_and_go(story: Story) -> Iterator[str]:
    """What is there after the last run, and is not named, is an orphan; nobody else is tried.

    A run that does not get the leases, or no further than to them, leaves what a dead one has
    left; whose last list is old cannot know. Who does what it advised removes that.
    """
    run = story.run
    finished = run.finished
    is_leased = finished is not None and finished.cause is Cause.LEASED
    has_failed = finished is not None and finished.exit_code != 0
    can_clean_up = has_written(story, run) or not has_failed
    can_clean_up &= not was_shown_the_past(story, run)
    if not run.died and not run.had_nothing_to_do and not is_leased and can_clean_up:
        yield from _left_over(story)
    for advice, after in story.advised:
        if advice.promise and after.run.finished is not None and not after.run.finished.exit_code:
            yield from _left_over(after)
    for each in story.runs:
        yield from _not_tried(story, each)


def _left_over(story: Story) -> Iterator[str]:
    named = " ".join(
        event.message for run in story.runs for _, event in run.events if isinstance(event, Noticed)
    )
    for machine in story.after.values():
        is_named = machine.id in named or machine.name in named
        if machine.group == CHECK_GROUP and not is_named:
            yield f"{machine.name} ({machine.id}) is left over and not named"


def _not_tried(story: Story, run: Run) -> Iterator[str]:
    made = [c for c in of_run(story, run) if c.operation == "create" and is_about_check(c)]
    word = story.scenario.machine_checks
    turns_s = [at for at, e in run.events if isinstance(e, PassStarted) and e.direction == "back"]
    late = [call for call in made if turns_s and call.sent_s > turns_s[0]]
    if made and (not word or story.scenario.strategy == "immediate"):
        yield f"{run.name} tries a machine that nobody asked it to: {made[0].line()}"
    if late:
        yield f"{run.name} tries a machine on its way back: {late[0].line()}"
    result = run.finished.result if run.finished is not None else None
    is_there = result in (Result.DONE, Result.UNCHANGED) and not run.goes_back
    if not word or not is_there or story.scenario.strategy == "immediate":
        return
    if word == "exit1":
        yield f"{run.name} is {result}, and its machine check fails"
    if len(story.runs) > 1 or not _has_to_try(story, run):
        return  # some of the groups may have passed before
    running = {m.group for m in run.after.values() if m.state == "started" and m.group in _APP}
    passed = {call.name for call in made if call.was_carried_out}
    if len(passed) < len(running):
        yield f"{run.name} is done, and tried {sorted(passed)} of groups {sorted(running)}"


def _has_to_try(story: Story, run: Run) -> bool:
    """Whether it has changed the app, or found a deploy that may not have come to its checks."""
    app = (machine for machine in story.before.values() if machine.group in _APP)
    is_unfinished = any(INTENT in machine.config["metadata"] for machine in app)
    brings = CHANGES - {"destroy"}  # what a finished deploy could not remove proves nothing
    changes = (call for call in of_run(story, run) if call.operation in brings)
    return is_unfinished or any(not is_about_check(call) for call in changes)
