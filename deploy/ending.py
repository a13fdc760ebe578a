"""How a run ended: what the last look shows, turned into a result and an exit code.

Pure. The app's own state decides, not what the run believes it did: in between
is in between, whatever the cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from shlex import join

from deploy import hints
from deploy.api.machine import Fleet, Machine
from deploy.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_IN_BETWEEN,
    EXIT_INTERRUPTED,
    EXIT_LEASED,
    EXIT_OUTAGE,
    EXIT_REFUSED,
    EXIT_USAGE,
    AppFailed,
    CannotStart,
    DeployError,
    Meaning,
    Overtaken,
)
from deploy.events import Cause, MachineStands, Result, RunFinished
from deploy.evidence import Evidence
from deploy.hints import Invocation, Left, named, ways_out
from deploy.plan.actions import Destroy, Wait
from deploy.plan.intent import BACK
from deploy.plan.release import is_current
from deploy.plan.stamps import fly_release, is_stamped

_RESULTS = {
    EXIT_FAILED: Result.FAILED,
    EXIT_USAGE: Result.REFUSED,
    EXIT_IN_BETWEEN: Result.IN_BETWEEN,
    EXIT_REFUSED: Result.REFUSED,
    EXIT_LEASED: Result.LEASED,
    EXIT_OUTAGE: Result.OUTAGE,
}


_CAUSES = {
    Meaning.APP: Cause.APP,
    Meaning.REJECTED: Cause.REJECTED,
    Meaning.NAME_TAKEN: Cause.REJECTED,
    Meaning.USAGE: Cause.REJECTED,
    Meaning.LEASED: Cause.LEASED,
    Meaning.LEASE_TAKEN: Cause.LEASED,
    Meaning.OUTAGE: Cause.OUTAGE,
    Meaning.INTERRUPTED: Cause.INTERRUPTED,
}
"""What kept a run from being done; every other meaning is the platform's doing."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The last event, and whether the deploy is over rather than left to be taken up again."""

    event: RunFinished
    is_settled: bool


@dataclass(frozen=True, slots=True)
class _Verdict:
    """How a run ended, without the machines."""

    result: Result
    exit_code: int
    message: str
    hint: str = ""
    leftovers: tuple[str, ...] = ()
    is_settled: bool = True


def broken_off(error: DeployError, app: str) -> RunFinished:
    """The end of a run that never came to one of its own: nothing was looked at."""
    is_unknown = error.exit_code == EXIT_IN_BETWEEN
    ways = ways_out(Left.UNKNOWN, Invocation(app=app)) if is_unknown else ""
    return RunFinished(
        result=_RESULTS.get(error.exit_code, Result.FAILED),
        exit_code=error.exit_code,
        message=str(error),
        hint="; ".join(filter(None, (ways, error.hint))),
        cause=_cause(error),
    )


def judge(evidence: Evidence) -> Judgement:
    """How the app stands, and how the run ended."""
    is_seen = evidence.fleet is not None and evidence.base is not None
    found = _seen(evidence) if is_seen else _unseen(evidence)
    event = RunFinished(
        result=found.result,
        exit_code=found.exit_code,
        message=found.message,
        hint="; ".join(
            filter(None, (found.hint, _where_to_look(evidence, found), _lost(evidence, found)))
        ),
        cause=_cause(evidence.cause) if found.exit_code != EXIT_DONE else None,
        machines=tuple(_stands(evidence)),
        leftovers=found.leftovers,
        log=_log_of(evidence.cause) if found.exit_code else (),
        image_before=", ".join(sorted({m.image for m in evidence.base.machines if m.image}))
        if evidence.base
        else "",
    )
    return Judgement(event, found.is_settled)


def _cause(error: DeployError | None) -> Cause:
    return _CAUSES.get(error.meaning, Cause.PLATFORM) if error else Cause.UNKNOWN


def _seen(evidence: Evidence) -> _Verdict:
    """The last look decides."""
    if evidence.has_arrived:
        return _arrived(evidence)
    if evidence.is_interrupted:
        return _interrupted(evidence)
    if evidence.is_anothers:
        return _as_before(evidence)
    if evidence.goal == BACK:
        return _returned(evidence) if evidence.is_undone else _in_between(evidence)
    return _as_before(evidence) if evidence.is_undone else _in_between(evidence)


def _unseen(evidence: Evidence) -> _Verdict:
    """There was no last look: each machine was seen in its turn, or it is in between.

    So it is where the look broke off at a machine that a read showed otherwise.
    """
    was_seen = evidence.base is not None and not evidence.is_interrupted
    was_seen &= not evidence.traces.has_disputed
    if was_seen and evidence.forward.is_complete:
        return _returned(evidence) if evidence.goal == BACK else _arrived(evidence)
    if was_seen and evidence.ending and evidence.ending.last.is_complete:
        return _as_before(evidence)
    written = evidence.traces.may_have_written
    if evidence.is_interrupted:
        said = "the app may be in between" if written else "nothing was changed"
        return _Verdict(
            Result.INTERRUPTED,
            EXIT_INTERRUPTED,
            f"{evidence.cause}: {said}",
            hint=_next(evidence) if written else "",
            is_settled=not written,
        )
    return _in_between(evidence) if written else _as_before(evidence)


def _arrived(evidence: Evidence) -> _Verdict:
    """All that is new is in place; whether it serves, the last look says."""
    said = _brought_about(evidence)
    if evidence.broken:
        return _Verdict(
            Result.IN_BETWEEN,
            EXIT_IN_BETWEEN,
            f"{said}, but {_does_not_serve(evidence.broken)}",
            hint=ways_out(Left.STUCK if evidence.stuck else Left.APP_FAILED, evidence.called),
            is_settled=False,
        )
    if evidence.sick:
        said = f"{said}; {_does_not_serve(evidence.sick)}"
    return _done(evidence, said)


def _done(evidence: Evidence, said: str) -> _Verdict:
    removals = {a.key: a.name for a in evidence.left if isinstance(a, Destroy)}
    stay, ways = _cordoned(evidence, set(removals))
    if not (evidence.traces.written or evidence.traces.has_written or removals):
        pushed_again = "" if evidence.done else "a tag that was pushed again needs --force"
        hint = "; ".join(filter(None, (pushed_again, ways)))
        message = f"{said} already, nothing to do{stay}"
        return _Verdict(Result.UNCHANGED, EXIT_DONE, message, hint=hint)
    removed = hints.removal(evidence.release.app, removals)
    return _Verdict(
        Result.DONE,
        EXIT_DONE,
        said + _not_started(evidence) + stay,
        hint="; ".join(filter(None, (removed, ways))),
        leftovers=named(removals),
    )


def _brought_about(evidence: Evidence) -> str:
    """`hello runs hello:2`, or on how many of its machines, as the last look shows it."""
    release = evidence.release
    if evidence.done:
        return f"{release.app} {evidence.done}"
    machines = evidence.fleet.managed if evidence.fleet is not None else ()
    new = sum(1 for machine in machines if _runs(evidence, machine) == "new")
    if new == len(machines):
        return f"{release.app} runs {release.image}"
    return f"{new} of {len(machines)} machines of {release.app} run {release.image}"


def _cordoned(evidence: Evidence, going: set[str]) -> tuple[str, str]:
    """What takes no traffic although it is there, as a bluegreen of others leaves it; what to do.

    Nobody knows whether it is to serve: it stays as it was.
    """
    machines = evidence.fleet.managed if evidence.fleet is not None else ()
    told_of = going | {machine.id for machine in evidence.sick}
    stay = [machine for machine in machines if machine.cordoned and machine.id not in told_of]
    verb = "stays" if len(stay) == 1 else "stay"
    told = ", ".join(f"{machine.name or machine.id} ({machine.state})" for machine in stay)
    ways = hints.about_the_cordoned(evidence.release.app, [machine.id for machine in stay])
    return f"; {told} {verb} cordoned" if stay else "", ways


def _does_not_serve(machines: Sequence[Machine]) -> str:
    """`web-1 does not serve (check http is critical: 503)`."""
    told = [f"{m.name or m.id} ({m.trouble or 'cordoned'})" for m in machines]
    return f"{', '.join(told)} {'does' if len(machines) == 1 else 'do'} not serve"


def _not_started(evidence: Evidence) -> str:
    """What nobody has tested, since it does not run."""
    machines = evidence.fleet.managed if evidence.fleet is not None else Fleet()
    asleep = [machine for machine in machines if machine.state in ("stopped", "suspended")]
    if not asleep:
        return ""
    if len(asleep) == len(machines):
        return "; no machine is started, so nothing was tested"
    return f"; {len(asleep)} of {len(machines)} machines are not started"


def _returned(evidence: Evidence) -> _Verdict:
    """The end of a run that was asked to go back."""
    release = evidence.release
    return _Verdict(
        Result.DONE if evidence.traces.has_written else Result.UNCHANGED,
        EXIT_DONE,
        f"{release.app} is as it was before deploy {release.deploy_id}",
    )


def _as_before(evidence: Evidence) -> _Verdict:
    cause = evidence.cause
    code = cause.exit_code if cause else EXIT_FAILED
    is_theirs = isinstance(cause, Overtaken)
    said = "nothing of this one is left" if is_theirs else "the app is as it was before"
    hint = cause.hint if cause else ""
    return _Verdict(
        Result.ROLLED_BACK if evidence.went_back else _RESULTS.get(code, Result.FAILED),
        code,
        f"{cause}; {said}" if cause else said,
        hint=_next(evidence) if is_theirs else hint,
    )


def _in_between(evidence: Evidence) -> _Verdict:
    """What was on its way back and is on a host that does not answer is left over."""
    cause = evidence.cause
    goes_back = evidence.goal == BACK or evidence.went_back
    stuck = {machine.id: machine.name for machine in evidence.stuck if goes_back}
    return _Verdict(
        Result.IN_BETWEEN,
        EXIT_IN_BETWEEN,
        f"the app is in between: {cause or 'not all that was written can be seen'}",
        hint="; ".join(filter(None, (_next(evidence), hints.removal(evidence.release.app, stuck)))),
        leftovers=named(stuck),
        is_settled=False,
    )


def _interrupted(evidence: Evidence) -> _Verdict:
    undone = evidence.is_undone
    where = "the app is as before" if undone else "the app is in between"
    if not undone and not [a for a in evidence.left if not isinstance(a, Wait)]:
        image = evidence.release.image
        where = f"every machine runs {image}, not all were seen to be healthy"
    return _Verdict(
        Result.INTERRUPTED,
        EXIT_INTERRUPTED,
        f"{evidence.cause}: {where}",
        hint="" if undone else _next(evidence),
        is_settled=undone,
    )


# -- the machines ----------------------------------------------------------------------


def _stands(evidence: Evidence) -> list[MachineStands]:
    """Every machine that was there at first or is there now."""
    traces = evidence.traces
    if evidence.fleet is None:
        return [_unknown(evidence, each, version) for each, version in sorted(traces.known.items())]
    now = evidence.fleet.managed
    before = evidence.base.machines if evidence.base else Fleet()
    gone = [machine for machine in before if machine.id not in now.by_id]
    unseen = sorted(traces.own - evidence.fleet.by_id.keys() - traces.destroyed)
    return [
        *(_stand(machine, _runs(evidence, machine)) for machine in now),
        *(_stand(machine, "gone") for machine in gone),
        *(_unknown(evidence, machine_id, "") for machine_id in unseen),
    ]


def _runs(evidence: Evidence, machine: Machine) -> str:
    """`new`, `old` or `mixed`: going by its stamps, and by what we wrote."""
    release = evidence.release
    stamped = is_stamped(machine, release.deploy_id)
    if is_current(release, machine):
        return "new"
    old = evidence.base.machines.by_id.get(machine.id) if evidence.base else None
    if old is not None and not stamped and fly_release(machine) != fly_release(old):
        return "mixed"  # another deploy has been here
    if machine.id not in evidence.traces.written and not stamped:
        return "old"
    if not release.groups and stamped:
        return "new"  # scaled, or brought back to an earlier release: the stamp is all there is
    if old is not None and (machine.version == old.version or not stamped):
        return "old"
    return "mixed"


def _stand(machine: Machine, runs: str) -> MachineStands:
    passing = sum(1 for check in machine.checks if check.status == "passing")
    return MachineStands(
        machine_id=machine.id,
        name=machine.name,
        group=machine.group,
        region=machine.region,
        version=machine.version,
        image=machine.image,
        state="destroyed" if runs == "gone" else machine.state,
        cordoned=machine.cordoned,
        checks=f"{passing}/{machine.configured_checks}" if machine.configured_checks else "",
        runs=runs,
    )


def _unknown(evidence: Evidence, machine_id: str, version: str) -> MachineStands:
    old = evidence.base.machines.by_id.get(machine_id) if evidence.base else None
    touched = machine_id in evidence.traces.written
    left_alone = _runs(evidence, old) if old else "old"
    return MachineStands(
        machine_id=machine_id,
        name=old.name if old else evidence.traces.names.get(machine_id, ""),
        group=old.group if old else "",
        region=old.region if old else "",
        version=version,
        image="" if touched or old is None else old.image,
        state="unknown",
        cordoned=False,
        checks="",
        runs="unknown" if touched else left_alone,
    )


def _next(evidence: Evidence) -> str:
    is_leased = evidence.cause is not None and evidence.cause.exit_code == EXIT_LEASED
    return ways_out(_left(evidence), replace(evidence.called, waits=is_leased))


def _left(evidence: Evidence) -> Left:
    """How an app that is not as it was to be was left."""
    cause = evidence.cause
    if isinstance(cause, Overtaken):
        return Left.OVERTAKEN
    if evidence.is_unmarked:
        return Left.UNMARKED
    if evidence.goal == BACK or evidence.went_back:
        if evidence.base is not None and evidence.base.lost:
            return Left.UNMARKED
        return Left.STUCK if evidence.stuck else Left.BACK
    is_app = isinstance(cause, CannotStart) or (cause and cause.meaning is Meaning.APP)
    if evidence.base is not None and not evidence.base.machines:
        return Left.FIRST_APP_FAILED if is_app else Left.FIRST
    if is_app:
        return Left.STUCK if evidence.stuck else Left.APP_FAILED
    return Left.NO_WAY_BACK if evidence.stuck else Left.FORWARD


def _log_of(cause: DeployError | None) -> tuple[str, ...]:
    return (cause.log or ()) if isinstance(cause, AppFailed) else ()


def _where_to_look(evidence: Evidence, found: _Verdict) -> str:
    """The command that shows a failed machine's log, where the run could not have it."""
    cause = evidence.cause
    if not found.exit_code or not isinstance(cause, AppFailed):
        return ""
    if not cause.machine_id or cause.log is not None:
        return ""
    shown = join(["fly", "logs", "--app", evidence.release.app, "--machine", cause.machine_id])
    return f"`{shown}` shows its log"


def _lost(evidence: Evidence, found: _Verdict) -> str:
    """The machines whose hosts do not answer, but for those that are left over."""
    told = " ".join(found.leftovers)
    managed = evidence.fleet.managed if evidence.fleet is not None else ()
    dead = {m.id: m.name for m in managed if m.is_dead and m.id not in told}
    return hints.about_the_dead(dead)
