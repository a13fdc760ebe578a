"""`deploy [DIR]`: bring the app to a new image. The command that no name asks for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio

from deploy.commands.building import build_image, build_of
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
    build = build_of(target, order, options)
    if build is not None:
        order = replace(order, image=build.reference, deploy_id=build.deploy_id)
    release_of(target, order, "")  # what is wrong with the command is said before a build
    get_consent(anyio.run(doubts_of_deploy, target, order), is_given=yes)
    if build is not None:
        order = replace(order, image=build_image(build))
        if options["build_only"]:
            return
    run_and_leave(target, options, partial(deploy_app, target, order))


async def deploy_app(target: Target, order: Order, emit: Emit) -> RunFinished:
    """Bring the app to the release."""
    now = datetime.now(UTC)
    release = release_of(target, order, order.deploy_id or new_id(now))
    task = Task(release=release, planner=towards_release(order.settings.selection))
    return await start_run("deploy", target, order, task, emit, now)
