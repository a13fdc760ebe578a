"""`deploy status`: each machine with its version, state and checks."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio
import click

from deploy.addresses import url_is_loopback
from deploy.api.client import connect
from deploy.api.machine import Fleet, Machine
from deploy.commands.on_app import app_command
from deploy.commands.options import OUTPUT
from deploy.commands.reading import LOOK_S, read_fleet
from deploy.commands.target import Target
from deploy.errors import CallFailed
from deploy.hints import Invocation, Left, about_the_dead, ways_out
from deploy.orchestrator.one_off import MACHINE_CHECK, RELEASE_COMMAND, TITLES, left_behind
from deploy.plan.intent import BACK, Intent, overtaken_by, overtaker, read_intent
from deploy.plan.stamps import DEPLOY, is_made_by, is_stamped, replaced_by
from deploy.wording import count, printable, short_image, short_version, table

_COLUMNS = ("machine", "name", "group", "region", "version", "state", "checks", "image")


@app_command(
    "status", OUTPUT, needs_config=False, only_looks=True, example="deploy status --app hello"
)
def status_command(target: Target, output: str) -> None:
    """Show each machine: its version, state and checks."""
    machines, routes, holders = anyio.run(look_at, target)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    click.echo(
        show_status(
            target,
            machines,
            routes,
            holders=holders,
            as_json=output == "json",
            width=width,
        )
    )


async def look_at(target: Target) -> tuple[Fleet, list[dict[str, Any]], list[str]]:
    """The app's machines, where its services are routed, and who deploys it now.

    Routes are known of the bundled platform only; who deploys is read off the
    leases of machines that carry an intent.
    """
    async with connect(target.address, target.token, target.app) as client:
        fleet = await read_fleet(client, within_s=LOOK_S)
        marked = [machine.id for machine in fleet.managed if read_intent(machine)]
        leases = [await client.read_lease(machine_id) for machine_id in marked]
        holders = sorted({lease.owner or "somebody" for lease in leases if lease})
        routes: list[dict[str, Any]] = []
        if url_is_loopback(target.address):
            with suppress(CallFailed):
                routes = await client.local_services()
        return fleet, routes, holders


def show_status(
    target: Target,
    fleet: Fleet,
    routes: Sequence[Mapping[str, Any]],
    *,
    holders: Sequence[str] = (),
    as_json: bool,
    width: int = 0,
) -> str:
    """Each machine with its version, state and checks; a warning where the app is mixed.

    On a terminal of `width` columns names are short, and the columns go that do not fit.
    """
    app, machines, left = target.app, fleet.managed, left_behind(fleet)
    going = [each.id for each in fleet if each.state == "destroying"]
    if as_json:
        told = {
            "v": 1,
            "app": app,
            "machines": [_machine_json(m) for m in machines],
            "release_commands": [_machine_json(m) for m in left if m.group == RELEASE_COMMAND],
            "machine_checks": [_machine_json(m) for m in left if m.group == MACHINE_CHECK],
            "destroying": going,
            "routes": routes,
        }
        return json.dumps(told)
    helpers = [printable(_one_off(each, holders)) for each in left]
    if going:
        helpers.append(f"{count(len(going), 'machine')} being destroyed: {', '.join(going)}")
    if not machines:
        return "\n".join([f"{app} has no machines yet", *helpers])
    rows = [_machine_row(machine, is_short=bool(width)) for machine in machines]
    lines = table([_COLUMNS, *rows], width=width, droppable=("version", "region", "group"))
    warnings = _warnings(target, machines, holders)
    return "\n".join([*lines, *map(_route, routes), *helpers, *warnings])


def _one_off(machine: Machine, holders: Sequence[str]) -> str:
    deploy = machine.metadata[DEPLOY]
    what = f"{machine.id} ({machine.state}) ran {TITLES[machine.group]} of deploy {deploy}"
    return what if holders else f"{what}; the next deploy removes it"


def _warnings(target: Target, machines: Fleet, holders: Sequence[str]) -> list[str]:
    images = sorted({machine.image for machine in machines})
    intents = {intent.deploy: intent for m in machines if (intent := read_intent(m))}
    lines = [
        printable(_unfinished(target, machines, intent, holders)) for intent in intents.values()
    ]
    if len(images) > 1:
        lines.append(
            f"warning: {printable(target.app)} runs {len(images)} images "
            f"({', '.join(printable(image) for image in images)}); "
            "deploy the one that you want to bring all machines to it"
        )
    dead = {machine.id: machine.name for machine in machines if machine.is_dead}
    return [*lines, *([printable(f"warning: {about_the_dead(dead)}")] if dead else [])]


def _unfinished(target: Target, machines: Fleet, intent: Intent, holders: Sequence[str]) -> str:
    what = f"deploy {intent.deploy} of {intent.image}"
    if holders:
        return f"{what} is under way: {', '.join(holders)} holds its leases"
    called = Invocation(
        app=target.app,
        directory=target.directory,
        config=target.config_path,
        finish=intent.finish,
    )
    if (machine := overtaker(machines, intent)) is not None:
        what = f"{what} was left unfinished, and since then {overtaken_by(machine)}"
        return f"warning: {what}; {ways_out(Left.CHANGED, called)}"
    return f"warning: {what} is unfinished; {ways_out(_left(machines, intent), called)}"


def _left(machines: Fleet, intent: Intent) -> Left:
    """How an unfinished deploy has left the app, as far as a look at it can tell."""
    new = [machine for machine in machines if is_stamped(machine, intent.deploy)]
    is_stuck = any(machine.is_dead and (machine in new or machine.cordoned) for machine in machines)
    if intent.direction == BACK:
        return Left.STUCK if is_stuck else Left.BACK
    stood_in = any(replaced_by(machine, intent.deploy) for machine in machines)
    is_first = not stood_in and all(is_made_by(m, intent.deploy) for m in machines)
    fails = any(machine.is_down or not machine.checks_pass for machine in new)
    if is_first:
        return Left.FIRST_APP_FAILED if fails else Left.FIRST
    if is_stuck:
        return Left.STUCK if fails else Left.NO_WAY_BACK
    return Left.APP_FAILED if fails else Left.FORWARD


def _machine_row(machine: Machine, *, is_short: bool) -> tuple[str, ...]:
    passing = sum(1 for check in machine.checks if check.status == "passing")
    cordoned = "cordoned" if machine.cordoned else ""
    return (
        machine.id,
        machine.name,
        machine.group,
        machine.region,
        short_version(machine.version) if is_short else machine.version,
        ", ".join(filter(None, (machine.state, cordoned, _host(machine)))),
        f"{passing}/{machine.configured_checks}" if machine.configured_checks else "-",
        short_image(machine.image) if is_short else machine.image,
    )


def _host(machine: Machine) -> str:
    """What is wrong with its host, of which nobody knows how the machine does."""
    return f"host {machine.host_status}" if machine.host_status != "ok" else ""


def _machine_json(machine: Machine) -> dict[str, Any]:
    return {
        "id": machine.id,
        "name": machine.name,
        "group": machine.group,
        "region": machine.region,
        "version": machine.version,
        "state": machine.state,
        "cordoned": machine.cordoned,
        "host_status": machine.host_status,
        "image": machine.image,
        "release": machine.metadata.get("fly_release_version", ""),
        "checks": [
            {"name": check.name, "status": check.status, "output": check.output}
            for check in machine.checks
        ],
    }


def _route(route: Mapping[str, Any]) -> str:
    asked, address = route.get("port"), route.get("address") or route.get("url")
    return printable(f"service port {asked} is at {address}")
