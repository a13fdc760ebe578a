"""How a run ended: what the last look shows, turned into a result and an exit code.

Pure. The app's own state decides, not what the run believes it did: in between
is in between, whatever the cause.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.api.machine import Fleet, Machine
from deploy.api.verdict import Verdict, verdict
from deploy.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_IN_BETWEEN,
    EXIT_INTERRUPTED,
    EXIT_LEASED,
    EXIT_OUTAGE,
    EXIT_REFUSED,
    EXIT_USAGE,
    CallFailed,
    DeployError,
    Overtaken,
)
from deploy.events import MachineStands, Result, RunFinished
from deploy.orchestrator.execute import Outcome
from deploy.orchestrator.passes import Work
from deploy.plan.forward import Action, Destroy, Wait
from deploy.plan.intent import BACK, FORWARD
from deploy.plan.release import Release, is_current, is_stamped
from deploy.retrying import Ending

_RESULTS = {
    EXIT_FAILED: Result.FAILED,
    EXIT_USAGE: Result.REFUSED,
    EXIT_REFUSED: Result.REFUSED,
    EXIT_LEASED: Result.LEASED,
    EXIT_OUTAGE: Result.OUTAGE,
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The last event, and whether the deploy is over rather than left to be taken up again."""

    event: RunFinished
    is_settled: bool


def judge(work: Work, ending: Ending | None, fleet: Fleet | None) -> Judgement:
    """`ending` is None when the run was cut off, `fleet` when nothing could be seen any more."""
    forward = ending.forward if ending else Outcome(left=1)
    cause = work.halt.reason if work.halt.is_final else forward.cause or work.halt.reason
    machines = tuple(_stands(work, fleet))
    if fleet is None or work.base is None:
        was_seen = work.base is not None and not work.halt.is_final  # each machine, in its turn
        if was_seen and forward.is_complete:
            if work.goal == BACK:
                return _returned(work, True, forward, machines)
            return _arrived(work, (), machines)
        if was_seen and ending and ending.back and ending.back.is_complete:
            return _as_before(cause, went_back=True, machines=machines)
        return _unseen(work, cause, machines)
    left = tuple(a for a in work.left(fleet) if not isinstance(a, Wait))
    arrived = work.goal == FORWARD and (forward.is_complete or forward.is_in_place)
    if arrived and not [action for action in left if not isinstance(action, Destroy)]:
        return _arrived(work, left, machines)
    unseen = work.ledger.own - fleet.by_id.keys() - work.ledger.destroyed
    undone = _is_known(work) and not (work.base.lost or unseen or _still_to_undo(work, fleet))
    if work.goal == BACK and not work.halt.is_final:
        return _returned(work, undone, forward, machines)
    if work.halt.is_final:
        where = "the app is as before" if undone else "the app is in between"
        if not undone and not left:
            where = f"every machine runs {work.release.image}, not all were seen to be healthy"
        return Judgement(
            RunFinished(
                result=Result.INTERRUPTED,
                exit_code=EXIT_INTERRUPTED,
                message=f"{cause}: {where}",
                hint="" if undone else _ways_out(work.release),
                machines=machines,
            ),
            is_settled=undone,
        )
    if undone:
        return _as_before(cause, went_back=bool(ending and ending.back), machines=machines)
    return _in_between(work.release, cause, machines)


def _is_known(work: Work) -> bool:
    """Whether what a dead run wrote last, if one is taken up, was looked for under leases."""
    return work.take_up_again is None


def _still_to_undo(work: Work, fleet: Fleet) -> list[Action]:
    """What the way back still has to do; a machine that serves again is not waited for."""
    serving = {machine.id for machine in fleet.managed if machine.is_serving}
    return [
        action
        for action in work.left_back(fleet)
        if not (isinstance(action, Wait) and action.machine_id in serving)
    ]


def exit_code(error: DeployError | None) -> int:
    """The code for a run that this error ended with the app as it was before."""
    if error is None:
        return EXIT_FAILED
    if not isinstance(error, CallFailed):
        return error.exit_code
    match verdict(error):
        case Verdict.REJECTED | Verdict.NAME_TAKEN:
            return EXIT_REFUSED
        case Verdict.LEASED:
            return EXIT_LEASED
        case _:
            return EXIT_FAILED


def _arrived(
    work: Work, left: tuple[Action, ...], machines: tuple[MachineStands, ...]
) -> Judgement:
    leftovers = tuple(f"{action.name or action.key} ({action.key})" for action in left)
    unchanged = not work.ledger.written and not leftovers
    said = f"{work.release.app} runs {work.release.image}"
    return Judgement(
        RunFinished(
            result=Result.UNCHANGED if unchanged else Result.DONE,
            exit_code=EXIT_DONE,
            message=f"{said} already, nothing to do" if unchanged else said,
            hint=_remove(work.release, left) if left else "",
            machines=machines,
            leftovers=leftovers,
        ),
        is_settled=True,
    )


def _returned(
    work: Work, undone: bool, outcome: Outcome, machines: tuple[MachineStands, ...]
) -> Judgement:
    """The end of a run that was asked to go back."""
    if not undone:
        return _in_between(work.release, outcome.cause, machines)
    unchanged = not work.ledger.has_written
    return Judgement(
        RunFinished(
            result=Result.UNCHANGED if unchanged else Result.DONE,
            exit_code=EXIT_DONE,
            message=f"{work.release.app} is as it was before deploy {work.release.deploy_id}",
            machines=machines,
        ),
        is_settled=True,
    )


def _as_before(
    cause: DeployError | None, *, went_back: bool, machines: tuple[MachineStands, ...]
) -> Judgement:
    code = exit_code(cause)
    result = Result.ROLLED_BACK if went_back else _RESULTS.get(code, Result.FAILED)
    is_ours = not isinstance(cause, Overtaken)
    said = "the app is as it was before" if is_ours else "nothing of this one is left"
    return Judgement(
        RunFinished(
            result=result,
            exit_code=code,
            message=f"{cause}; {said}" if cause else said,
            hint=cause.hint if cause else "",
            machines=machines,
        ),
        is_settled=True,
    )


def _in_between(
    release: Release, cause: DeployError | None, machines: tuple[MachineStands, ...]
) -> Judgement:
    return Judgement(
        RunFinished(
            result=Result.IN_BETWEEN,
            exit_code=EXIT_IN_BETWEEN,
            message=f"the app is in between: {cause}" if cause else "the app is in between",
            hint=_ways_out(release),
            machines=machines,
        ),
        is_settled=False,
    )


def _unseen(
    work: Work, cause: DeployError | None, machines: tuple[MachineStands, ...]
) -> Judgement:
    """Nothing can be seen: in between if anything may have been written, else by cause."""
    written = bool(work.ledger.written or work.ledger.lost_creates or not _is_known(work))
    if work.halt.is_final:
        event = RunFinished(
            result=Result.INTERRUPTED,
            exit_code=EXIT_INTERRUPTED,
            message=f"{cause}: "
            + ("the app may be in between" if written else "nothing was changed"),
            hint=_ways_out(work.release) if written else "",
            machines=machines,
        )
        return Judgement(event, is_settled=False)
    if written:
        return _in_between(work.release, cause, machines)
    judged = _as_before(cause, went_back=False, machines=machines)
    return Judgement(judged.event, is_settled=False)


def _stands(work: Work, fleet: Fleet | None) -> list[MachineStands]:
    """Every machine that was there at first or is there now."""
    if fleet is None:
        known = sorted(work.ledger.known.items())
        return [_unknown(work, machine_id, version) for machine_id, version in known]
    now = fleet.managed
    before = work.base.machines if work.base else Fleet()
    gone = [machine for machine in before if machine.id not in now.by_id]
    names = {machine_id: name for name, machine_id in work.ledger.ids.items()}
    unseen = sorted(work.ledger.own - now.by_id.keys() - work.ledger.destroyed)
    return [
        *(_stand(machine, _runs(work, machine)) for machine in now),
        *(_stand(machine, "gone") for machine in gone),
        *(_unknown(work, machine_id, "", names.get(machine_id, "")) for machine_id in unseen),
    ]


def _runs(work: Work, machine: Machine) -> str:
    release = work.release
    for group in release.groups:
        if machine.group == group.name and is_current(release, group, machine):
            return "new"
    if machine.id not in work.ledger.written and not is_stamped(machine, release.deploy_id):
        return "old"
    old = work.base.machines.by_id.get(machine.id) if work.base else None
    if not release.groups and is_stamped(machine, release.deploy_id):
        return "new"  # scaled, or brought back to an earlier release: the stamp is all there is
    if old is not None and (
        machine.version == old.version or not is_stamped(machine, release.deploy_id)
    ):
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


def _unknown(work: Work, machine_id: str, version: str, name: str = "") -> MachineStands:
    old = work.base.machines.by_id.get(machine_id) if work.base else None
    touched = machine_id in work.ledger.written
    return MachineStands(
        machine_id=machine_id,
        name=old.name if old else name,
        group=old.group if old else "",
        region=old.region if old else "",
        version=version,
        image="" if touched or old is None else old.image,
        state="unknown",
        cordoned=False,
        checks="",
        runs="unknown" if touched else "old",
    )


def _ways_out(release: Release) -> str:
    return (
        "`deploy resume --deploy-retries 5` finishes it, "
        f"`deploy rollback --app {release.app}` undoes it"
    )


def _remove(release: Release, left: tuple[Action, ...]) -> str:
    ids = " ".join(action.key for action in left)
    return f"left over, remove with: fly machine destroy --force --app {release.app} {ids}"
