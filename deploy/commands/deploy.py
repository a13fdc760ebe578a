"""`deploy [DIR]`: bring the app to a new image. The command that no name asks for."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from deploy.commands.options import DEPLOY, take
from deploy.commands.order import Order, order_of, release_of
from deploy.commands.running import run_and_leave
from deploy.commands.starting import new_id, start_run
from deploy.commands.target import Target, find_target
from deploy.events import Emit, RunFinished
from deploy.plan.planners import towards_release
from deploy.run import Task


@click.command("run", hidden=True)
@take(*DEPLOY)
def run_command(directory: Path, app: str | None, config_path: Path | None, **options: Any) -> None:
    """Deploy the app in DIR."""
    order = order_of(options)
    target = find_target(
        directory, app=app, config_path=config_path, environ=os.environ, needs_config=True
    )
    run_and_leave(options, lambda emit: deploy_app(target, order, emit))


async def deploy_app(target: Target, order: Order, emit: Emit) -> RunFinished:
    """Bring the app to the release."""
    now = datetime.now(UTC)
    release = release_of(target, order, new_id(now))
    task = Task(release=release, planner=towards_release(order.settings.selection))
    return await start_run("deploy", target, order, task, emit, now)
