"""`deploy rollback`: bring back what ran before the newest deploy, or an earlier release.

Everything is read from the platform, as for `deploy resume`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import click

from deploy.api.client import connect
from deploy.api.machine import Fleet, Machine
from deploy.commands.on_app import app_command
from deploy.commands.options import FLAG, MAX_UNAVAILABLE, NOTIFY, RUN, Options
from deploy.commands.order import Order, order_of
from deploy.commands.reading import patience, read_fleet, read_versions
from deploy.commands.running import run_and_leave
from deploy.commands.starting import new_id, start_run
from deploy.commands.taking_up import find_unfinished, refuse_lost, take_up, taken_up
from deploy.commands.target import Target
from deploy.errors import UsageProblem
from deploy.events import Emit, RunFinished
from deploy.hints import Invocation
from deploy.orchestrator.memory import TakenUp
from deploy.plan.base import Base, Versions
from deploy.plan.history import releases_of, time_ms
from deploy.plan.intent import BACK, Intent
from deploy.plan.planners import towards_configs, towards_nothing
from deploy.plan.release import DEFAULT_MAX_UNAVAILABLE, Release, next_number
from deploy.plan.stamps import fly_release, is_stamped
from deploy.plan.strategies import DEFAULT, STRATEGY_NAMES, strategy_named
from deploy.run import Task
from deploy.wording import printable

_RELEASE = Options(
    "Release",
    (
        click.Option(
            ["--to"],
            metavar="RELEASE",
            help="Release number or deploy id, from `deploy history`. [default: the one before]",
        ),
        MAX_UNAVAILABLE,
    ),
)


@app_command(
    "rollback",
    _RELEASE,
    FLAG,
    RUN,
    NOTIFY,
    needs_config=False,
    example="deploy rollback --app hello",
)
def rollback_command(target: Target, to: str | None, **options: Any) -> None:
    """Bring back what ran before the newest deploy, finished or not."""
    run_and_leave(target, options, partial(rollback_app, target, order_of(options), to))


async def rollback_app(
    target: Target, order: Order, to: str | None, emit: Emit
) -> RunFinished | None:
    """Bring back what was before the newest deploy, or release `to`; None if there is none."""
    if to is not None:
        return await _rollback_to(target, order, to, emit)
    fleet, versions, intent = await find_unfinished(target, partial(_newest_deploy, target.app))
    if intent is None:
        return None
    base = Base.before(intent.deploy, fleet, versions)
    history = Invocation(app=target.app).history()
    refuse_lost(base, target.app)
    if not base.machines:
        raise UsageProblem(
            f"there was nothing before deploy {intent.deploy}: it was the first",
            hint=f"{history} shows the releases",
        )
    release = Release(
        app=target.app,
        deploy_id=intent.deploy,
        image=intent.image,
        groups=(),
        max_unavailable=order.max_unavailable or DEFAULT_MAX_UNAVAILABLE,
        number=intent.number,
    )
    task = Task(
        release=release,
        planner=towards_nothing,
        taken_up=_with_hidden(taken_up(fleet, versions, intent.deploy, BACK), intent),
        take_up=partial(take_up, intent, BACK),
    )
    return await start_run("rollback", target, order, task, emit, datetime.now(UTC))


def _newest_deploy(app: str, fleet: Fleet) -> Intent | None:
    """The newest deploy, finished or not, as what is to be undone.

    Raises UsageProblem where another tool wrote last, or the newest release, which leaves no
    way back. What the platform put back to an earlier release is newer than the deploy, and
    not what it did.
    """
    if not fleet.managed:
        return None
    last = max(fleet.managed, key=lambda m: (time_ms(m.version), *reversed(fly_release(m))))
    newest = max(fleet.managed, key=lambda m: (fly_release(m)[1], time_ms(m.version)))
    for machine in (last, newest):
        deploy_id, number = fly_release(machine)
        if not is_stamped(machine, deploy_id):
            raise UsageProblem(
                f"release {number or deploy_id or machine.image} was made by another tool, "
                "which left no note of what ran before it",
                hint=f"{Invocation(app=app).history()} shows the releases, "
                "`deploy rollback --to RELEASE` brings one back",
            )
    deploy_id, number = fly_release(newest)
    others = Fleet.of(m for m in fleet.managed if fly_release(m)[0] != deploy_id)
    number = max(number, next_number(others))  # what a scale made has that of its siblings
    return Intent(deploy=deploy_id, digest="", image=newest.image, strategy=DEFAULT, number=number)


def _with_hidden(found: TakenUp, intent: Intent) -> TakenUp:
    """The same, with whether the run before may have made machines that no list shows yet."""
    is_known = intent.strategy in STRATEGY_NAMES
    extras = strategy_named(intent.strategy).extras if is_known else None
    expected = extras(found.base.machines) if extras else 0
    return replace(found, may_hide=len(found.made) < expected)


# -- rollback --to ---------------------------------------------------------------------


async def _rollback_to(target: Target, order: Order, to: str, emit: Emit) -> RunFinished:
    """An earlier release as a new one: every machine gets the configuration that it had then."""
    async with connect(target.address, target.token, target.app) as client:
        fleet = (await read_fleet(client)).managed
        known = await read_versions(client, fleet.machines, patience())
    configs = {
        machine.id: config
        for machine in fleet
        if (config := _config_of(machine, known, fleet, to)) is not None
    }
    called = Invocation(app=target.app)
    hint = f"{called.history()} shows the releases that the platform still knows"
    meant = [past.deploy for past in releases_of(fleet, known) if str(past.number) == to]
    if len(meant) > 1:
        raise UsageProblem(
            f"release {printable(to)} is {len(meant)} deploys: {', '.join(meant)}",
            hint=f"name one by its id, as in {called.rollback(meant[0])}",
        )
    if not configs:
        raise UsageProblem(f"{target.app} has no release {printable(to)}", hint=hint)
    missing = sorted(machine.id for machine in fleet if machine.id not in configs)
    if missing:
        raise UsageProblem(
            f"release {printable(to)} cannot be brought back: no version of it is left for "
            f"{', '.join(missing)}",
            hint=hint,
        )
    deploy_id = new_id(datetime.now(UTC))
    images = sorted({str(config.get("image", "")) for config in configs.values()})
    release = Release(
        app=target.app,
        deploy_id=deploy_id,
        image=", ".join(images),
        groups=(),
        max_unavailable=order.max_unavailable or DEFAULT_MAX_UNAVAILABLE,
        number=next_number(fleet),
        finish=("rollback", "--to", to),
    )

    task = Task(release=release, planner=towards_configs(configs))
    return await start_run("rollback", target, order, task, emit, datetime.now(UTC))


def _config_of(
    machine: Machine, known: Versions, fleet: Fleet, to: str
) -> Mapping[str, Any] | None:
    """The machine's own version of release `to`, else a sibling's of the same group."""
    siblings = [m for m in fleet.group(machine.group) if m.id != machine.id]
    for one in (machine, *siblings):
        present: list[Mapping[str, Any]] = [one.config] if one.is_whole else []
        for config in (*present, *known.get(one.id, {}).values()):
            metadata = config.get("metadata") or {}
            if to in (metadata.get("fly_release_version"), metadata.get("fly_release_id")):
                return config
    return None
