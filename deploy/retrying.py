"""The retrying path: passes until the app is wholly on the release, or wholly as before.

A pass looks at the platform, plans what is left and carries it out. What failed
for a passing reason is worth another pass, up to `retries` of them; a broken
app, a rejected request or somebody else's lease never is. When the release
cannot be reached, the machines touched go back in passes of the same number.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import anyio

from deploy.api.patience import between_passes
from deploy.api.verdict import verdict
from deploy.errors import AppFailed, CallFailed, DeployError, Overtaken
from deploy.events import BackingOff, GoingBack
from deploy.orchestrator.execute import Failure, IsDecisive, Outcome
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.passes import Work
from deploy.plan.forward import Action, Wait

Pass = Callable[[int, int, IsDecisive], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Ending:
    """How the way forward ended and, where it was gone, the way back."""

    forward: Outcome
    back: Outcome | None = None


async def deploy_retrying(
    work: Work, *, retries: int, rolls_back: bool, chance: random.Random
) -> Ending:
    """Converge, or stand still: at most `retries` + 1 passes each way."""
    forward = await _converge(work, _confirmed(work), retries, chance, ends_at_once)
    has_arrived = forward.is_complete or forward.is_in_place
    if has_arrived or not rolls_back or not _can_go_back(work, forward):
        return Ending(forward)
    if forward.cause is None and work.halt.reason is not None:
        forward = replace(forward, failures=(Failure(Action(), work.halt.reason),))
    work.emit(GoingBack(reason=str(forward.cause or "passes are spent")))
    work.halt.clear()
    return Ending(forward, await _converge(work, work.back, retries, chance, ends_the_way_back))


async def return_retrying(work: Work, *, retries: int, chance: random.Random) -> Ending:
    """Bring the app back to what it was: at most `retries` + 1 passes."""
    return Ending(await _converge(work, work.back, retries, chance, ends_the_way_back))


def ends_at_once(error: DeployError) -> bool:
    """On the way forward, whatever another pass cannot help ends this one."""
    return not verdict(error).is_hiccup


def ends_the_way_back(error: DeployError) -> bool:
    """On the way back a machine that is sick again must not keep the others from returning."""
    return ends_at_once(error) and not isinstance(error, AppFailed)


async def _converge(
    work: Work,
    one_pass: Pass,
    retries: int,
    chance: random.Random,
    is_decisive: IsDecisive,
) -> Outcome:
    """Passes until one is complete, or until another could not help."""
    last = Outcome(left=1)
    number = 0

    async def attempt() -> Outcome:
        nonlocal last, number
        number += 1
        last = await one_pass(number, retries + 1, is_decisive)
        return last

    async def pause(delay_s: float) -> None:
        with work.halt.cuts():
            await anyio.sleep(delay_s)

    policy = between_passes(
        retries,
        chance,
        is_worth_another=lambda outcome: _is_worth_another(work, outcome, is_decisive),
        retry_after_s=lambda outcome: outcome.retry_after_s,
        before_sleep=lambda delay_s: work.emit(BackingOff(delay_s=delay_s, number=number + 1)),
        sleep=pause,
    )
    with suppress(Cut):  # halted between two passes: the last outcome stands
        await policy(attempt)
    return last


def _is_worth_another(work: Work, outcome: Outcome, is_decisive: IsDecisive) -> bool:
    if outcome.is_complete or work.halt.is_set:
        return False
    return not any(is_decisive(failure.error) for failure in outcome.failures)


def _confirmed(work: Work) -> Pass:
    """A pass forward counts as complete only when planning again yields nothing."""

    async def one_pass(number: int, of: int, is_decisive: IsDecisive) -> Outcome:
        outcome = await work.forward(number, of, is_decisive)
        if not outcome.is_complete or outcome.done == 0:
            return outcome
        try:
            rest = work.left(await work.look())
        except DeployError:
            return outcome  # every action was seen to be done; a last look adds to that, no more
        left = [action for action in rest if not isinstance(action, Wait)]
        if not left:
            return outcome
        undone = CallFailed(
            f"{left[0].verb} {left[0].key} was done, and the platform shows it undone",
            operation=left[0].verb,
            machine_id=left[0].machine_id,
            status=409,
        )
        return Outcome(outcome.done, len(left), (Failure(left[0], undone),))

    return one_pass


def _can_go_back(work: Work, forward: Outcome) -> bool:
    """Something old must be there to go back to, none of it destroyed yet, and nobody else's."""
    base = work.base
    if base is None or not base.machines or work.halt.is_final:
        return False
    if isinstance(forward.cause, Overtaken):
        return False
    return not work.ledger.destroyed & base.machines.by_id.keys()
