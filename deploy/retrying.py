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
from dataclasses import replace

import anyio
from tenacity import AsyncRetrying, retry_if_result, stop_after_attempt

from deploy.api.patience import PassBackoff
from deploy.errors import AppFailed, CannotStart, DeployError, Overtaken
from deploy.events import BackingOff, GoingBack
from deploy.orchestrator import passes
from deploy.orchestrator.deployment import Deployment
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.logs import keep_log
from deploy.orchestrator.outcome import (
    NOT_BEGUN,
    Ending,
    Failure,
    IsDecisive,
    Outcome,
    why_undone,
)
from deploy.orchestrator.passes import Pass
from deploy.plan.actions import Wait
from deploy.plan.intent import BACK

_REMOVALS = 1  # passes after which the removal of a dead machine is tried again, and all else done
_STARTS = 1  # passes after which it is tried again to bring up what the platform could not

OnePass = Callable[[Deployment, Pass], Awaitable[Outcome]]


async def run(
    deployment: Deployment, *, retries: int, rolls_back: bool, chance: random.Random
) -> Ending:
    """Converge, or stand still: at most `retries` + 1 passes each way."""
    if deployment.memory.goal == BACK:
        return Ending(await _go_back(deployment, retries, chance))
    forward = await _converge(deployment, confirmed_forward, retries, chance, ends_at_once)
    has_arrived = forward.is_complete or forward.is_in_place
    if has_arrived or not rolls_back or not can_go_back(deployment, forward):
        return Ending(forward)
    stopped_by = deployment.tools.halt.reason
    if forward.cause is None and stopped_by is not None:
        forward = replace(forward, failures=(Failure(stopped_by),))
    deployment.tools.emit(GoingBack(reason=str(forward.cause or "passes are spent")))
    deployment.tools.halt.clear()
    return Ending(forward, await _go_back(deployment, retries, chance))


def ends_at_once(error: DeployError) -> bool:
    """On the way forward, whatever another pass cannot help ends this one."""
    return not error.meaning.is_hiccup


def ends_the_way_back(error: DeployError) -> bool:
    """On the way back a machine that is sick again must not keep the others from returning."""
    return ends_at_once(error) and not isinstance(error, AppFailed)


async def confirmed_forward(deployment: Deployment, this: Pass) -> Outcome:
    """A pass forward counts as complete only when planning again yields nothing.

    And when all that was healthy still is.
    """
    outcome = await passes.forward(deployment, this)
    if not outcome.is_complete or outcome.done == 0:
        return outcome
    try:
        fleet = await deployment.lookout.look()
        await deployment.watch.confirm(fleet)
    except AppFailed as failure:
        await keep_log(deployment.tools, failure)
        return replace(outcome, left=1, failures=(Failure(failure),))
    except DeployError:
        return outcome  # every action was seen to be done; a last look adds to that, no more
    left = [action for action in deployment.left(fleet) if not isinstance(action, Wait)]
    if not left:
        return outcome
    return Outcome(outcome.done, len(left), (Failure(why_undone(left, fleet), left[0]),))


def can_go_back(deployment: Deployment, forward: Outcome) -> bool:
    """Something old must be there to go back to, none of it destroyed yet, and nobody else's."""
    base = deployment.memory.base
    if base is None or not base.machines or deployment.tools.halt.is_final:
        return False
    if isinstance(forward.cause, Overtaken):
        return False
    return not deployment.memory.destroyed & base.machines.by_id.keys()


async def _go_back(deployment: Deployment, retries: int, chance: random.Random) -> Outcome:
    return await _converge(deployment, passes.back, retries, chance, ends_the_way_back)


async def _converge(
    deployment: Deployment,
    one_pass: OnePass,
    retries: int,
    chance: random.Random,
    is_decisive: IsDecisive,
) -> Outcome:
    """Passes until one is complete, or until another could not help."""
    halt, emit = deployment.tools.halt, deployment.tools.emit
    outcome = NOT_BEGUN
    number = unstartable = unremovable = 0

    def is_worth_another(outcome: Outcome) -> bool:
        nonlocal unstartable, unremovable
        errors = [failure.error for failure in outcome.failures]
        unstartable += any(isinstance(error, CannotStart) for error in errors)
        unremovable += outcome.leaves_the_dead
        decided = any(is_decisive(error) for error in errors)
        decided = decided or unstartable > _STARTS or unremovable > _REMOVALS
        return not (outcome.is_complete or halt.is_set or decided)

    async def pause(delay_s: float) -> None:
        emit(BackingOff(delay_s=float(delay_s), number=number + 1))
        with halt.cuts():
            await anyio.sleep(delay_s)

    policy = AsyncRetrying(
        stop=stop_after_attempt(retries + 1),
        wait=PassBackoff(chance),
        retry=retry_if_result(is_worth_another),
        retry_error_callback=lambda _: None,  # retries are spent: the last outcome stands
        sleep=pause,
    )
    with suppress(Cut):  # halted between two passes: the last outcome stands
        async for attempt in policy:
            number = attempt.retry_state.attempt_number
            outcome = await one_pass(deployment, Pass(number, retries + 1, is_decisive))
            attempt.retry_state.set_result(outcome)
    return outcome
