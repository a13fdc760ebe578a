"""What a run does only with consent: what costs money, and what a slip would destroy.

Asked before the run begins: on a terminal as a question, elsewhere by --yes.
Where neither can be the case, nothing is looked at.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from shlex import join

import click

from deploy.addresses import url_is_loopback
from deploy.api.client import connect
from deploy.api.machine import Fleet
from deploy.commands.order import Order, release_of
from deploy.commands.reading import owner_of, patience, read_fleet
from deploy.commands.target import Target
from deploy.errors import UsageProblem
from deploy.plan.actions import Action, Destroy
from deploy.plan.base import Base
from deploy.plan.forward import Situation
from deploy.plan.planners import Planner, towards_release
from deploy.plan.release import Release
from deploy.plan.volumes import Volume, missing_volumes
from deploy.wording import count


def get_consent(doubts: Sequence[str], *, is_given: bool) -> None:
    """Return where nothing is doubtful or everything is wanted. Raises UsageProblem."""
    if not doubts or is_given:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageProblem("; ".join(doubts), hint="give --yes if that is wanted")
    for doubt in doubts:
        click.echo(doubt, err=True)
    if not click.confirm("Go on?", err=True):
        raise UsageProblem("not confirmed, and nothing was changed")


async def doubts_of_deploy(target: Target, order: Order) -> list[str]:
    """What a deploy would do that it is not to do unasked."""
    config = target.config
    if config is None:
        return []
    is_anothers = config.app not in (None, target.app)
    buys = any(group.has_mounts for group in config.groups) and _costs_money(target)
    if not (is_anothers or buys):
        return []
    release = release_of(target, order, "")
    fleet, free = await _look(target)
    actions = planned(release, fleet, towards_release(order.settings.selection))
    doubts = _destroyed_groups(target, release, actions) if is_anothers else []
    return doubts + (bought_volumes(target, actions, free) if buys else [])


async def doubts_of_scale(target: Target, release: Release, planner: Planner) -> list[str]:
    """The same for more machines like those there are."""
    if not _costs_money(target):
        return []
    fleet, free = await _look(target)
    return bought_volumes(target, planned(release, fleet, planner), free)


def planned(release: Release, fleet: Fleet, planner: Planner) -> tuple[Action, ...]:
    return planner(Situation(release=release, fleet=fleet, base=Base.of(fleet)))


def bought_volumes(
    target: Target, actions: Sequence[Action], free: list[Volume] | None
) -> list[str]:
    """A line for each kind of volume that is not there; `free` is None without volumes at all."""
    if free is None:
        return []
    wanted = Counter(missing_volumes(actions, free))
    return [
        f"no free volume {name}{f' in {region}' if region else ''} for "
        f"{count(many, 'machine')}: {many} of 1 GB would be created, which costs money "
        f"(or create them first: `{_create_volume(target.app, name, region)}`)"
        for (name, region), many in wanted.items()
    ]


def _create_volume(app: str, name: str, region: str) -> str:
    where = ["--region", region] if region else []
    return join(["fly", "volumes", "create", name, "--app", app, "--size", "1", *where])


def _destroyed_groups(target: Target, release: Release, actions: Sequence[Action]) -> list[str]:
    config = target.config
    gone = Counter(
        action.group
        for action in actions
        if isinstance(action, Destroy) and release.group(action.group) is None
    )
    if config is None or not gone:
        return []
    groups = ", ".join(f"{group} ({count(many, 'machine')})" for group, many in gone.items())
    owner = f"fly.toml is that of app {config.app}"
    return [f"{owner}: {target.app} would lose what that does not have, process group {groups}"]


def _costs_money(target: Target) -> bool:
    """The bundled platform has volumes in name only."""
    return not url_is_loopback(target.address)


async def _look(target: Target) -> tuple[Fleet, list[Volume] | None]:
    async with connect(target.address, target.token, target.app) as client:
        exists, _ = await owner_of(client)
        fleet = await read_fleet(client) if exists else Fleet()
        return fleet, (await patience().ask(client.free_volumes) if exists else [])
