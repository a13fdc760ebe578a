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
from deploy.commands.options import OUTPUT, app_command
from deploy.commands.reading import LOOK_S, read_fleet
from deploy.commands.target import Target
from deploy.errors import CallFailed
from deploy.hints import Invocation, Left, ways_out
from deploy.plan.intent import BACK, Intent, read_intent
from deploy.wording import printable, short_image, short_version, table

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
            target.app,
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
    app: str,
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
    machines = fleet.managed
    if as_json:
        return json.dumps(
            {"v": 1, "app": app, "machines": [_machine_json(m) for m in machines], "routes": routes}
        )
    if not machines:
        return f"{app} has no machines yet"
    rows = [_machine_row(machine, is_short=bool(width)) for machine in machines]
    lines = table([_COLUMNS, *rows], width=width, droppable=("version", "region", "group"))
    return "\n".join([*lines, *map(_route, routes), *_warnings(app, machines, holders)])


def _warnings(app: str, machines: Fleet, holders: Sequence[str]) -> list[str]:
    images = sorted({machine.image for machine in machines})
    intents = {intent.deploy: intent for m in machines if (intent := read_intent(m))}
    lines = [printable(_unfinished(app, intent, holders)) for intent in intents.values()]
    if len(images) > 1:
        lines.append(
            f"warning: {printable(app)} runs {len(images)} images "
            f"({', '.join(printable(image) for image in images)}); "
            "deploy the one that you want to bring all machines to it"
        )
    return lines


def _unfinished(app: str, intent: Intent, holders: Sequence[str]) -> str:
    what = f"deploy {intent.deploy} of {intent.image}"
    if holders:
        return f"{what} is under way: {', '.join(holders)} holds its leases"
    left = Left.BACK if intent.direction == BACK else Left.FORWARD
    return f"warning: {what} is unfinished; {ways_out(left, Invocation(app=app))}"


def _machine_row(machine: Machine, *, is_short: bool) -> tuple[str, ...]:
    passing = sum(1 for check in machine.checks if check.status == "passing")
    return (
        machine.id,
        machine.name,
        machine.group,
        machine.region,
        short_version(machine.version) if is_short else machine.version,
        f"{machine.state}, cordoned" if machine.cordoned else machine.state,
        f"{passing}/{machine.configured_checks}" if machine.configured_checks else "-",
        short_image(machine.image) if is_short else machine.image,
    )


def _machine_json(machine: Machine) -> dict[str, Any]:
    return {
        "id": machine.id,
        "name": machine.name,
        "group": machine.group,
        "region": machine.region,
        "version": machine.version,
        "state": machine.state,
        "cordoned": machine.cordoned,
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
