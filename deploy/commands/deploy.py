"""`deploy [DIR]`: bring the app to a new image. The command that no name asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio

from deploy.commands.consent import doubts_of_deploy, get_consent
from deploy.commands.on_app import app_command
from deploy.commands.options import DEPLOY
from deploy.commands.order import Order, order_of, release_of
from deploy.commands.running import run_and_leave
from deploy.commands.starting import new_id, start_run
from deploy.commands.target import Target
from deploy.events import Emit, RunFinished
from deploy.plan.planners import towards_release
from deploy.run import Task


@app_command("run", *DEPLOY, needs_config=True, example="deploy -i registry.fly.io/hello:v2")
def run_command(target: Target, yes: bool, **options: Any) -> None:
    """Deploy the app in DIR."""
    order = order_of(options)
    get_consent(anyio.run(doubts_of_deploy, target, order), is_given=yes)
    run_and_leave(target, options, partial(deploy_app, target, order))


async def deploy_app(target: Target, order: Order, emit: Emit) -> RunFinished:
    """Bring the app to the release."""
    now = datetime.now(UTC)
    release = release_of(target, order, new_id(now))
    task = Task(release=release, planner=towards_release(order.settings.selection))
    return await start_run("deploy", target, order, task, emit, now)
