"""`deploy scale GROUP=N`: create or destroy machines until a process group has N."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import click

from deploy.api.client import connect
from deploy.api.machine import Fleet
from deploy.commands.consent import doubts_of_scale, get_consent
from deploy.commands.on_app import app_command
from deploy.commands.options import CONSENT, FLAG, NOTIFY, RUN, TARGET, Options
from deploy.commands.order import Order, order_of, release_of
from deploy.commands.reading import read_fleet
from deploy.commands.running import run_and_leave
from deploy.commands.starting import new_id, start_run
from deploy.commands.target import Target
from deploy.errors import UsageProblem
from deploy.events import Emit, RunFinished
from deploy.hints import Invocation
from deploy.plan.actions import Create
from deploy.plan.configs import clone_config, created_config
from deploy.plan.history import time_ms
from deploy.plan.planners import towards_count
from deploy.plan.release import Release
from deploy.plan.stamps import slot_name
from deploy.run import Task
from deploy.wording import count as words_for


def _group_count(_: click.Context, __: click.Parameter, text: str) -> tuple[str, int]:
    group, _equals, number = text.partition("=")
    if not group or not number.isdecimal() or len(number) > 4:
        raise UsageProblem(f"{text!r} is not GROUP=N", hint="write app=3")
    return group, int(number)


_COUNT = Options(
    "Machines",
    (
        click.Argument(["group_count"], metavar="GROUP=N", callback=_group_count),
        click.Option(
            ["--image", "-i"],
            metavar="REF",
            envvar="DEPLOY_IMAGE",
            help="Image of a group's first machine.",
        ),
    ),
)


@app_command(
    "scale",
    _COUNT,
    TARGET,
    FLAG,
    RUN,
    NOTIFY,
    CONSENT,
    needs_config=False,
    example="deploy scale app=3 --app hello",
)
def scale_command(target: Target, group_count: tuple[str, int], yes: bool, **options: Any) -> None:
    """Create or destroy machines until process group GROUP has N."""
    order = order_of(options)
    task = anyio.run(_task, target, order, *group_count)
    doubts = anyio.run(doubts_of_scale, target, task.release, task.planner)
    get_consent(doubts, is_given=yes)
    run_and_leave(target, options, partial(_scale, target, order, task))


async def scale_app(
    target: Target, order: Order, group: str, count: int, emit: Emit
) -> RunFinished:
    """Bring a process group to `count` machines, new ones like those it has."""
    return await _scale(target, order, await _task(target, order, group, count), emit)


async def _scale(target: Target, order: Order, task: Task, emit: Emit) -> RunFinished:
    return await start_run("scale", target, order, task, emit, datetime.now(UTC))


async def _task(target: Target, order: Order, group: str, count: int) -> Task:
    async with connect(target.address, target.token, target.app) as client:
        fleet = (await read_fleet(client)).managed
    release, pattern = _pattern(target, order, fleet, group, new_id(datetime.now(UTC)))
    siblings = fleet.group(group)
    if 0 < len(siblings) < count and not any(machine.is_whole for machine in siblings):
        raise UsageProblem(
            f"no machine of group {group} tells its whole configuration, to make another like it",
            hint=f"{Invocation(app=target.app).status()} shows them; try again when a host answers",
        )
    return Task(
        release=replace(release, finish=("scale", f"{group}={count}")),
        planner=towards_count(group, count, pattern),
        done=f"has {words_for(count, 'machine')} in group {group}",
    )


def _pattern(
    target: Target, order: Order, fleet: Fleet, group: str, deploy_id: str
) -> tuple[Release, Create]:
    """A release that stands for what runs, and what a further machine of the group looks like."""
    siblings = fleet.group(group).machines
    if siblings:
        newest = max(siblings, key=lambda m: (m.is_whole, time_ms(m.version), m.updated_at))
        config = clone_config(newest, deploy_id)
        release = Release(app=target.app, deploy_id=deploy_id, image=newest.image, groups=())
        return release, Create(
            name=slot_name(group, 1), group=group, config=config, region=newest.region
        )
    running = next((machine.image for machine in fleet if machine.image), None)
    release = release_of(target, replace(order, image=order.image or running), deploy_id)
    spec = release.group(group)
    if spec is None:
        known = ", ".join(sorted({g.name for g in release.groups})) or "none"
        raise UsageProblem(
            f"app {target.app} has no process group {group}",
            hint=f"groups in fly.toml: {known}",
        )
    return release, Create(
        name=slot_name(group, 1),
        group=group,
        config=created_config(release, spec),
        region=release.region,
    )
