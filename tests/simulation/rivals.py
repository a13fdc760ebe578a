"""Two deploys of one app at once: each is judged by the app as it was when its turn came."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from deploy.api.machine import Machine
from deploy.events import Result
from deploy.plan.stamps import is_made_by
from tests.simulation.laws import broken_laws, every_hint_comes_true, managed
from tests.simulation.laws_of_calls import has_written, of_run
from tests.worlds.simulated.effects import REVERTED_AFTER_S
from tests.worlds.simulated.faults import CHANGES
from tests.worlds.simulated.transport import Call
from tests.worlds.simulated.world import Run, Snapshot, Story

_LEASED = 5  # the exit code of whoever finds the app leased
_BY_OTHERS = ("409 leased", "lease stolen")  # faults that make it look leased by a third


def broken_by_rivals(story: Story) -> list[str]:
    """The laws that two runs break, each for itself and between them."""
    found = list(_unfair(story))
    writers = [run for run in story.runs if _had_a_turn(story, run)]
    if len(writers) < 2:
        story.runs.sort(key=writers.__contains__)  # the last is the one whose app it is
        return found + broken_laws(story)
    first, second = sorted(writers, key=lambda run: _changes(story, run)[0].sent_s)
    turn_s, ends_s = _turn_begins_s(story, second), _turn_ends_s(story, second)
    found += [
        f"rivals: {first.name} writes in another's turn: {call.line()}"
        for call in _changes(story, first)
        if call.machine in story.before and turn_s < call.sent_s < ends_s
    ]
    if first.ended_s > turn_s:
        return found  # while it gave its last lease back: nobody saw the app between the turns
    between = second.before if first.died else first.after
    if not first.died:  # who booted, or served, when the first was over may not any more
        between = _serving_at(story, _looked_s(story, second), between)
    late = _born_late(story, first, second) if first.died else set()
    after = _without(late, story.after)
    told = {each.machine_id for each in second.finished.machines} if second.finished else set()
    second = replace(second, after=_without(late - told, second.after))
    turns = ((first, story.before, first.after), (second, between, after))
    for run, before, after in turns:
        calls = of_run(story, run)
        turn = replace(story, runs=[run], calls=calls, before=before, after=after, advised=[])
        found += [f"{run.name}: {each}" for each in broken_laws(turn)]
    return found + list(every_hint_comes_true(story, judges_app=False))


def _without(ids: set[str], machines: Mapping[str, Snapshot]) -> dict[str, Snapshot]:
    return {id_: machine for id_, machine in machines.items() if id_ not in ids}


def _born_late(story: Story, dead: Run, second: Run) -> set[str]:
    """What a create of the dead run made after the second had looked, and that one left alone.

    No lease keeps a create away, and whoever is undone owes nothing to what others made.
    """
    if second.finished is None or second.finished.exit_code == 0:
        return set()
    return {
        id_
        for id_, one in story.after.items()
        if id_ not in second.before
        and is_made_by(
            Machine(id=id_, state=one.state, name=one.name, config=one.config),
            dead.release.deploy_id,
        )
    }


def broken_beside_another(story: Story) -> list[str]:
    """The laws that our run breaks beside a deploy of another tool, which is bound by none.

    Where their turns are apart ours is judged by the app as it was in its own; where not, it
    may change nothing of what the other is at.
    """
    if taken_back := list(_taken_back(story)):
        return taken_back
    ours, theirs = story.run, story.others[0]
    alone = replace(story, calls=of_run(story, ours), advised=[])
    if not has_written(story, theirs):
        return broken_laws(alone)
    if not has_written(story, ours):
        return list(_is_over_and_not_done(ours))
    their_first, their_last = (_changes(story, theirs)[at].sent_s for at in (0, -1))
    if ours.ended_s < their_first:
        return broken_laws(replace(alone, after=ours.after))
    if _changes(story, ours)[0].sent_s > theirs.ended_s:
        return broken_laws(replace(alone, before=_as_looked_at(story, ours, theirs)))
    return [
        f"rivals: {ours.name} writes in another's turn: {call.line()}"
        for call in _changes(story, ours)
        if call.machine in story.before
        and call.was_carried_out
        and their_first < call.sent_s < their_last
    ]


def _as_looked_at(story: Story, run: Run, other: Run) -> dict[str, Snapshot]:
    """What the other left, serving as when this run looked last before its first change.

    Another tool does not wait for what it starts: that may have come up since, or the platform
    may have put it back.
    """
    looked_s = _looked_s(story, run)
    back = {
        call.machine
        for call in of_run(story, other)
        if _was_put_back(call) and (call.applied_s or math.inf) + REVERTED_AFTER_S <= looked_s
    }
    left = {id_: story.before[id_] if id_ in back else one for id_, one in other.after.items()}
    return _serving_at(story, looked_s, left)


def _looked_s(story: Story, run: Run) -> float:
    """When this run looked for the last time before its first change."""
    first_s = _turn_begins_s(story, run)
    looks = (c for c in of_run(story, run) if c.operation == "list" and c.is_good)
    return max((c.applied_s or 0.0 for c in looks if c.sent_s < first_s), default=first_s)


def _serving_at(
    story: Story, moment_s: float, machines: Mapping[str, Snapshot]
) -> dict[str, Snapshot]:
    serving = [ids for at_s, ids in story.serving if at_s <= moment_s][-1]
    return {id_: replace(machine, serves=id_ in serving) for id_, machine in machines.items()}


def broken_after_another(story: Story, *, goes_over: bool) -> list[str]:
    """The laws that our last run breaks after one that died and another tool that deployed since.

    A deploy `goes_over` both. Who goes on with the dead one and is shown that it was
    overtaken, removes what that one made at most.
    """
    ours, theirs = story.run, story.others[0]
    if goes_over:
        landed = {id_: one for id_, one in ours.before.items() if id_ not in theirs.after}
        left = _as_looked_at(story, ours, theirs) if has_written(story, ours) else theirs.after
        before = {**left, **landed}  # a create of the dead run, since then
        turn = replace(story, runs=[ours], calls=of_run(story, ours), before=before)
        hints = every_hint_comes_true(story, judges_app=False)
        return broken_laws(replace(turn, advised=[])) + list(hints)
    shown_s = _shown_s(story, ours, theirs)
    return [
        f"rivals: {ours.name} goes on with a deploy that another went over: {call.line()}"
        for call in _changes(story, ours)
        if call.sent_s >= shown_s
        and call.was_carried_out
        and (call.machine in story.before or call.operation != "destroy")
    ]


def _shown_s(story: Story, run: Run, other: Run) -> float:
    """When a list first told this run of the release of the other, which may be never."""
    told = [call.heard_s for call in of_run(story, run) if other.name.encode() in call.listed]
    return min((heard_s for heard_s in told if heard_s is not None), default=math.inf)


def _taken_back(story: Story) -> Iterator[str]:
    """What another tool has deployed since, no command that goes on with ours may undo."""
    images = {story.others[0].release.image}
    if {machine.image for machine in managed(story.after).values()} != images:
        return
    for advice, after in story.advised:
        if (
            advice.promise
            and {machine.image for machine in managed(after.after).values()} != images
        ):
            yield f"rivals: `{advice.command}` {advice.promise}, and another has deployed since"


def _is_over_and_not_done(run: Run) -> Iterator[str]:
    if run.finished is None:
        yield f"rivals: {run.name} raised {run.error or 'nothing, and did not end'}"
    elif run.finished.exit_code == 0:
        yield f"rivals: {run.name} is done, and has written nothing"


def _turn_begins_s(story: Story, run: Run) -> float:
    """With its mark, or its first change where there is nothing to mark; not with one that was
    refused, since its lease may have been lost, and the other's turn have come, before the next.
    """
    calls = [c for c in of_run(story, run) if c.operation in CHANGES | {"mark"}]
    return next(c.sent_s for c in calls if c.was_carried_out)


def _turn_ends_s(story: Story, run: Run) -> float:
    """With its last change; what it has deployed is never undone by one that began before it."""
    has_deployed = run.finished is not None and run.finished.exit_code == 0
    return math.inf if has_deployed else _changes(story, run)[-1].sent_s


def _unfair(story: Story) -> Iterator[str]:
    """Of two rivals one wins, and whoever loses leaves the app as it is."""
    lost = [run for run in story.runs if run.finished and run.finished.exit_code == _LEASED]
    for run in lost:
        is_undone = run.finished is not None and run.finished.result is Result.ROLLED_BACK
        touched = [
            c
            for c in _changes(story, run)
            if c.machine in story.before and not _has_started_nothing(run, c)
            if not _was_put_back(c)
        ]
        has_touched = any(call.was_carried_out for call in touched)
        if has_touched and not is_undone and not _was_overtaken(story, run):
            yield f"rivals: {run.name} lost, and has written"
    had_no_turn = [run for run in lost if not has_written(story, run)]
    if len(had_no_turn) == len(story.runs) and not any(map(_spoils_the_order, story.calls)):
        yield "rivals: both lost"


def _had_a_turn(story: Story, run: Run) -> bool:
    """Whether it changed a machine, or left its mark and cannot tell whether it did."""
    is_left = run.finished is not None and run.finished.result is Result.IN_BETWEEN
    marks = (c for c in of_run(story, run) if c.operation == "mark" and c.was_carried_out)
    return has_written(story, run) or (is_left and any(marks))


def _has_started_nothing(run: Run, call: Call) -> bool:
    """Whether it asked for a start of what cannot start: that leaves the app as it is."""
    ends = [run.before.get(call.machine), run.after.get(call.machine)]
    return call.operation == "start" and not any(end is None or end.serves for end in ends)


def _was_put_back(call: Call) -> bool:
    """Whether the platform itself has undone it, which leaves the app as it was."""
    return call.fault is not None and call.fault.effect.startswith("revert")


def _was_overtaken(story: Story, run: Run) -> bool:
    """Whether the other has written after it, which it can only when this one lost its leases."""
    last_s = _changes(story, run)[-1].sent_s
    others = [each for each in story.runs if each is not run]
    return any(call.sent_s > last_s for other in others for call in _changes(story, other))


def _spoils_the_order(call: Call) -> bool:
    """Leases are asked for in one order, so that two can never hold what the other lacks, unless
    one could not be had for another reason, or a third has it."""
    takes = call.operation in ("acquire", "refresh")
    has_failed = takes and not call.is_good and call.heard != "409"
    return has_failed or (call.fault is not None and call.fault.name in _BY_OTHERS)


def _changes(story: Story, run: Run) -> list[Call]:
    return [call for call in of_run(story, run) if call.operation in CHANGES]
