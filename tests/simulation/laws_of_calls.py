"""The laws that are broken or kept on the wire: who writes what, holding what, knowing what."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from deploy.events import HiccupMet, MachineMoved, Noticed, PassStarted, Phase
from tests.worlds.simulated.faults import CHANGES, GUARDED, LEASES, Answer
from tests.worlds.simulated.runtime import EPOCH_S
from tests.worlds.simulated.transport import Call
from tests.worlds.simulated.world import Run, Story

_SAFETY_S = 3.0
_AT_ONCE = 64
_GROUPS = ("web", "worker")


def of_run(story: Story, run: Run) -> list[Call]:
    return [call for call in story.calls if call.run == run.name]


def has_written(story: Story, run: Run) -> bool:
    """Whether the run changed a machine."""
    return any(call.operation in CHANGES and call.was_carried_out for call in of_run(story, run))


def was_shown_the_past(story: Story, run: Run) -> bool:
    """The legacy path asks for one list at the end; where that is old, so is the report."""
    lists = [c for c in of_run(story, run) if c.operation == "list"]
    last = lists[-1].fault if lists else None
    return not run.retries and last is not None and last.answer in (Answer.STALE, Answer.EMPTY)


def no_write_twice_in_a_pass(story: Story, run: Run, starts: list[float]) -> Iterator[str]:
    """Within a pass a write is tried once for each machine.

    But a new machine that runs a check may not be known yet when it is to be removed.
    """
    tried: Counter[tuple[int, str, str]] = Counter()
    for call in of_run(story, run):
        is_unknown = call.operation == "destroy" and call.heard == "404" and is_about_check(call)
        if call.operation not in CHANGES or is_unknown:
            continue
        key = (bisect_right(starts, call.sent_s), call.operation, call.key)
        tried[key] += 1
        if tried[key] == 2:
            yield f"again in the same pass: {call.line()}"


def leases_are_held(story: Story) -> Iterator[str]:
    """On every machine that was there, before the first write; asked for once. An arbiter comes
    first, the same one for every run of the app, then all others at once, within a bound."""
    for run in story.runs:
        calls = of_run(story, run)
        first = next((call for call in calls if call.operation in CHANGES | {"mark"}), None)
        if first is not None:
            yield from _not_held(story, calls, first)
        yield from _without_arbiter(calls)
        yield from _taken_twice(run, calls)


def _not_held(story: Story, calls: list[Call], first: Call) -> Iterator[str]:
    """Judged for an app that stands still meanwhile: rivals and deaths have their own checks."""
    if len(story.runs) > 1:
        return
    held = {
        call.machine
        for call in calls
        if call.operation in ("acquire", "refresh")
        and call.is_good
        and call.heard_s is not None
        and call.heard_s <= first.sent_s
    }
    for id_, machine in story.before.items():
        if machine.group in _GROUPS and id_ not in held | story.lost.keys():
            yield f"{machine.name} ({id_}) is not leased at the first write: {first.line()}"


def _without_arbiter(calls: list[Call]) -> Iterator[str]:
    """Who holds nothing asks for one lease alone: the lowest in a list of the app that it saw.

    One that it has asked for already may be gone: then the next is it. What it made and read
    by itself counts although no list shows it yet. For what it has just made it may ask while
    the arbiter's lease has run out: nobody else asks for that first.
    """
    held: dict[str, float] = {}
    made = _all_made(calls)
    asked: list[Call] = []
    lists: list[set[str]] = []
    for _, is_answer, call in sorted(_moments(calls), key=lambda moment: moment[0]):
        if is_answer:
            if call.operation == "list" and call.is_good:
                lists.append(_leasable(call))
            if call.operation == "read" and call.is_good and lists:
                lists.append(lists[-1] | {call.machine})
            if call.operation in ("acquire", "refresh") and call.is_good:
                held[call.machine] = call.sent_s + _granted_s(call)
        elif call.operation in ("release", "destroy"):
            held.pop(call.machine, None)
        elif call.operation == "acquire":
            at_once = sum(1 for each in asked if each.heard_s is None or each.heard_s > call.sent_s)
            is_held = any(until > call.sent_s for until in held.values())
            if not is_held and call.machine not in made:
                yield from _not_the_arbiter(call, at_once, {each.machine for each in asked}, lists)
            if at_once >= _AT_ONCE:
                yield f"more than {_AT_ONCE} leases asked for at once: {call.line()}"
            asked.append(call)


def _all_made(calls: list[Call]) -> set[str]:
    return {_made(call) for call in calls if call.operation == "create" and call.is_good}


def _not_the_arbiter(
    call: Call, at_once: int, asked: set[str], lists: list[set[str]]
) -> Iterator[str]:
    arbiters = {min(ids - asked | {call.machine}) for ids in lists if call.machine in ids}
    if at_once:
        yield f"asked for beside another before an arbiter is held: {call.line()}"
    elif all(lists) and call.machine not in arbiters | asked:
        yield f"not the arbiter: {call.line()}"


def _leasable(call: Call) -> set[str]:
    """The machines in a list that are to stay, and whose hosts answer; none of a large one."""
    return {
        machine["id"]
        for machine in msgspec.json.decode(call.listed or b"[]")
        if machine.get("host_status") != "unreachable"
        and machine["state"] != "destroying"
        and (machine["config"] or {}).get("metadata", {}).get("fly_process_group") in _GROUPS
    }


def _taken_twice(run: Run, calls: list[Call]) -> Iterator[str]:
    """Asked for anew while the run has it in hand."""
    until: dict[str, float] = {}
    for _, is_answer, call in sorted(_moments(calls), key=lambda moment: moment[0]):
        if is_answer:
            if call.operation in ("acquire", "refresh") and call.is_good:
                until[call.machine] = call.sent_s + _granted_s(call)
        elif call.operation == "acquire" and until.get(call.machine, 0.0) > call.sent_s + _SAFETY_S:
            lost = any(
                c.operation == "refresh"
                and c.machine == call.machine
                and not c.is_good
                and (c.heard_s or 0) <= call.sent_s
                for c in calls
            )
            if not lost:
                yield f"{run.name} takes a lease that it holds: {call.line()}"
        elif call.operation == "release" or (call.operation == "destroy" and not call.surely_not):
            until.pop(call.machine, None)


def no_lease_is_lost_that_nobody_took(story: Story) -> Iterator[str]:
    """However slow the client is. For a story without faults and rivals."""
    for run in story.runs:
        for _, event in run.events:
            if isinstance(event, Noticed | HiccupMet) and "lease" in event.message:
                yield f"{run.name}: {event.message}"


def leases_are_released(story: Story) -> Iterator[str]:
    """On every way out; what could not be given back is told."""
    for run in story.runs:
        if run.died or run.finished is None:
            continue
        told = " ".join(event.message for _, event in run.events if isinstance(event, Noticed))
        known = {
            call.machine or _made(call)
            for call in of_run(story, run)
            if call.operation in ("acquire", "refresh", "create") and call.is_good
        }
        known -= {
            call.machine
            for call in of_run(story, run)
            if call.operation == "release" and call.heard == "404"
        }
        for id_, machine in run.after.items():
            has_name = "/" in machine.lease  # not so a lease that came with the machine
            of_new = id_ not in story.before and not has_name
            ours = of_new or machine.lease.endswith(f"/{run.name}")
            if machine.lease and ours and id_ in known and id_ not in told:
                yield f"{run.name} leaves {machine.name} ({id_}) leased as {machine.lease}"


def every_write_is_owned(story: Story) -> Iterator[str]:
    """Each write carries the nonce of a lease that this run holds for long enough, and the
    version that it replaces. A machine whose host is lost grants no lease, and may be removed."""
    for run in story.runs:
        nonces: dict[str, set[str]] = {}
        until: dict[str, float] = {}
        since: dict[str, float] = {}  # when the lease in hand was granted, or kept
        in_hand: dict[str, str] = {}  # its nonce
        for call in sorted(_moments(of_run(story, run)), key=lambda moment: moment[0]):
            _, is_answer, each = call
            if is_answer:
                _learn(each, nonces, until, since, in_hand)
            elif each.operation in GUARDED and not _needs_no_lease(story, each):
                yield from _not_owned(each, nonces, until)


def _needs_no_lease(story: Story, call: Call) -> bool:
    """Of a machine whose host is lost, or that was made to try another and is nobody else's."""
    is_free = call.machine in story.lost or is_about_check(call)
    return call.operation == "destroy" and not call.nonce and is_free


def is_about_check(call: Call) -> bool:
    """Whether the call is about a machine that tries another: no part of the app, never leased."""
    return call.spot.role == "machine check"


def _moments(calls: list[Call]) -> Iterator[tuple[tuple[float, int], bool, Call]]:
    """Every sending and every hearing, in the order in which they happened."""
    for call in calls:
        yield (call.sent_s, call.number), False, call
        if call.heard_s is not None:
            yield (call.heard_s, -1), True, call


def _learn(
    call: Call,
    nonces: dict[str, set[str]],
    until: dict[str, float],
    since: dict[str, float],
    in_hand: dict[str, str],
) -> None:
    is_gone = call.operation in ("refresh", "read lease") and call.heard == "404"
    when_s = call.sent_s if call.applied_s is None else call.applied_s
    is_of_this = since.get(call.machine, 0.0) <= when_s  # not of the lease before it
    is_of_old = call.operation == "refresh" and call.nonce != in_hand.get(call.machine, call.nonce)
    if is_of_this and not is_of_old and (is_gone or _shows_another(call, nonces)):
        until[call.machine] = 0.0  # told plainly that it is lost; a refusal alone may be anything
    if not call.is_good:
        return
    if call.operation in ("acquire", "refresh"):
        answer = call.answer
        if isinstance(answer, dict) and "data" in answer:
            nonces.setdefault(call.machine, set()).add(answer["data"]["nonce"])
            if is_of_this:
                in_hand[call.machine] = answer["data"]["nonce"]
                since[call.machine] = when_s
                until[call.machine] = call.sent_s + _usable_s(_granted_s(call))
    elif call.operation == "create" and isinstance(call.answer, dict):
        id_ = _made(call)
        nonces.setdefault(id_, set()).add(str(call.answer.get("nonce", "")))
        until[id_] = call.sent_s + _usable_s(float(call.json.get("lease_ttl", 0)))


def _shows_another(call: Call, nonces: dict[str, set[str]]) -> bool:
    is_read = call.operation == "read lease" and call.is_good
    return is_read and call.answer["data"]["nonce"] not in nonces.get(call.machine, set())


def _not_owned(call: Call, nonces: dict[str, set[str]], until: dict[str, float]) -> Iterator[str]:
    if not call.nonce:
        yield f"a write without a nonce: {call.line()}"
    elif call.nonce not in nonces.get(call.machine, set()):
        yield f"a write with a nonce that is not ours: {call.line()}"
    elif (late_s := call.sent_s - until.get(call.machine, 0.0)) > 0:
        yield f"a write {late_s:.1f} s after its lease could be relied on: {call.line()}"
    if call.operation == "update" and not call.json.get("current_version"):
        yield f"an update that does not say what it replaces: {call.line()}"


def no_write_without_knowledge(story: Story) -> Iterator[str]:
    """After a write whose outcome is unknown, a read comes before the next write."""
    for run in story.runs:
        unknown: dict[tuple[bool, str], float] = {}
        moments = sorted(_moments(of_run(story, run)), key=lambda moment: moment[0])
        for _, is_answer, call in moments:
            leases = call.operation in LEASES | {"read lease"}
            if is_answer:
                _note_answer(call, leases, unknown)
            elif call.operation in CHANGES and (False, call.key) in unknown:
                yield f"written to after an unknown outcome: {call.line()}"
            elif call.operation == "acquire" and (True, call.machine) in unknown:
                yield f"asked for again after an unknown outcome: {call.line()}"


def _note_answer(call: Call, leases: bool, unknown: dict[tuple[bool, str], float]) -> None:
    heard_s = call.heard_s or 0.0
    if call.operation in CHANGES | {"acquire"}:
        if not call.is_good and not call.surely_not:
            unknown[leases, call.key] = heard_s
        return
    told = call.is_good or call.heard == "404"
    if not told:
        return
    if call.operation == "list":
        for key in [key for key, since in unknown.items() if since <= call.sent_s]:
            if not key[0] or call.run:
                del unknown[key]
    elif call.operation in ("read", "read lease"):
        since = unknown.get((leases, call.machine))
        if since is not None and since <= call.sent_s:
            del unknown[leases, call.machine]


def legacy_begins_nothing_after_a_failure(story: Story) -> Iterator[str]:
    """On the legacy path nothing begins after the first write or wait that fails.

    Reads and leases are asked again on both paths alike: neither changes a
    machine. A machine that is made in two calls, a create and an update, has
    begun with the first, be it that the name was taken and the machine is ours.
    The machine of a check is removed when the run is over.
    """
    for run in story.runs:
        if run.retries:
            continue
        calls = of_run(story, run)
        failed_s = min((at for at, _ in _failures(run, calls)), default=float("inf"))
        creates = [c for c in calls if c.operation == "create" and c.sent_s <= failed_s]
        named = {c.name for c in creates}
        begun = {machine.id for machine in run.after.values() if machine.name in named}
        begun |= {_made(c) for c in creates}
        for call in calls:
            goes_on = call.operation == "update" and call.machine in begun
            goes_on |= call.operation == "destroy" and is_about_check(call)
            if call.operation in CHANGES and call.sent_s > failed_s and not goes_on:
                yield f"begun after the first failure at {failed_s:.3f}: {call.line()}"
        passes = sum(1 for _, event in run.events if isinstance(event, PassStarted))
        if passes > 1:
            yield f"{passes} passes on the legacy path"


def _failures(run: Run, calls: Sequence[Call]) -> Iterator[tuple[float, str]]:
    """When a write failed, or a machine was said not to get where it was sent.

    To remove the machine of a check is to tidy up: where that fails, it is said, no more.
    """
    for call in calls:
        is_write = call.operation in CHANGES or call.operation == "mark"
        is_write &= not (call.operation == "destroy" and is_about_check(call))
        if is_write and call.heard_s is not None and not call.is_good:
            yield call.heard_s, call.operation
    for at, event in run.events:
        if isinstance(event, HiccupMet) and event.operation == "wait":
            yield at, event.message
        if isinstance(event, MachineMoved) and event.phase is Phase.FAILED:
            yield at, event.detail


def _made(call: Call) -> str:
    return str(call.answer.get("id", "")) if isinstance(call.answer, dict) else ""


def _granted_s(call: Call) -> float:
    """The time to live that was asked for, or the shorter one that a client can work out.

    `Date` is the last whole second, so that what is left may be a second less than it says.
    """
    asked_s = float(call.json.get("ttl", 0))
    lease = call.answer.get("data", {}) if isinstance(call.answer, dict) else {}
    expires_s = lease.get("expires_at", math.inf) - EPOCH_S
    granted_s = expires_s - math.floor(call.applied_s or 0.0)
    return asked_s if granted_s >= asked_s else max(0.0, granted_s - 1.0)


def _usable_s(granted_s: float) -> float:
    """For how long writes may leave under it: of a very short one most of the time."""
    return granted_s - min(_SAFETY_S, granted_s / 4)
