"""What each command does between its options and its output.

Everything here is handed its target and its readers; `cli` parses and renders.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from deploy.api.client import MachinesClient, connect
from deploy.api.connection import OUTAGE_S
from deploy.api.machine import Fleet
from deploy.api.patience import Patience
from deploy.commands.target import Target, is_loopback, refuse_unsendable
from deploy.errors import CallFailed, UsageProblem
from deploy.events import Emit, Noticed, PathChosen, RunFinished, RunStarted
from deploy.flytoml.appconfig import Group
from deploy.orchestrator.ledger import Ledger
from deploy.orchestrator.passes import Planner, TakenUp, TakeUp
from deploy.orchestrator.release_command import ReleaseCommand
from deploy.plan.base import Base
from deploy.plan.forward import (
    Action,
    Create,
    plan,
    slot_name,
)
from deploy.plan.release import (
    DEFAULT_MAX_UNAVAILABLE,
    Release,
    created_config,
    next_number,
)
from deploy.plan.scale import clone_config, plan_scale
from deploy.plan.selection import Selection
from deploy.plan.strategy import Schedule, refuse_unsuited, schedule
from deploy.retries import Retries, asked_for, from_flag, refuse_missing
from deploy.run import Settings, run

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no look-alikes


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A deploy as it was asked for. None is what nobody said."""

    image: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    strategy: str | None = None
    max_unavailable: Decimal | int | None = None
    retries: int | None = None
    flags: str | None = None
    flags_by_option: bool = False
    force: bool = False
    high_availability: bool = True
    update_only: bool = False
    wait_timeout_s: float | None = None
    runs_release_command: bool = True
    settings: Settings = field(default_factory=Settings)


def new_id(now: datetime) -> str:
    """An id that sorts by time: 9 characters of it and 7 of chance."""
    number = int(now.timestamp() * 1000)
    stamp = "".join(_ALPHABET[number >> shift & 31] for shift in range(40, -1, -5))
    return stamp + "".join(secrets.choice(_ALPHABET) for _ in range(7))


def planner_of(selection: Selection) -> Planner:
    """What is left to do for a release, asked before every pass."""

    def planner(release: Release, fleet: Fleet, base: Base, ledger: Ledger) -> tuple[Action, ...]:
        return plan(
            release,
            selection.of(fleet),
            base,
            doubtful=frozenset(ledger.doubtful),
            refused=frozenset(ledger.refused),
        )

    return planner


def release_of(target: Target, order: Order, deploy_id: str) -> Release:
    """The release that fly.toml and the options describe. Raises UsageProblem without an image."""
    config = target.config
    if config is None:
        raise UsageProblem("a deploy needs fly.toml")
    image = order.image or config.image
    if not image:
        raise UsageProblem(
            "no image to deploy",
            hint="name one with --image, in fly.toml as [build] image, or in DEPLOY_IMAGE",
        )
    refuse_unsendable("the image", image)
    if any(character.isspace() for character in image):
        raise UsageProblem(f"{image!r} is no image reference", hint="it has no white space")
    for key, value in order.env.items():
        refuse_unsendable(f"--env {key}", key + value)
    selection = order.settings.selection
    groups = tuple(
        Group(name=g.name, config={**g.config, "env": {**g.config["env"], **order.env}})
        for g in config.groups
        if not selection.process_groups or g.name in selection.process_groups
    )
    unknown = selection.process_groups - {group.name for group in groups}
    if unknown:
        raise UsageProblem(
            f"fly.toml has no process group {', '.join(sorted(unknown))}",
            hint=f"its groups are {', '.join(group.name for group in config.groups)}",
        )
    strategy = order.strategy or config.deploy.strategy or "rolling"
    if not order.settings.waits_for_health and strategy in ("canary", "bluegreen"):
        raise UsageProblem(
            f"strategy {strategy} is made of waiting for health, which --detach leaves out",
            hint="leave --detach out, or use --strategy rolling or immediate",
        )
    said = order.max_unavailable or config.deploy.max_unavailable
    return Release(
        app=target.app,
        deploy_id=deploy_id,
        image=image,
        groups=groups,
        strategy=strategy,
        max_unavailable=said or DEFAULT_MAX_UNAVAILABLE,
        region=config.primary_region or "",
        high_availability=order.high_availability,
        force=order.force,
        update_only=order.update_only or not selection.is_everything,
    )


async def deploy_app(target: Target, order: Order, emit: Emit) -> RunFinished:
    """Bring the app to the release."""
    now = datetime.now(UTC)
    release = release_of(target, order, new_id(now))

    planner = planner_of(order.settings.selection)
    return await start_run("deploy", target, order, release, planner, emit, now)


async def scale_app(
    target: Target, order: Order, group: str, count: int, emit: Emit
) -> RunFinished:
    """Bring a process group to `count` machines, new ones like those it has."""
    now = datetime.now(UTC)
    deploy_id = new_id(now)
    async with connect(target.address, target.token, target.app) as client:
        fleet = (await read_fleet(client)).managed
    release, pattern = _pattern(target, order, fleet, group, deploy_id)

    def planner(release: Release, fleet: Fleet, base: Base, ledger: Ledger) -> tuple[Action, ...]:
        del release, base, ledger
        return plan_scale(fleet, group, count, pattern)

    return await start_run("scale", target, order, release, planner, emit, now)


async def plan_app(target: Target, order: Order) -> tuple[Release, Fleet, Schedule, Retries]:
    """What a deploy would do now; writes nothing."""
    now = datetime.now(UTC)
    async with connect(target.address, target.token, target.app) as client:
        exists, organization = await _owner(client)
        fleet = await read_fleet(client) if exists else Fleet()
    release = release_of(target, order, new_id(now))
    release = replace(release, number=next_number(fleet))
    order.settings.selection.refuse_nothing(fleet)
    refuse_unsuited(release, order.settings.selection.of(fleet))
    base = Base.of(fleet)
    actions = planner_of(order.settings.selection)(release, fleet, base, Ledger())
    order_of_things = schedule(release, fleet, base, actions)
    return release, fleet, order_of_things, _retries(order, target.app, organization, now)


async def look_at(target: Target) -> tuple[Fleet, list[dict[str, Any]]]:
    """The app's machines and, on the embedded platform, where its services are routed."""
    async with connect(target.address, target.token, target.app) as client:
        fleet = await read_fleet(client)
        routes: list[dict[str, Any]] = []
        if is_loopback(urlsplit(target.address).hostname or ""):
            with suppress(CallFailed):
                routes = await client.local_services()
        return fleet, routes


async def start_run(
    command: str,
    target: Target,
    order: Order,
    release: Release,
    planner: Planner,
    emit: Emit,
    now: datetime,
    taken_up: TakenUp | None = None,
    take_up_again: TakeUp | None = None,
) -> RunFinished:
    """One run from its first event to its last: the platform, the path, the passes."""
    if order.flags_by_option and order.retries is None:
        refuse_missing(order.flags)
    run_id = new_id(datetime.now(UTC))
    said = target.config.deploy.wait_timeout_s if target.config else None
    wait_s = order.wait_timeout_s or said or order.settings.wait_timeout_s
    settings = replace(
        order.settings,
        wait_timeout_s=wait_s,
        release_command=_release_command(target, order, command),
    )
    emit(
        RunStarted(
            command=command,
            app=target.app,
            deploy_id=release.deploy_id,
            run_id=run_id,
            image=release.image,
            strategy=release.strategy,
        )
    )
    async with connect(target.address, target.token, target.app) as client:
        exists, organization = await _owner(client)
        retries = _retries(order, target.app, organization, now)
        emit(
            PathChosen(
                path=retries.path,
                retries=retries.count,
                sentence=retries.sentence,
                decision=retries.decision,
            )
        )
        if retries.warning:
            emit(Noticed(message=retries.warning, hint=retries.warning_hint))
        return await run(
            client,
            release,
            planner,
            retries,
            settings,
            run_id=run_id,
            chance=random.Random(),  # noqa: S311 - jitter, not secrets
            emit=emit,
            app_exists=exists,
            organization=target.organization,
            taken_up=taken_up,
            take_up_again=take_up_again,
        )


def _release_command(target: Target, order: Order, command: str) -> ReleaseCommand | None:
    said = target.config.deploy if target.config else None
    asked = order.runs_release_command and command in ("deploy", "resume")
    if said is None or not said.release_command or not asked:
        return None
    return ReleaseCommand(
        command=said.release_command,
        timeout_s=said.release_command_timeout_s or 300.0,
        guest=said.release_command_guest,
    )


async def _owner(client: MachinesClient) -> tuple[bool, str]:
    """(whether the app exists, its organisation); what cannot be read now is left to the run."""
    try:
        return True, await client.organization()
    except CallFailed as failure:
        return failure.status != 404, ""


def _retries(order: Order, app: str, organization: str, now: datetime) -> Retries:
    if order.retries is not None:
        return asked_for(order.retries)
    context = {"app": app} | ({"org": organization} if organization else {})
    return from_flag(order.flags, context=context, now=now)


async def read_fleet(client: MachinesClient) -> Fleet:
    """The app's machines, for commands that only read; says what to do about a missing app."""
    try:
        return Fleet.of(await patience().ask(client.machines))
    except CallFailed as failure:
        if failure.status == 404:
            failure.hint = "check --app; a first `deploy` creates the app"
        raise


def patience() -> Patience:
    """For commands that only read."""
    return Patience(OUTAGE_S, random.Random(time.monotonic_ns()))  # noqa: S311 - jitter


def _pattern(
    target: Target, order: Order, fleet: Fleet, group: str, deploy_id: str
) -> tuple[Release, Create]:
    """A release that stands for what runs, and what a further machine of the group looks like."""
    siblings = fleet.group(group).machines
    if siblings:
        newest = max(siblings, key=lambda machine: machine.version)
        config = clone_config(newest, deploy_id)
        release = Release(app=target.app, deploy_id=deploy_id, image=newest.image, groups=())
        return release, Create(
            name=slot_name(group, 1), group=group, config=config, region=newest.region
        )
    running = next((machine.image for machine in fleet if machine.image), None)
    release = release_of(target, replace(order, image=order.image or running), deploy_id)
    spec = next((spec for spec in release.groups if spec.name == group), None)
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
