"""The laws of a deploy as checkers: a `Story` goes in, what it breaks comes out.

They know the platform's own truth and the calls on the wire, and nothing of how
the orchestrator is made; `laws_of_calls` holds those that look at the wire.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from deploy.api.machine import TRANSIENT
from deploy.events import Cause, HiccupMet, Noticed, PassStarted, Planned, Result
from deploy.plan.release import Release, group_digest
from deploy.plan.stamps import DEPLOY, DIGEST, INTENT, ROLE, WAS, read_was
from tests.simulation import laws_of_calls as wire
from tests.simulation.laws_of_checks import CHECK_GROUP, machine_checks_run_and_go
from tests.worlds.simulated.effects import REVERTED_AFTER_S
from tests.worlds.simulated.faults import CHANGES, GUARDED, Answer
from tests.worlds.simulated.runtime import BEHAVIOURS
from tests.worlds.simulated.transport import Call
from tests.worlds.simulated.world import Run, Snapshot, Story

Law = Callable[[Story], Iterable[str]]

_OFF = ("created", "stopped", "suspended")
_AT_REST = (*_OFF, "started")
_DEPLOYED = ("web", "worker")
_UNSTEADY_WORDS = frozenset({"late", "flap", "crash"})  # healthy once, and not for long
_BROKEN_WORDS = frozenset({"bad", "exit1", "oom", "exitzero", "nopull", "noimage"})
_SILENT_WORDS = frozenset({"silent", "stuck", "slow"})  # which may be the platform's doing
_UNFOUND = "the deploy that this one took over may not be found"
_UNTOLD = "the platform does not tell the configuration"
_DRAIN_S = 2.0  # between the last look and the call that stops


def is_unsteady(image: str) -> bool:
    """Whether its app is healthy at one look, and not at the next."""
    return bool(_words(image) & _UNSTEADY_WORDS)


def broken_laws(story: Story) -> list[str]:
    """Everything that the story breaks, each with the law's name and the reason."""
    return [f"{name}: {why}" for name, law in LAWS.items() for why in law(story)]


# -- the end ---------------------------------------------------------------------------


def it_ends_by_itself(story: Story) -> Iterator[str]:
    """With a result, within its bounds, and silent afterwards; never with a traceback."""
    for run in story.runs:
        if run.died or run.had_nothing_to_do:
            continue
        if run.finished is None:
            yield f"{run.name} raised {run.error or 'nothing, and did not end'}"
        if run.ended_s - run.started_s > _bound_s(story, run):
            yield f"{run.name} took {run.ended_s - run.started_s:.0f} s"
        late = [call for call in story.calls if call.run == run.name and call.sent_s > run.ended_s]
        if late:
            yield f"{run.name} went on after its end: {late[0].line()}"


def it_converges_or_stands_still(story: Story) -> Iterator[str]:
    """Exit 0 is wholly new, any other but 3 and 130 wholly as before; a rollback's 0 too.

    What had gone before this run began has others in its place.
    """
    finished = story.run.finished
    if finished is None:
        return
    if finished.exit_code == 0 and story.run.goes_back:
        yield from (f"brought back, but {why}" for why in not_as_old(story))
    elif finished.exit_code == 0:
        yield from (f"exit 0, but {why}" for why in not_new(story))
    elif finished.exit_code not in (3, 130) and not wire.was_shown_the_past(story, story.run):
        is_short = managed(story.before).keys() - managed(story.run.before).keys()
        undone = not_as_old(story) if is_short else not_old(story)
        yield from (f"exit {finished.exit_code}, but {why}" for why in undone)


def what_was_left_is_found(story: Story) -> Iterator[str]:
    """Who finds nothing to finish has a finished app before it, or one that nothing was done to;
    who finds nothing to undo has it as it was. Unless the platform has put back who was marked.
    A run that was done leaves nothing to finish, also where it could not remove all that is old.
    """
    run = story.run
    marked = {call.machine for call in story.calls if call.operation == "mark"}
    if any(c.machine in marked and c.fault and "revert" in c.fault.effect for c in story.calls):
        return
    if not run.had_nothing_to_do or run.refusal or story.scenario.habits.versions_without_config:
        return
    changed = list(not_old(story))
    is_done = any(each.finished and each.finished.exit_code == 0 for each in story.runs[:-1])
    if changed and (run.is_rollback or (not is_done and any(not_new(story)))):
        yield f"{run.name} found nothing to do, but {changed[0]}"


def not_new(story: Story) -> Iterator[str]:
    """Why the app is not wholly on the release of the last run; leftovers that are named aside.

    A machine whose host is lost does not serve, and is named. For a cold one nobody waits, to
    see whether the platform puts it back.
    """
    finished = story.run.finished
    named = " ".join(finished.leftovers) if finished else ""
    told = finished.hint if finished else ""
    there = {
        id_: m
        for id_, m in managed(story.after).items()
        if id_ not in named and not (_is_canary(m) and _died_before_naming(story, id_))
    }
    was_cold = {id_ for id_, machine in story.before.items() if machine.state in _OFF}
    for group in story.run.release.groups:
        mine = [machine for machine in there.values() if machine.group == group.name]
        digest = group_digest(story.run.release.image, group)
        for machine in mine:
            metadata = machine.config["metadata"]
            is_old = machine.image != story.run.release.image or metadata.get(DIGEST) != digest
            is_cold = machine.id in was_cold
            if is_old and not (is_cold and _was_put_back_unseen(story, story.run, machine.id)):
                yield f"{machine.name} runs {machine.image} ({machine.state})"
            if _is_canary(machine):
                yield f"{machine.name} is left over and not named"
            if INTENT in metadata and story.run.finished is not None and not _unmarking(story):
                yield f"{machine.name} still carries the intent"
        before = _places(story.before, group.name)
        if before and len(mine) != len(before):
            yield f"{group.name} has {len(mine)} machines, not {len(before)}"
        served = sum(any(_is_to_serve(story, m) for m in place) for place in before)
        ran = sum(
            any(_is_to_serve(story, m) or m.state not in _OFF for m in place) for place in before
        )
        serves = sum(machine.serves for machine in mine)
        dead = sum(
            m.id in story.away and (m.id in told or _was_lost_unseen(story, m.id)) for m in mine
        )
        if is_unsteady(story.run.release.image):
            continue  # what becomes of such an app later is its own affair: see the law of done
        is_so = served - dead <= serves <= ran  # what was sick may be well now
        if before and not is_so and story.scenario.strategy != "immediate":
            states = Counter(machine.state for machine in mine)
            yield f"{group.name}: {serves} serve, not {served} ({dict(states)})"


def not_old(story: Story) -> Iterator[str]:
    """Why the app is not wholly as it was before; nobody makes the dead serve.

    Nor does anybody hear of what a dead run had sent, and that lands when all is over.
    """
    before, after = managed(story.before), managed(story.after)
    for extra in sorted(after.keys() - before.keys() - _denied_twice(story)):
        yield f"{after[extra].name} ({extra}) was not there before"
    for gone in sorted(before.keys() - after.keys()):
        yield f"{before[gone].name} ({gone}) is gone"
    for id_ in sorted(before.keys() & after.keys() - _hit_by_the_dead(story)):
        old, now = before[id_], after[id_]
        is_waited_for = old.state not in _OFF or not _was_put_back_unseen(story, story.run, id_)
        if own_config(old) != own_config(now) and is_waited_for:
            yield f"{now.name} has another configuration: {_differing(old, now)}"
        is_unwell = bool(_words(old.image) & (_UNSTEADY_WORDS | _BROKEN_WORDS))
        is_at_rest = old.state in _AT_REST and not is_unwell  # else nobody knows what becomes of it
        is_on_its_way = story.after is story.run.after and now.state in TRANSIENT  # of a rival's
        is_other = is_at_rest and not is_on_its_way and _rest(old) != _rest(now)
        is_sick = is_at_rest and old.serves and not now.serves and id_ not in story.away
        if old.cordoned != now.cordoned or is_other or is_sick:
            yield (
                f"{now.name} is {now.state}, cordoned={now.cordoned}, serves={now.serves};"
                f" it was {old.state}, cordoned={old.cordoned}, serves={old.serves}"
            )


def not_as_old(story: Story) -> Iterator[str]:
    """Why the app does not do what it did: on the same machines, or on others in their place.

    The dead may still be there beside who stands in for them.
    """
    before, after = managed(story.before), managed(story.after)
    names = " ".join(machine.name for machine in after.values())
    stood_in = {id_ for id_ in story.away if f"-{id_[-8:]}-" in names}
    after = {id_: machine for id_, machine in after.items() if id_ not in stood_in}
    if not before.keys() - after.keys():
        yield from not_old(story)
        return

    def does(machine: Snapshot) -> tuple[object, ...]:
        return machine.group, machine.image, str(machine.config["env"]), machine.serves

    was, now = (Counter(map(does, fleet.values())) for fleet in (before, after))
    if was != now:
        yield f"{dict(now - was)} stand where {dict(was - now)} stood"


def no_duplicates_no_orphans(story: Story) -> Iterator[str]:
    """Two machines never share a name or a place, and no machine is made that was not planned.

    A stand-in that its host would not take has a second one beside it for as long as the deploy
    is not done, or it is named as left over; so has one whose host was lost.
    """
    shown_the_past = wire.was_shown_the_past(story, story.run)
    there = managed(story.after)
    finished, unwanted = story.run.finished, _refused_by_their_hosts(story)
    if finished is not None and finished.exit_code == 0:
        unwanted = {id_ for id_ in unwanted if f"({id_})" in " ".join(finished.leftovers)}
    refused = story.lost.keys() | unwanted
    places = Counter(_place(m) for m in there.values() if m.id not in refused)
    for place, count in places.items():
        if count > 1:
            yield f"{count} machines are {place}"
    had = {machine.group for machine in managed(story.before).values()}
    for call in story.calls:
        group, _, rest = call.name.partition("-")
        if call.operation == "create" and group in had and rest.isdecimal():
            yield f"{call.name} is created in a group that has its machines: {call.line()}"
    if story.run.finished is not None and not shown_the_past:
        told = {machine.machine_id for machine in story.run.finished.machines}
        for id_ in sorted(managed(story.run.after).keys() - told - _denied_twice(story)):
            is_shown = not _is_others_and_unlisted(story, story.run.after[id_].name)
            if is_shown and any(m.state != "unknown" for m in story.run.finished.machines):
                yield f"{story.run.after[id_].name} ({id_}) is in nobody's report"


# -- the way there ---------------------------------------------------------------------


def the_app_stays_available(story: Story) -> Iterator[str]:
    """Never more than max_unavailable of a group's serving machines are out because of us."""
    if story.scenario.strategy == "immediate":
        return
    writes: dict[str, list[float]] = {}
    for call in story.calls:
        if call.operation not in GUARDED or not call.was_carried_out or call.applied_s is None:
            continue
        if not _was_seen_sick(story, call, writes.get(call.machine, ())):
            writes.setdefault(call.machine, []).append(call.applied_s)
    there = _seen_there(story)
    served = {id_ for id_, m in managed(story.before).items() if m.serves}
    for group in {story.before[id_].group for id_ in served}:
        of_group = {id_ for id_ in served if story.before[id_].group == group}
        places = _places({id_: story.before[id_] for id_ in of_group}, group)
        spare = len(of_group) - len(places)  # greens of an earlier deploy, beside their blues
        limit = _limit(story, len(of_group & there)) + spare
        yield from _too_many_out(story, group, of_group - story.lost.keys(), writes, limit)


def _seen_there(story: Story) -> set[str]:
    """Who was not lost when the first deploy began; a host may be found again before that."""
    marks = [call for call in story.calls if call.operation == "mark"]
    if not marks:
        return story.before.keys() - story.lost.keys()
    first = min(marks, key=lambda call: call.sent_s)
    looked_s = _last_look_s(story, first)
    lost = {id_ for id_, at in story.lost.items() if at <= first.sent_s}
    return story.before.keys() - (lost - _served_between(story, looked_s, looked_s))


def _too_many_out(
    story: Story, group: str, counted: set[str], writes: Mapping[str, list[float]], limit: int
) -> Iterator[str]:
    """One line at the first moment when more than `limit` are out."""
    last_served = dict.fromkeys(counted, -math.inf)
    ours: set[str] = set()
    instead: set[str] = set()  # new machines that serve, or that only their app took out again
    out_before: set[str] = set()
    began_s = min((run.started_s for run in story.runs), default=0.0)
    for at, serving in story.serving:
        ours -= serving
        out = counted - serving
        for id_ in out - out_before:
            if at >= began_s and any(last_served[id_] <= t <= at for t in writes.get(id_, ())):
                ours.add(id_)
        instead |= {id_ for id_ in serving if _stands_in(story, id_, group)}
        written = {
            id_
            for id_ in instead - serving
            if any(last_served[id_] < t <= at for t in writes.get(id_, ()))  # not what let it in
        }
        instead -= written
        for id_ in (counted | instead) & serving:
            last_served[id_] = at
        out_before = out
        if len(ours) - len(instead) > limit:
            yield (
                f"{group}: at {at:.3f} {sorted(ours)} are out, "
                f"{len(instead)} stand in for them, limit {limit}"
            )
            return


def _was_seen_sick(story: Story, call: Call, written: Iterable[float]) -> bool:
    """Whether the run's last list showed that its app had taken the machine out of service.

    Such an app may have let it in again for a moment when the write comes. One that has
    not served since the write before is out for that write.
    """
    if not is_unsteady(story.run.release.image):
        return False
    lists = [c for c in story.calls if c.run == call.run and c.operation == "list" and c.is_good]
    heard = [c for c in lists if c.listed and c.heard_s is not None and c.heard_s <= call.sent_s]
    if not heard:
        return False
    last = max(heard, key=lambda each: each.heard_s or 0.0)
    shown = {machine["id"]: machine for machine in msgspec.json.decode(last.listed)}
    checks = shown.get(call.machine, {}).get("checks") or []
    since_s = max((at for at in written if at < last.sent_s), default=math.inf)
    served = any(call.machine in ids for at, ids in story.serving if since_s < at <= last.sent_s)
    return served and any(check["status"] != "passing" for check in checks)


def _stands_in(story: Story, machine_id: str, group: str) -> bool:
    """Whether a machine that serves was made by a deploy and is no canary."""
    return (
        machine_id not in story.before
        and story.groups.get(machine_id) == group
        and machine_id not in story.canaries
    )


def unmanaged_things_are_untouched(story: Story) -> Iterator[str]:
    """Machines that are not ours get no write, keys that are not ours stay.

    What a run before has left of its machine checks goes with the next.
    """
    ours = managed(story.before).keys()
    for id_, machine in story.before.items():
        if id_ in ours or machine.group == CHECK_GROUP:
            continue
        if story.after and story.after.get(id_) != machine:
            yield f"{machine.name} was changed"
        touched = [c for c in story.calls if c.machine == id_ and c.method != "GET"]
        if touched:
            yield f"{machine.name} was written to: {touched[0].line()}"
    for id_ in ours & story.after.keys():
        old, now = story.before[id_].config, story.after[id_].config
        for key in ("x_unknown", "guest"):
            if old.get(key) != now.get(key):
                yield f"{story.after[id_].name}: {key} was {old.get(key)}, is {now.get(key)}"
        if old["metadata"].get("team") != now["metadata"].get("team"):
            yield f"{story.after[id_].name}: metadata team is gone"


def n_means_n(story: Story) -> Iterator[str]:
    """At most N+1 passes each way, and no write twice within one."""
    for run in story.runs:
        for direction in ("forward", "back"):
            passes = _passes(run, direction)
            if len(passes) > run.retries + 1:
                yield f"{run.name}: {len(passes)} passes {direction} with {run.retries} retries"
        if run.retries == 0 and _passes(run, "back") and not run.goes_back:
            yield f"{run.name}: the legacy path goes back"
        yield from wire.no_write_twice_in_a_pass(story, run, [at for at, _ in _starts(run)])


def an_app_failure_is_not_retried(story: Story) -> Iterator[str]:
    """On a quiet platform a broken app is tried once."""
    words = _words(story.run.release.image)
    # Out, too slow, over its limit, or a connection that the server has closed.
    unheard = ("ConnectError", "ReadTimeout", "429", "RemoteProtocolError")
    is_quiet = not story.lost and not any(
        c.fault or c.heard in unheard or (c.operation == "refresh" and not c.is_good)
        for c in story.calls
    )
    broken = (_BROKEN_WORDS | _UNSTEADY_WORDS) & BEHAVIOURS.keys()
    if not is_quiet or not (words & broken or story.scenario.machine_checks == "exit1"):
        return
    met = [event for _, event in story.run.events if isinstance(event, HiccupMet)]
    # A pass that met one of these ended before it saw the app.
    unseen = ("are listed, and the app has", "is free once machine")
    before = sum(any(words in event.message for words in unseen) for event in met)
    passes = len(_passes(story.run, "forward")) - before
    if passes > 1:
        yield f"{passes} passes for an app that is broken"


def done_means_serving(story: Story) -> Iterator[str]:
    """At the last look of a run that says done every place that served serves, or is named.

    `immediate` waits for nothing, and what two runs do to each other is judged elsewhere.
    """
    run = story.run
    finished = run.finished
    is_alone = len(story.runs) == 1 and not story.lost
    if not is_alone or finished is None or finished.exit_code != 0 or run.goes_back:
        return
    if story.scenario.strategy == "immediate" or "not serve" in finished.message:
        return
    for group in {machine.group for machine in managed(story.before).values()}:
        before = _places(story.before, group)
        served = sum(any(m.serves for m in place) for place in before)
        seen = _seen_to_serve(story, run)
        serves = sum(m.id in seen for m in managed(run.after).values() if m.group == group)
        if serves < served:
            yield f"{group}: {serves} serve at the end, not {served}, and nobody is told"


def _seen_to_serve(story: Story, run: Run) -> set[str]:
    """Who served when the last list was answered, or when it was read by itself after that.

    A list that lags shows of an app that flaps how it was then, as far as somebody had asked
    for anything; an old answer to a read, how it was at any time before.
    """
    flaps = is_unsteady(run.release.image)
    lag_s = 2 * story.scenario.habits.list_lags_s if flaps else 0.0
    looks = [
        (call.applied_s, call)
        for call in wire.of_run(story, run)
        if call.operation in ("list", "read") and call.is_good and call.applied_s is not None
    ]
    last_s = max((at for at, call in looks if call.operation == "list"), default=math.inf)
    seen: set[str] = set()
    for at, call in looks:
        if at >= last_s:
            is_list = call.operation == "list"
            served = _served_between(story, at - lag_s if is_list else at, at)
            seen |= served if is_list else served & {call.machine}
    if flaps:
        old = (call for call in wire.of_run(story, run) if _is_old(call))
        heard = [(call.heard_s or 0.0, call.machine) for call in old]
        began_s = min((at for at, _ in looks), default=0.0)
        seen |= {
            id_ for at, id_ in heard if at > last_s and id_ in _served_between(story, began_s, at)
        }
    return seen


def nothing_old_goes_while_the_new_is_sick(story: Story) -> Iterator[str]:
    """When a blue is stopped or destroyed, the last look before has shown every green serving.

    A green whose host is lost, or that is gone, says nothing about the app, nor does who was made
    for such a one afterwards; `immediate` looks at nobody's health. A list that lags shows of an
    app that flaps how it was then.
    """
    if story.scenario.strategy == "immediate":
        return
    turned_s = min(
        (at for run in story.runs for at, p in _starts(run) if p.direction == "back"),
        default=math.inf,
    )
    flaps = "flap" in _words(story.run.release.image)
    lag_s = 2 * story.scenario.habits.list_lags_s if flaps else 0.0
    blues = {id_: m.group for id_, m in managed(story.before).items() if m.serves}
    for call in story.calls:
        is_end = call.operation in ("stop", "destroy") and call.was_carried_out
        if not is_end or call.machine not in blues or call.sent_s >= turned_s:
            continue
        seen = _served_between(story, _last_look_s(story, call) - lag_s, call.sent_s)
        greens = {
            id_
            for id_ in story.after
            if _stands_in(story, id_, blues[call.machine])
            if id_ not in story.lost and not _was_made_for_a_lost_one_since(story, id_, call)
        }
        for green in sorted(greens - seen):
            yield f"{green} does not serve, and yet: {call.line()}"
        if greens - seen:
            return


def _was_made_for_a_lost_one_since(story: Story, machine_id: str, call: Call) -> bool:
    name = story.after[machine_id].name
    made = (c for c in story.calls if (c.operation, c.name) == ("create", name))
    is_later = all(c.sent_s > call.sent_s for c in made)
    return is_later and any(f"-{lost[-8:]}-" in name for lost in story.lost)


def every_hint_comes_true(story: Story, *, judges_app: bool = True) -> Iterator[str]:
    """What the last run advised ends with 0, and with the app as it was said to be.

    A release that cannot do well is not finished by anybody: where the run could not know
    that, what goes on with it ends with 1 and the app as before, or with 3 where `immediate`
    has taken away what there was, a dead host keeps it or no version tells it, or where it is
    everywhere and turns sick as the last look comes. Who goes back to what another deploy had
    left of such a release may end with 3. Nor could it know of a host that was lost after its
    last look. After two deploys at once nobody can tell what the app is to be like: then it is
    not judged. What a server tells of earlier versions no run has asked before it advises; where
    that is too little to go back by, the command says so and changes nothing. So it does where
    there was nothing to finish any more, and the list that the run was shown lagged. Where a
    rival went over it and could not put its mark back, and said so, it may not be found.
    """
    rivals = [run for run in story.runs if run is not story.run]
    if any(_UNFOUND in e.hint for r in rivals for _, e in r.events if isinstance(e, Noticed)):
        return
    for advice, after in story.advised:
        run = after.run
        code = run.finished.exit_code if run.finished is not None else 0
        exit_ = f"exit {code}, {run.finished.message}" if run.finished and code else ""
        went_wrong = exit_ or run.error or run.refusal
        if story.scenario.habits.versions_without_config and _UNTOLD in run.refusal:
            continue
        finishes = advice.promise.startswith("finishes")
        may_be_stuck = story.scenario.strategy == "immediate" or bool(story.lost)
        may_be_stuck |= story.scenario.habits.versions_without_config
        may_be_stuck |= is_unsteady(story.run.release.image)
        codes = (1, 3) if may_be_stuck else (1,)
        is_apps = run.finished is not None and run.finished.cause is Cause.APP
        is_excused = finishes and is_apps and code in codes and _could_not_know(story)
        is_excused |= not finishes and is_apps and code == 3 and _went_over_the_hopeless(story)
        amiss: Iterable[str] = ()
        if any(_was_lost_unseen(story, id_) for id_ in story.away):
            continue
        if _put_back_in_the_dark(story):
            continue  # with the mark that it carried
        if run.refusal and _was_over_unseen(story):
            continue
        if went_wrong and not is_excused:
            amiss = [went_wrong]
        elif judges_app and advice.promise and code != 3:
            amiss = not_new(after) if finishes and not is_excused else not_as_old(after)
        for each in amiss:
            yield f"`{advice.command}` {advice.promise or 'is advised'}, but {each}"


def _was_lost_unseen(story: Story, machine_id: str) -> bool:
    """Whether its host was lost after the moment that the run's last list shows, or it had none."""
    lists = [c for c in wire.of_run(story, story.run) if c.operation == "list" and c.is_good]
    shown_s = max((c.applied_s or 0.0 for c in lists), default=math.inf)
    reported = story.run.finished.machines if story.run.finished else ()
    if any(m.machine_id == machine_id and m.state == "unknown" for m in reported):
        return True
    return story.lost[machine_id] >= shown_s - story.scenario.habits.list_lags_s


def _could_not_know(story: Story) -> bool:
    """Whether the run that gave the advice was kept from seeing what its release is like."""
    run = max(story.runs, key=lambda each: each.ended_s)
    is_hopeless = _is_hopeless(run.release) or story.scenario.machine_checks == "exit1"
    return is_hopeless and run.finished is not None and run.finished.cause is not Cause.APP


def _went_over_the_hopeless(story: Story) -> bool:
    """Whether another deploy had left a release unfinished that cannot do well."""
    ours = story.run.release.deploy_id
    others = (run for run in story.runs if run.release.deploy_id != ours)
    return any(_is_hopeless(run.release) and _left_unfinished(run) for run in others)


def _left_unfinished(run: Run) -> bool:
    return run.died or (run.finished is not None and run.finished.result is Result.IN_BETWEEN)


def _is_hopeless(release: Release) -> bool:
    return bool(_words(release.image) & (_BROKEN_WORDS | _UNSTEADY_WORDS | _SILENT_WORDS))


def _was_over_unseen(story: Story) -> bool:
    """Whether a mark was off when the run began, which lists showed still, and it got no lease."""
    shown_s = story.run.started_s - story.scenario.habits.list_lags_s
    took = (c for c in wire.of_run(story, story.run) if c.operation == "acquire" and c.is_good)
    return not any(took) and any(
        call.operation == "unmark"
        and call.was_carried_out
        and shown_s <= (call.applied_s or 0.0) <= story.run.started_s
        for call in story.calls
    )


def _last_look_s(story: Story, call: Call) -> float:
    """When the list was asked for that a run knew of when it decided to make this call."""
    by_s = call.sent_s - (_DRAIN_S if call.operation == "stop" else 0.0)
    looks = (c for c in story.calls if c.run == call.run and c.operation == "list" and c.is_good)
    known = [c.sent_s for c in looks if c.heard_s is not None and c.heard_s <= by_s]
    return max(known, default=call.sent_s)


def _served_between(story: Story, begin_s: float, end_s: float) -> set[str]:
    """Who took traffic at any time in between."""
    found: set[str] = set()
    last: frozenset[str] = frozenset()
    for at, serving in story.serving:
        if at > end_s:
            break
        if at >= begin_s:
            found |= last | serving
        last = serving
    return found | last


def the_plan_is_told_before_it_is_carried_out(story: Story) -> Iterator[str]:
    """Once per run, and before its first change on the way forward, whichever pass makes it."""
    for run in story.runs:
        told = [at for at, event in run.events if isinstance(event, Planned)]
        if len(told) > 1:
            yield f"{run.name} told its plan {len(told)} times"
        turned_s = min((at for at, p in _starts(run) if p.direction == "back"), default=math.inf)
        by_s = min([turned_s, *told])
        changes = (c for c in wire.of_run(story, run) if c.operation in CHANGES)
        early = next((call for call in changes if call.sent_s < by_s), None)
        if early is not None:
            yield f"{run.name} had not told its plan before {early.line()}"


def the_report_tells_the_truth(story: Story) -> Iterator[str]:
    """About every machine: what it runs, and whether the run did anything.

    As far as it was shown: a list that lags, or a read that denies the machine, and another that
    is old, too, leave nothing to go by; nor do two reads that are old, which count for more than
    a list.
    """
    run = story.run
    if run.finished is None or wire.was_shown_the_past(story, run):
        return
    asked = [c for c in wire.of_run(story, run) if c.operation in ("read", "destroy")]
    last = {c.machine: c for c in asked}
    before_last = {c.machine: c for c in asked if c is not last[c.machine] and c.is_good}
    shown_old = {id_ for id_, c in last.items() if _is_old(c)}
    twice_old = {id_ for id_, c in before_last.items() if _is_old(c)} & shown_old
    denied = {call.machine for call in wire.of_run(story, run) if _is_lie(call)}
    unseen = shown_old if story.scenario.habits.list_lags_s else shown_old & denied | twice_old
    listed = {machine.machine_id: machine for machine in run.finished.machines}
    for id_, machine in sorted(managed(run.after).items()):
        said = listed.get(id_)
        if said is None or said.runs in ("unknown", "gone") or id_ in unseen:
            continue  # a machine that nobody names is an orphan, see there
        if _was_put_back_unseen(story, run, id_) or _was_changed_unseen(story, run, id_):
            continue
        is_so = _runs(story, run, machine)
        seen = said.state != "unknown"
        looks = (said.image, said.cordoned) == (machine.image, machine.cordoned)
        if said.runs not in is_so or (seen and not looks):
            yield (
                f"{machine.name}: {said.runs} {said.image} cordoned={said.cordoned} is said,"
                f" {' or '.join(is_so)} {machine.image} cordoned={machine.cordoned} is true"
            )
    for id_, said in listed.items():
        if said.runs == "gone" and id_ in run.after.keys() - denied:
            yield f"{said.name} is said to be gone and is {run.after[id_].state}"
        is_there = id_ in run.after or id_ in shown_old
        if said.runs not in ("gone", "unknown") and not is_there:
            yield f"{said.name} is said to run {said.runs} and is gone"
    if run.finished.result is Result.UNCHANGED and wire.has_written(story, run):
        yield "said to be unchanged, after writes"


LAWS: Mapping[str, Law] = {
    law.__name__.replace("_", " "): law
    for law in (
        it_ends_by_itself,
        it_converges_or_stands_still,
        what_was_left_is_found,
        no_duplicates_no_orphans,
        the_app_stays_available,
        unmanaged_things_are_untouched,
        n_means_n,
        an_app_failure_is_not_retried,
        done_means_serving,
        nothing_old_goes_while_the_new_is_sick,
        every_hint_comes_true,
        the_plan_is_told_before_it_is_carried_out,
        the_report_tells_the_truth,
        machine_checks_run_and_go,
        wire.leases_are_held,
        wire.leases_are_released,
        wire.every_write_is_owned,
        wire.no_write_without_knowledge,
        wire.legacy_begins_nothing_after_a_failure,
    )
}


# -- helpers ---------------------------------------------------------------------------


def _is_old(call: Call) -> bool:
    """Whether a read was answered with how the machine was before."""
    fault = call.fault if call.operation == "read" else None
    return fault is not None and fault.answer is Answer.STALE


def _words(image: str) -> set[str]:
    """The words of an image's name, which say how it behaves."""
    return set(re.split(r"[/:@.-]", image))


def managed(machines: Mapping[str, Snapshot]) -> dict[str, Snapshot]:
    """Those that are part of the app's deploys."""
    return {id_: m for id_, m in machines.items() if m.group in _DEPLOYED}


def own_config(machine: Snapshot) -> dict[str, Any]:
    """Its configuration without the mark of a deploy under way."""
    metadata = {k: v for k, v in machine.config["metadata"].items() if k != INTENT}
    return {k: v for k, v in machine.config.items() if v is not None} | {"metadata": metadata}


def _places(machines: Mapping[str, Snapshot], group: str) -> list[list[Snapshot]]:
    """The machines of a group by the place that they have in it: with a green of a deploy that
    was not finished stands the machine that it was to replace. A canary has none."""
    found: dict[str, list[Snapshot]] = {}
    for id_, machine in machines.items():
        if machine.group == group and not _is_canary(machine):
            _, _, replaced = _role(machine).rpartition(" ")[0].partition(" ")
            place = replaced if replaced in machines else id_
            found.setdefault(place, []).append(machine)
    return list(found.values())


def _refused_by_their_hosts(story: Story) -> set[str]:
    """Who was never updated after the host had said that there is no room for it."""
    refused: set[str] = set()
    for call in story.calls:
        if call.operation == "update" and call.was_carried_out:
            refused.discard(call.machine)
        elif call.operation == "update" and call.fault is not None:
            refused |= {call.machine} if call.fault.name == "409 host full" else set()
    return refused


def _is_to_serve(story: Story, machine: Snapshot) -> bool:
    """Whether it served, or did before a deploy that was left unfinished has written it.

    One that another tool has gone over since is unfinished no more.
    """
    metadata = machine.config["metadata"]
    held = [m.config["metadata"] for m in managed(story.before).values()]
    marks = [(each, msgspec.json.decode(each[INTENT])) for each in held if each.get(INTENT)]
    unfinished = {
        mark["deploy"]
        for each, mark in marks
        if each.get("fly_release_id") in (mark.get("beside"), mark["deploy"])
    }
    is_its = metadata.get(DEPLOY) in unfinished
    return machine.serves or (is_its and read_was(metadata.get(WAS, "")).state == "started")


def _is_canary(machine: Snapshot) -> bool:
    """Which no deploy leaves there, be it of an earlier one."""
    return _role(machine).startswith("canary")


def _role(machine: Snapshot) -> str:
    return str(machine.config["metadata"].get(ROLE, ""))


def _rest(machine: Snapshot) -> str:
    """Created and stopped are one: the platform makes no difference after an update."""
    return "stopped" if machine.state == "created" else machine.state


def _differing(old: Snapshot, now: Snapshot) -> str:
    a, b = own_config(old), own_config(now)
    keys = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
    return ", ".join(f"{key}: {a.get(key)} -> {b.get(key)}" for key in keys)


def _place(machine: Snapshot) -> str:
    role = _role(machine)
    return role if role.startswith("replaces") else machine.name


def _limit(story: Story, serving: int) -> int:
    """Computed from the words of the law, not with the orchestrator's own function."""
    if story.scenario.strategy == "bluegreen" and not any(run.goes_back for run in story.runs):
        return 0
    asked = story.scenario.max_unavailable
    if asked >= 1:
        return int(asked)
    return max(1, math.ceil(asked * serving))


def _bound_s(story: Story, run: Run) -> float:
    machines = max(1, len(managed(story.before)))
    per_machine_s = story.scenario.wait_timeout_s + 60.0
    return 2 * (run.retries + 1) * (machines * per_machine_s + 60.0) + 300.0


def _runs(story: Story, run: Run, machine: Snapshot) -> tuple[str, ...]:
    """new, old or mixed, going by what the platform holds; what may be said of it."""
    if _is_on(run.release, machine):
        return ("new",)
    old = story.before.get(machine.id)
    if old is not None and own_config(old) == own_config(machine):
        return ("old", "mixed") if _began_from_the_past(story, run, machine.id) else ("old",)
    if any(_is_on(other.release, machine) for other in story.runs if other is not run):
        return "old", "mixed"  # what a rival, done before this one began, has put there
    if old is None and machine.image == story.scenario.old:
        return "old", "mixed"  # made beside the old ones, with their configuration
    return ("mixed",)


def _began_from_the_past(story: Story, run: Run, machine_id: str) -> bool:
    """Whether the last list before its first change was an old one.

    So it was of one whose update is refused, where lists lag.
    """
    calls = wire.of_run(story, run)
    updates = (c for c in calls if c.operation == "update" and c.machine == machine_id)
    if story.scenario.habits.list_lags_s and any(c.heard == "409" for c in updates):
        return True
    first_s = min((c.sent_s for c in calls if c.operation in CHANGES), default=math.inf)
    lists = [c for c in calls if c.operation == "list" and c.is_good and c.sent_s < first_s]
    last = lists[-1].fault if lists else None
    return last is not None and last.answer is Answer.STALE


def _is_on(release: Release, machine: Snapshot) -> bool:
    return any(
        machine.group == group.name
        and machine.image == release.image
        and machine.config["metadata"].get(DIGEST) == group_digest(release.image, group)
        for group in release.groups
    )


def _is_lie(call: Call) -> bool:
    """Asked for by its id, a machine that is there is said not to be: who can know better?"""
    return call.operation == "read" and call.fault is not None and call.heard == "404"


def _denied_twice(story: Story) -> set[str]:
    """Of which two reads of the last look have said that it is not there, and were wrong."""
    calls = wire.of_run(story, story.run)
    last_s = max((c.sent_s for c in calls if c.operation == "list" and c.is_good), default=0.0)
    lies = Counter(call.machine for call in calls if call.sent_s > last_s and _is_lie(call))
    return {machine_id for machine_id, count in lies.items() if count > 1}


def _is_others_and_unlisted(story: Story, name: str) -> bool:
    """Whether another run made it after the moment that the last list of this one shows."""
    lists = [c for c in wire.of_run(story, story.run) if c.operation == "list" and c.is_good]
    shown_s = max((c.applied_s or 0.0 for c in lists), default=math.inf)
    shown_s -= story.scenario.habits.list_lags_s
    return any(
        (call.operation, call.name) == ("create", name)
        and call.run != story.run.name
        and call.applied_s is not None
        and call.applied_s >= shown_s
        for call in story.calls
    )


def _was_put_back_unseen(story: Story, run: Run, machine_id: str) -> bool:
    """Whether the platform put it back on its old version after the run had last seen it."""
    seen_s = _last_seen_s(story, run, machine_id)
    return any(
        call.machine == machine_id
        and call.fault is not None
        and call.fault.effect.startswith("revert")
        and (call.applied_s or 0.0) + REVERTED_AFTER_S >= seen_s
        for call in wire.of_run(story, run)
    )


def _hit_by_the_dead(story: Story) -> set[str]:
    """The machines that a write of a run that had died changed after the last run's end."""
    return {
        call.machine
        for run in story.runs
        if run.died
        for call in wire.of_run(story, run)
        if call.operation in CHANGES and (call.applied_s or 0.0) > story.run.ended_s
    }


def _died_before_naming(story: Story, machine_id: str) -> bool:
    """Whether a run told that it could not destroy this one, took its mark off, and died."""
    for run in story.runs:
        calls = wire.of_run(story, run)
        of_it = [c for c in calls if c.operation == "destroy" and c.machine == machine_id]
        is_unmarked = any(c.operation == "unmark" and c.was_carried_out for c in calls)
        if run.died and is_unmarked and of_it and not any(c.was_carried_out for c in of_it):
            return True
    return False


def _put_back_in_the_dark(story: Story) -> set[str]:
    """The machines that the platform put back, and of which the last look told nothing any more."""
    finished = story.run.finished
    unknown = {m.machine_id for m in finished.machines if m.state == "unknown"} if finished else ()
    return {
        call.machine
        for call in wire.of_run(story, story.run)
        if call.machine in unknown and call.fault and call.fault.effect.startswith("revert")
    }


def _was_changed_unseen(story: Story, run: Run, machine_id: str) -> bool:
    """Whether another run changed it later than any look shows of one that never had its lease.

    Who is kept out, by the lease of one machine, tells what the last list shows, and that lags;
    who has them knows that nobody else changes it any more, and can wait for what is shown to be
    true.
    """
    calls, takes = wire.of_run(story, run), ("acquire", "refresh")
    had_lease = any(c.operation in takes and c.machine == machine_id and c.is_good for c in calls)
    has_begun = any(call.operation in CHANGES | {"mark"} for call in calls)
    is_leased = run.finished is not None and run.finished.cause is Cause.LEASED
    is_kept_out = not had_lease or (is_leased and not has_begun)
    seen_s = _last_seen_s(story, run, machine_id)
    return is_kept_out and any(
        call.run != run.name
        and call.machine == machine_id
        and call.operation in CHANGES
        and call.was_carried_out
        and (call.applied_s or 0.0) >= seen_s
        for call in story.calls
    )


def _last_seen_s(story: Story, run: Run, machine_id: str) -> float:
    """The last moment of which the run was shown the machine: a list may lag.

    One that does shows what the server was like when it was last asked anything before then.
    """
    calls, lag_s = wire.of_run(story, run), story.scenario.habits.list_lags_s
    seen = [c.applied_s or 0.0 for c in calls if (c.operation, c.machine) == ("read", machine_id)]
    listed = [(c.applied_s or 0.0) - lag_s for c in calls if c.operation == "list"]
    if lag_s and listed:
        shown_s = max(listed)
        noted = (c.applied_s for c in story.calls if c.applied_s is not None)
        listed = [max((at_s for at_s in noted if at_s <= shown_s), default=0.0)]
    return max([*seen, *listed], default=math.inf)


def _starts(run: Run) -> list[tuple[float, PassStarted]]:
    return [(at, event) for at, event in run.events if isinstance(event, PassStarted)]


def _passes(run: Run, direction: str) -> list[PassStarted]:
    return [event for _, event in _starts(run) if event.direction == direction]


def _unmarking(story: Story) -> bool:
    """Whether taking the mark off was tried and failed, which is told and does no harm."""
    return any(call.operation == "unmark" and not call.is_good for call in story.calls)
