"""How a run ended, as a table: what it aimed at, what came of it, what the last look shows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import errors
from deploy.api.machine import Check, Exit, Fleet, Machine
from deploy.api.meaning import call_failed
from deploy.ending import Judgement, judge
from deploy.errors import (
    AppFailed,
    DeadlinePassed,
    DeployError,
    Interrupted,
    LeaseHeld,
    LeaseLost,
    LeaseTaken,
    Outage,
    Overtaken,
    UsageProblem,
)
from deploy.events import Cause, Result
from deploy.evidence import Evidence, Traces
from deploy.hints import Invocation
from deploy.orchestrator.outcome import NOT_BEGUN, Ending, Failure, Outcome
from deploy.plan.actions import Action, Create, Destroy, Start, Stop, Uncordon, Wait
from deploy.plan.back import plan_back
from deploy.plan.base import Base
from deploy.plan.configs import created_config
from deploy.plan.intent import BACK, FORWARD
from deploy.plan.stamps import Role, canary_name
from tests.worlds.fleets import (
    NEW,
    NEW_ID,
    OLD,
    PureFleet,
    group,
    machine,
    plan,
    release,
    thrifty,
    updated,
    with_metadata,
)

CODES = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
CODES.remove(errors.EXIT_NOT_BUILT)  # then no run has begun

RELEASE = release()
BEFORE = Fleet.of([machine("m1"), machine("m2")])
BASE = Base.of(BEFORE)
AFTER = Fleet.of(updated(one) for one in BEFORE)
HALF = Fleet.of([AFTER.by_id["m1"], BEFORE.by_id["m2"]])
FAILING = Check("servicecheck-00-http-8080", "critical", "HTTP 503")
SICK = Fleet.of([replace(AFTER.by_id["m1"], checks=(FAILING,)), AFTER.by_id["m2"]])
COLD = Fleet.of([replace(AFTER.by_id["m1"], state="stopped"), AFTER.by_id["m2"]])
BIRD = machine(
    "m9",
    config=created_config(RELEASE, group(), Role(NEW_ID)),
    name=canary_name("web", NEW_ID),
)

APP = AppFailed("it exits", hint="look at its log")
HICCUP = call_failed("unavailable", operation="update", status=503)
TOLD = "this hint is the cause's"
DONE = Outcome(done=2)
CALLED = Invocation(app="hello", config="fly.staging.toml", retries=2)
BOTH = frozenset({"m1", "m2"})


def failed(error: DeployError, action: Action | None = None) -> Outcome:
    return Outcome(left=1, failures=(Failure(error, action),))


def evidence(
    fleet: Fleet | None = BEFORE,
    forward: Outcome | None = None,
    back: Outcome | None = None,
    *,
    written: frozenset[str] = BOTH,
    base: Base | None = BASE,
    goal: str = FORWARD,
    traces: dict[str, Any] | None = None,
    **fields: Any,
) -> Evidence:
    """As a run gathers it: what is left to do and to undo is planned from the last look."""
    remembered = Traces(**{"written": written, "has_written": bool(written), **(traces or {})})
    left: tuple[Action, ...] = ()
    left_back: tuple[Action, ...] = ()
    if fleet is not None and base is not None:
        left = () if goal == BACK else plan(RELEASE, fleet, base)
        left_back = plan_back(fleet, base, deploy_id=NEW_ID, written=written)
    ending = Ending(forward, back) if forward is not None else None
    said: dict[str, Any] = {"left": left, "left_back": left_back} | fields
    return Evidence(
        release=RELEASE,
        goal=goal,
        called=CALLED,
        traces=remembered,
        base=base,
        fleet=fleet,
        ending=ending,
        **said,
    )


def interrupted(*args: Any, **fields: Any) -> Evidence:
    reason = Interrupted("interrupted by SIGINT")
    return evidence(*args, **{"stopped_by": reason, "is_interrupted": True, **fields})


@dataclass(frozen=True)
class Row:
    """One way that a run can end; `said` are words of its message."""

    name: str
    evidence: Evidence
    result: Result
    exit_code: int
    said: str = ""
    is_settled: bool = True
    has_hint: bool = False
    leftovers: tuple[str, ...] = field(default=())


NOTHING: frozenset[str] = frozenset()
ROWS = [
    # forward, and the last look shows it
    Row("all is new", evidence(AFTER, DONE), Result.DONE, 0, f"hello runs {NEW}"),
    Row(
        "all was new already",
        evidence(AFTER, DONE, written=NOTHING),
        *(Result.UNCHANGED, 0, "already, nothing to do"),
        has_hint=True,  # --force, for a tag that was pushed again
    ),
    Row(
        "all was new already, and a one-off machine has tried it",
        evidence(AFTER, DONE, written=NOTHING, traces={"has_written": True}),
        *(Result.DONE, 0, f"hello runs {NEW}"),
    ),
    Row(
        "a canary is left over",
        evidence(
            Fleet.of([*AFTER, BIRD]),
            failed(HICCUP, Destroy(machine_id="m9")),
            written=BOTH | {"m9"},
        ),
        *(Result.DONE, 0, f"hello runs {NEW}"),
        has_hint=True,
        leftovers=(f"{BIRD.name} (m9)",),
    ),
    Row(
        "all is new, and only a machine that serves is still waited for",
        evidence(AFTER, DONE, left=(Wait(machine_id="m1", version="v1"),)),
        *(Result.DONE, 0),
    ),
    Row(
        "a person wanted out when all was new",
        interrupted(AFTER, DONE),
        *(Result.DONE, 0),
    ),
    Row(
        "the reply of the last write is lost, and all is new",
        evidence(AFTER, failed(HICCUP), left=(Wait(machine_id="m1", version="v1"),)),
        *(Result.DONE, 0, f"hello runs {NEW}"),
    ),
    # forward, and it is not
    Row(
        "nothing can be undone any more: a machine from before was destroyed",
        evidence(
            Fleet.of([BEFORE.by_id["m1"]]),
            failed(APP),
            left_back=(),
            traces={"destroyed": frozenset({"m2"})},
        ),
        *(Result.IN_BETWEEN, 3),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "what a deploy before had left over was destroyed, and all else is as before",
        evidence(
            BEFORE,
            failed(APP),
            base=Base.of(Fleet.of([*BEFORE, BIRD])),
            left_back=(),
            traces={"destroyed": frozenset({"m9"})},
        ),
        *(Result.FAILED, 1, "as it was before"),
        has_hint=True,
    ),
    Row(
        "all is new, and no machine check has passed",
        evidence(
            AFTER,
            failed(HICCUP),
            left=(Wait(machine_id="m1", version="v1"),),
            untried=frozenset({"web"}),
        ),
        *(Result.IN_BETWEEN, 3, "503"),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "the app is broken, and all went back",
        evidence(BEFORE, failed(APP), DONE),
        *(Result.ROLLED_BACK, 1, "it exits; the app is as it was before"),
        has_hint=True,
    ),
    Row(
        "the deadline passed, and all went back",
        evidence(BEFORE, failed(DeadlinePassed("an hour")), DONE),
        *(Result.ROLLED_BACK, 1, "an hour"),
    ),
    Row(
        "hiccups outlasted the passes before anything was written",
        evidence(BEFORE, failed(HICCUP), written=NOTHING),
        *(Result.FAILED, 1, "503"),
    ),
    Row(
        "the request was wrong",
        evidence(BEFORE, failed(call_failed("no", operation="update", status=422))),
        *(Result.REFUSED, 4),
    ),
    Row(
        "the image cannot be pulled",
        evidence(BEFORE, failed(call_failed("manifest unknown", operation="update", status=400))),
        *(Result.FAILED, 1),
    ),
    Row(
        "it cannot be done as asked",
        evidence(BEFORE, failed(UsageProblem("mounts", hint=TOLD)), written=NOTHING),
        *(Result.REFUSED, 2, "mounts"),
        has_hint=True,
    ),
    Row(
        "somebody else deploys",
        evidence(BEFORE, failed(LeaseHeld("bob has it", hint=TOLD)), written=NOTHING),
        *(Result.LEASED, 5, "bob has it"),
        has_hint=True,
    ),
    Row(
        "somebody else has taken the lease",
        evidence(BEFORE, failed(LeaseTaken("bob has it")), written=NOTHING),
        *(Result.LEASED, 5, "bob has it"),
    ),
    Row(
        "a lease ran out, and nobody else deploys",
        evidence(BEFORE, failed(LeaseLost("no refresh was answered")), written=NOTHING),
        *(Result.FAILED, 1, "no refresh was answered"),
    ),
    Row(
        "another deploy went over this one",
        evidence(BEFORE, failed(Overtaken("another deploy"))),
        *(Result.LEASED, 5, "nothing of this one is left"),
        has_hint=True,
    ),
    Row(
        "the platform is down",
        evidence(BEFORE, failed(Outage("silence", hint=TOLD)), written=NOTHING),
        *(Result.OUTAGE, 6),
        has_hint=True,
    ),
    Row(
        "nothing new began, since the deadline passed before anything did",
        evidence(BEFORE, NOT_BEGUN, written=NOTHING, stopped_by=DeadlinePassed("a minute")),
        *(Result.FAILED, 1, "a minute; the app is as it was before"),
    ),
    Row(
        "it stopped half way",
        evidence(HALF, failed(APP)),
        *(Result.IN_BETWEEN, 3, "in between: it exits"),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "it came half of the way back",
        evidence(HALF, failed(APP), failed(HICCUP)),
        *(Result.IN_BETWEEN, 3),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "every step was seen to be done, and the last look shows one undone",
        evidence(HALF, DONE),
        *(Result.IN_BETWEEN, 3, "the app is in between"),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "the reply of the last write is lost, and the last look shows all in place",
        evidence(AFTER, failed(HICCUP)),
        *(Result.DONE, 0, f"hello runs {NEW}"),
    ),
    Row(
        "the reply of the last write is lost, and its machine does not serve at the last look",
        evidence(SICK, failed(HICCUP)),
        *(Result.IN_BETWEEN, 3),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "all is new, and one that was healthy is not any more",
        evidence(SICK, DONE, traces={"healthy": BOTH}),
        *(Result.IN_BETWEEN, 3, "web-1 (check servicecheck-00-http-8080 is critical: HTTP 503)"),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "all is new, and nobody has waited for one that is not up yet",
        evidence(SICK, DONE),
        *(Result.DONE, 0, "web-1 (check servicecheck-00-http-8080 is critical: HTTP 503) does not"),
    ),
    Row(
        "all is new, and some of it is not started",
        evidence(
            COLD, DONE, base=Base.of(Fleet.of([machine("m1", state="stopped"), machine("m2")]))
        ),
        *(Result.DONE, 0, "1 of 2 machines are not started"),
    ),
    Row(
        "an old configuration is lost, so that nothing says what was before",
        evidence(BEFORE, failed(APP), DONE, base=replace(BASE, lost=frozenset({"m1"}))),
        *(Result.IN_BETWEEN, 3),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "a machine of ours cannot be seen",
        evidence(BEFORE, failed(APP), DONE, traces={"own": frozenset({"m9"})}),
        *(Result.IN_BETWEEN, 3),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "a machine of ours cannot be seen, since we destroyed it",
        evidence(
            *(BEFORE, failed(APP), DONE),
            traces={"own": frozenset({"m9"}), "destroyed": frozenset({"m9"})},
        ),
        *(Result.ROLLED_BACK, 1),
        has_hint=True,
    ),
    Row(
        "what an earlier run did may still land",
        evidence(BEFORE, failed(HICCUP), written=NOTHING, traces={"knows_what_landed": False}),
        *(Result.IN_BETWEEN, 3),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "on the way back only a machine that serves again was still waited for",
        evidence(BEFORE, failed(APP), DONE, left_back=(Wait(machine_id="m1", version="v0"),)),
        *(Result.ROLLED_BACK, 1),
        has_hint=True,
    ),
    Row(
        "a machine does not serve again after the way back",
        evidence(
            Fleet.of([machine("m1", checks=()), machine("m2")]),
            *(failed(APP), failed(HICCUP)),
            left_back=(Wait(machine_id="m1", version="v0"),),
        ),
        *(Result.IN_BETWEEN, 3),
        is_settled=False,
        has_hint=True,
    ),
    # interrupted
    Row(
        "a person wanted out before anything",
        interrupted(BEFORE, NOT_BEGUN, written=NOTHING),
        *(Result.INTERRUPTED, 130, "by SIGINT: the app is as before"),
    ),
    Row(
        "a person wanted out half way",
        interrupted(HALF, NOT_BEGUN),
        *(Result.INTERRUPTED, 130, "the app is in between"),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "a person wanted out while the last machine was waited for",
        interrupted(AFTER, NOT_BEGUN),
        *(Result.INTERRUPTED, 130, f"every machine runs {NEW}, not all were seen"),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "a person wanted out, and the run was cut off",
        interrupted(HALF, None),
        *(Result.INTERRUPTED, 130, "in between"),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "a person wanted out when the app had failed already",
        interrupted(HALF, failed(APP)),
        *(Result.INTERRUPTED, 130, "by SIGINT"),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "a person wanted out of a way back that was done",
        interrupted(BEFORE, DONE, goal=BACK),
        *(Result.INTERRUPTED, 130, "as before"),
    ),
    Row(
        "a person wanted out of a way back half way",
        interrupted(HALF, NOT_BEGUN, goal=BACK),
        *(Result.INTERRUPTED, 130),
        is_settled=False,
        has_hint=True,
    ),
    # a run that was asked to go back
    Row(
        "it was to go back, and did",
        evidence(BEFORE, DONE, goal=BACK),
        *(Result.DONE, 0, f"as it was before deploy {NEW_ID}"),
    ),
    Row(
        "it was to go back, and nothing was to be undone",
        evidence(BEFORE, DONE, goal=BACK, traces={"has_written": False}),
        *(Result.UNCHANGED, 0),
    ),
    Row(
        "it was to go back, and came half of the way",
        evidence(HALF, failed(HICCUP), goal=BACK),
        *(Result.IN_BETWEEN, 3),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "it was to go back, did, and a failure on the way did not matter",
        evidence(BEFORE, failed(APP), goal=BACK),
        *(Result.DONE, 0),
    ),
    # no last look
    Row(
        "unseen, but every machine was seen in its turn",
        evidence(None, DONE),
        *(Result.DONE, 0),
    ),
    Row(
        "unseen, and there was nothing to do",
        evidence(None, DONE, written=NOTHING),
        *(Result.UNCHANGED, 0),
        has_hint=True,
    ),
    Row(
        "unseen, and every machine came back in its turn",
        evidence(None, failed(APP), DONE),
        *(Result.ROLLED_BACK, 1),
        has_hint=True,
    ),
    Row(
        "unseen, for a machine that had come back was read otherwise, and not again",
        evidence(None, failed(APP), DONE, traces={"has_disputed": True}),
        *(Result.IN_BETWEEN, 3),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "unseen, and it was to go back and did",
        evidence(None, DONE, goal=BACK),
        *(Result.DONE, 0),
    ),
    Row(
        "unseen, after writes",
        evidence(None, failed(Outage("silence"))),
        *(Result.IN_BETWEEN, 3, "silence"),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "unseen, after a create with a lost answer",
        evidence(None, failed(HICCUP), written=NOTHING, traces={"has_lost_creates": True}),
        *(Result.IN_BETWEEN, 3),
        is_settled=False,
        has_hint=True,
    ),
    Row(
        "unseen, before anything was written",
        evidence(None, failed(Outage("silence")), written=NOTHING),
        *(Result.OUTAGE, 6, "silence; the app is as it was before"),
    ),
    Row(
        "unseen and interrupted before anything was written",
        interrupted(None, NOT_BEGUN, written=NOTHING),
        *(Result.INTERRUPTED, 130, "nothing was changed"),
    ),
    Row(
        "unseen and interrupted, after writes",
        interrupted(None, DONE),
        *(Result.INTERRUPTED, 130, "the app may be in between"),
        is_settled=False,
        has_hint=True,
    ),
    # it did not get as far as a base
    Row(
        "refused before the first look under leases",
        evidence(BEFORE, failed(UsageProblem("no image", hint=TOLD)), base=None, written=NOTHING),
        *(Result.REFUSED, 2, "no image"),
        has_hint=True,
    ),
    Row(
        "nothing is known at all",
        evidence(None, None, base=None, written=NOTHING),
        *(Result.FAILED, 1, "the app is as it was before"),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_run_ends_as_the_table_says(row: Row) -> None:
    found = judge(row.evidence)
    event = found.event
    assert (event.result, event.exit_code) == (row.result, row.exit_code)
    assert row.said in event.message
    assert found.is_settled is row.is_settled
    assert bool(event.hint) is row.has_hint, event.hint
    assert event.leftovers == row.leftovers


def test_a_hint_is_the_causes_or_says_the_ways_out() -> None:
    by_name = {row.name: judge(row.evidence).event.hint for row in ROWS}
    assert by_name["somebody else deploys"] == TOLD
    assert "deploy rollback --app hello" in by_name["it stopped half way"]
    assert "--app hello m9" in by_name["a canary is left over"]
    assert "deploy status --app hello" in by_name["another deploy went over this one"]


ENDED = replace(
    AFTER.by_id["m1"], state="stopped", checks=(), exits=(Exit(0, at_ms=1, requested=False),)
)
UNPULLED = replace(AFTER.by_id["m1"], state="failed", failure="could not pull image: unknown")
UNBOOTED = replace(AFTER.by_id["m1"], state="failed", failure="the host is full")


@pytest.mark.parametrize(
    ("seen", "cause", "said"),
    [
        (ENDED, Cause.APP, "machine web-1 exited: exit code 0"),
        (UNPULLED, Cause.APP, "machine web-1 could not pull image: unknown"),
        (UNBOOTED, Cause.PLATFORM, "start m1 was done, and the platform shows it undone"),
    ],
)
def test_what_nobody_waited_for_is_judged_by_the_last_look(
    seen: Machine, cause: Cause, said: str
) -> None:
    """Of `immediate` and --detach, which end before it is known."""
    event = judge(evidence(Fleet.of([seen, AFTER.by_id["m2"]]), DONE)).event
    assert (event.result, event.cause) == (Result.IN_BETWEEN, cause)
    assert event.message == f"the app is in between: {said}"
    assert ("resume" in event.hint) is (cause is Cause.PLATFORM)


def test_a_machine_that_turned_sick_after_it_was_done_is_the_apps_failure() -> None:
    seen = evidence(SICK, DONE, traces={"healthy": BOTH})
    event = judge(seen).event
    assert (event.result, event.cause) == (Result.IN_BETWEEN, Cause.APP)
    assert "critical: HTTP 503) does not serve" in event.message


# -- the machines ------------------------------------------------------------------------


def stands(found: Judgement) -> dict[str, str]:
    return {one.machine_id: one.runs for one in found.event.machines}


def test_every_machine_is_told_by_what_it_runs() -> None:
    changed = machine("m4", config={**machine("m4").config, "image": NEW}, version="v9")
    base = Base.of(Fleet.of([*BEFORE, machine("m3"), machine("m4"), machine("m5")]))
    now = Fleet.of([*HALF, changed, machine("m5")])
    written = frozenset({"m1", "m3", "m4"})
    found = judge(evidence(now, failed(APP), base=base, written=written))
    assert stands(found) == {"m1": "new", "m2": "old", "m3": "gone", "m4": "old", "m5": "old"}
    told = {one.machine_id: one for one in found.event.machines}
    assert told["m3"].state == "destroyed"
    assert told["m1"].image == NEW
    assert told["m1"].checks == "1/1"


def test_what_another_deploy_has_gone_over_is_neither_old_nor_new() -> None:
    theirs = Fleet.of(
        replace(with_metadata(one, fly_release_id="foreign"), version="v9", checks=(FAILING,))
        for one in AFTER
    )
    waits = tuple(Wait(machine_id=one.id, version="v9") for one in theirs)
    cause = failed(Overtaken("another deploy"))
    found = judge(evidence(theirs, cause, left_back=waits))
    assert (found.event.result, found.event.exit_code) == (Result.LEASED, 5)
    assert stands(found) == {"m1": "mixed", "m2": "mixed"}
    half = Fleet.of([theirs.by_id["m1"], AFTER.by_id["m2"]])
    assert judge(evidence(half, cause, left_back=waits)).event.exit_code == 3


def test_one_that_was_stamped_with_something_else_is_mixed() -> None:
    (one,) = Fleet.of([updated(machine("m1"), group(env={"A": "1"}))])
    found = judge(evidence(Fleet.of([one]), failed(APP), base=Base.of(Fleet.of([machine("m1")]))))
    assert stands(found) == {"m1": "mixed"}


def test_without_a_last_look_what_was_written_to_is_unknown_and_the_rest_old() -> None:
    known = {"m1": "v1", "m2": "v0"}
    found = judge(
        evidence(None, failed(HICCUP), written=frozenset({"m1"}), traces={"known": known})
    )
    assert stands(found) == {"m1": "unknown", "m2": "old"}
    told = {one.machine_id: (one.version, one.state, one.image) for one in found.event.machines}
    assert told == {"m1": ("v1", "unknown", ""), "m2": ("v0", "unknown", OLD)}


def test_without_a_last_look_what_was_on_the_release_before_and_was_left_alone_is_new() -> None:
    traces = {"known": {"m1": "v1", "m2": "v0"}}
    before = Base.of(HALF)
    found = judge(
        evidence(None, failed(HICCUP), written=frozenset({"m2"}), base=before, traces=traces)
    )
    assert stands(found) == {"m1": "new", "m2": "unknown"}


def test_a_machine_of_ours_that_cannot_be_seen_is_named() -> None:
    traces = {"own": frozenset({"m9"}), "names": {"m9": "web-9"}}
    found = judge(evidence(BEFORE, failed(HICCUP), written=frozenset({"m9"}), traces=traces))
    (unseen,) = (one for one in found.event.machines if one.machine_id == "m9")
    assert (unseen.name, unseen.runs, unseen.state) == ("web-9", "unknown", "unknown")


# -- whatever is known -------------------------------------------------------------------

causes = st.sampled_from(
    [
        *(APP, HICCUP, UsageProblem("u"), LeaseHeld("l"), Overtaken("o"), Outage("s")),
        *(DeadlinePassed("d"), Interrupted("i")),
        call_failed("no", operation="update", status=403),
        call_failed("machine ID x", operation="create", status=409),
    ]
)
ids = st.frozensets(st.sampled_from(["m1", "m2", "m3", "m9"]), max_size=3)
fleets = st.sampled_from([None, Fleet(), BEFORE, AFTER, HALF, Fleet.of([*AFTER, BIRD])])
actions = st.sampled_from(
    [
        *(Wait(machine_id="m1", version="v"), Destroy(machine_id="m9"), Start(version="v")),
        *(Create(name="web-3", config={}), Stop(machine_id="m1"), Uncordon(machine_id="m2")),
    ]
)
some = st.lists(actions, max_size=3).map(tuple)
outcomes = st.builds(
    Outcome,
    done=st.integers(0, 3),
    left=st.integers(0, 3),
    failures=st.lists(st.builds(Failure, causes, st.none() | actions), max_size=3).map(tuple),
)
any_evidence = st.builds(
    Evidence,
    release=st.sampled_from([RELEASE, replace(RELEASE, groups=())]),
    goal=st.sampled_from([FORWARD, BACK]),
    traces=st.builds(
        Traces,
        written=ids,
        own=st.frozensets(st.sampled_from(["m7", "m9"])),  # never of what was there at first
        destroyed=ids,
        known=st.dictionaries(st.sampled_from(["m1", "m7"]), st.just("v0")),
        names=st.dictionaries(st.sampled_from(["m1", "m9"]), st.just("web-x")),
        has_written=st.booleans(),
        has_lost_creates=st.booleans(),
        knows_what_landed=st.booleans(),
    ),
    base=st.sampled_from([None, BASE, Base.of(Fleet()), replace(BASE, lost=frozenset({"m1"}))]),
    fleet=fleets,
    ending=st.none() | st.builds(Ending, outcomes, st.none() | outcomes),
    stopped_by=st.none() | causes,
    is_interrupted=st.booleans(),
    left=some,
    left_back=some,
)


@thrifty
@given(any_evidence)
def test_whatever_is_known_there_is_one_judgement_with_a_documented_exit_code(
    known: Evidence,
) -> None:
    found = judge(known)
    event = found.event
    assert isinstance(found, Judgement)
    assert event.exit_code in CODES
    assert event.message
    assert (event.exit_code == 0) is (event.result in (Result.DONE, Result.UNCHANGED))
    assert (event.exit_code == 3) is (event.result is Result.IN_BETWEEN)
    assert not (found.is_settled and event.exit_code == 3)
    assert (event.cause is None) is (event.exit_code == 0)
    assert len({one.machine_id for one in event.machines}) == len(event.machines)
    if event.result is Result.INTERRUPTED:
        assert known.is_interrupted
        assert event.exit_code == 130


@thrifty
@given(any_evidence)
def test_nothing_is_called_done_that_the_last_look_shows_undone(known: Evidence) -> None:
    if known.fleet is None or known.base is None or judge(known).event.exit_code != 0:
        return
    reached = known.goal == FORWARD and not known.unreached
    assert reached or (known.goal == BACK and known.is_undone)


def test_every_exit_code_of_the_table_is_documented_and_none_is_missing() -> None:
    assert {row.exit_code for row in ROWS} == CODES


def test_the_platform_of_these_tests_agrees_with_what_is_planned() -> None:
    """The fleets above are what carrying the release out would make of them."""
    platform = PureFleet(BEFORE)
    for action in plan(RELEASE, BEFORE, BASE):
        platform.apply(action)
    assert [one.config for one in platform.fleet] == [one.config for one in AFTER]


def test_what_is_unchanged_names_force_for_a_tag_that_was_pushed_again() -> None:
    unchanged = evidence(AFTER, DONE, written=NOTHING)
    assert "--force" in judge(unchanged).event.hint
    assert judge(replace(unchanged, done="has 2 machines in group web")).event.hint == ""


def test_an_end_names_the_images_that_ran_before() -> None:
    assert judge(evidence(AFTER, DONE)).event.image_before == OLD
    assert judge(evidence(None, DONE, base=None)).event.image_before == ""
