"""`deploy resume`: finish what another run began, from any computer.

Everything is read from the platform: the stamps and intents that a deploy
leaves, and the versions that the platform keeps. Nothing needs the journal.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from deploy.api.machine import Fleet
from deploy.commands.on_app import app_command
from deploy.commands.options import (
    ENV,
    FLAG,
    FORCE,
    MAX_UNAVAILABLE,
    NOTIFY,
    RUN,
    SELECTION,
    Options,
)
from deploy.commands.order import Order, order_of, release_of, terms_of
from deploy.commands.running import run_and_leave
from deploy.commands.starting import start_run
from deploy.commands.taking_up import find_unfinished, refuse_lost, take_up, taken_up
from deploy.commands.target import Target
from deploy.errors import UsageProblem
from deploy.events import Emit, RunFinished
from deploy.hints import Invocation
from deploy.plan.intent import BACK
from deploy.plan.planners import towards_release
from deploy.plan.release import next_number
from deploy.plan.stamps import fly_release, is_stamped
from deploy.run import Task

_RELEASE = Options("Release", (ENV, MAX_UNAVAILABLE, FORCE))


@app_command(
    "resume",
    _RELEASE,
    FLAG,
    SELECTION,
    RUN,
    NOTIFY,
    needs_config=True,
    example="deploy resume --app hello",
)
def resume_command(target: Target, **options: Any) -> None:
    """Finish a deploy that was left unfinished, from any computer."""
    run_and_leave(target, options, partial(resume_app, target, order_of(options)))


async def resume_app(target: Target, order: Order, emit: Emit) -> RunFinished | None:
    """Finish the deploy that was left unfinished, in its own direction; None if there is none.

    Raises UsageProblem when fly.toml and the options no longer describe the
    release that was begun.
    """
    fleet, versions, intent = await find_unfinished(target)
    if intent is None:
        return None
    said = replace(order, image=intent.image, strategy=intent.strategy)
    release = release_of(target, said, intent.deploy)
    if release.finish != intent.finish and intent.direction != BACK:
        called = Invocation(app=target.app, finish=intent.finish, terms=terms_of(order))
        raise UsageProblem(
            f"deploy {intent.deploy} was begun with other options, or by another command",
            hint=f"{called.resume()} finishes it",
        )
    if release.digest != intent.digest and intent.direction != BACK:
        raise UsageProblem(
            f"the release that deploy {intent.deploy} began is not what fly.toml describes now",
            hint="bring fly.toml and --env back to what they were, or `deploy` anew, "
            "or `deploy rollback`",
        )
    release = replace(release, number=intent.number or _number(fleet, intent.deploy))
    found = taken_up(fleet, versions, intent.deploy, intent.direction)
    if intent.direction == BACK:
        refuse_lost(found.base, target.app)
    task = Task(
        release=release,
        planner=towards_release(order.settings.selection),
        taken_up=found,
        take_up=partial(take_up, intent, intent.direction),
    )
    return await start_run("resume", target, said, task, emit, datetime.now(UTC))


def _number(fleet: Fleet, deploy_id: str) -> int:
    """The release number that the deploy gave already, else the next."""
    given = [fly_release(m)[1] for m in fleet.managed if is_stamped(m, deploy_id)]
    return max(given, default=next_number(fleet))
