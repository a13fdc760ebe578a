"""`deploy plan`: what a deploy would do now. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import anyio
import click

from deploy.api.client import connect
from deploy.api.machine import Fleet
from deploy.commands.on_app import app_command
from deploy.commands.options import FLAG, HEALTH, OUTPUT, RELEASE, SELECTION
from deploy.commands.order import Order, order_of, release_of
from deploy.commands.reading import LOOK_S, owner_of, read_fleet
from deploy.commands.starting import context_of, new_id
from deploy.commands.target import Target
from deploy.plan.actions import Action, Create, Destroy, Update
from deploy.plan.base import Base
from deploy.plan.forward import Situation
from deploy.plan.planners import towards_release
from deploy.plan.release import Release, next_number
from deploy.plan.schedule import refuse_unsuited, schedule
from deploy.plan.steps import Gate, Schedule
from deploy.retries import Retries, asked_for, foretold
from deploy.wording import count, printable


@app_command(
    "plan",
    *(RELEASE, FLAG, SELECTION, HEALTH, OUTPUT),
    needs_config=True,
    only_looks=True,
    example="deploy plan -i registry.fly.io/hello:v2",
)
def plan_command(target: Target, output: str, **options: Any) -> None:
    """Show what a deploy would do, and change nothing."""
    planned = anyio.run(plan_app, target, order_of(options))
    click.echo(show_plan(*planned, as_json=output == "json"))


async def plan_app(target: Target, order: Order) -> tuple[Release, Fleet, Schedule, Retries]:
    """What a deploy would do now; writes nothing."""
    now = datetime.now(UTC)
    async with connect(target.address, target.token, target.app) as client:
        exists, organization = await owner_of(client)
        fleet = await read_fleet(client, within_s=LOOK_S) if exists else Fleet()
    release = release_of(target, order, new_id(now))
    release = replace(release, number=next_number(fleet))
    order.settings.selection.refuse_nothing(target.app, fleet)
    refuse_unsuited(release, order.settings.selection.of(fleet))
    base = Base.of(fleet)
    plan = towards_release(order.settings.selection)
    actions = plan(Situation(release=release, fleet=fleet, base=base))
    ordered = schedule(release, fleet, base, actions)
    return release, fleet, ordered, _retries(order, context_of(target.app, organization), now)


def _retries(order: Order, context: Mapping[str, str], now: datetime) -> Retries:
    if order.retries is not None:
        return asked_for(order.retries)
    return foretold(order.flags, context=context, now=now)


def show_plan(
    release: Release, fleet: Fleet, order: Schedule, retries: Retries, *, as_json: bool
) -> str:
    """The steps of a deploy in their order, and the path that it would take."""
    if as_json:
        return json.dumps(_plan_json(release, fleet, order, retries))
    lines = [
        printable(retries.sentence),
        printable(
            f"{release.app}: {release.image}, {release.strategy}, "
            f"{count(len(fleet.managed), 'machine')}"
        ),
    ]
    number = 0
    for stage in order:
        for track in stage:
            for step in track.steps:
                number += 1
                title = _step_title(track.group, step.counted, step.gate)
                lines.append(f"{number}. {printable(title)}")
                lines += [f"     {printable(_action(action))}" for action in step.actions]
    if not number:
        lines.append("nothing to do: every machine is on this release")
    return "\n".join(lines)


def _step_title(group: str, counted: bool, gate: Gate) -> str:
    waits = {
        Gate.NONE: "",
        Gate.TRIED: ", each until healthy, and the group's machine checks pass",
    }.get(gate, f", each until {gate.value}")
    return f"{group or 'clean up'}{', within max-unavailable' if counted else ''}{waits}:"


def _action(action: Action) -> str:
    name = action.name or action.machine_id
    match action:
        case Create():
            extra = f" in place of {action.replaces}" if action.replaces else ""
            launched = "" if action.launch else ", not started"
            return f"create {name}{extra}{launched}"
        case Update():
            return f"update {action.machine_id} {name}{'' if action.launch else ', left stopped'}"
        case Destroy():
            return f"destroy {action.machine_id or name}"
        case _:
            return f"{action.verb} {action.machine_id or name}"


def _plan_json(release: Release, fleet: Fleet, order: Schedule, retries: Retries) -> dict[str, Any]:
    return {
        "v": 1,
        "app": release.app,
        "image": release.image,
        "strategy": release.strategy,
        "digest": release.digest,
        "path": retries.path,
        "retries": None if retries.is_open else retries.count,
        "sentence": retries.sentence,
        "machines": len(fleet.managed),
        "stages": [
            [
                {
                    "group": track.group,
                    "steps": [
                        {
                            "gate": step.gate.value,
                            "counted": step.counted,
                            "actions": [
                                {"do": a.verb, "machine": a.machine_id, "name": a.name}
                                for a in step.actions
                            ],
                        }
                        for step in track.steps
                    ],
                }
                for track in stage
            ]
            for stage in order
        ],
    }
