"""`deploy logs`: what the machines of an app wrote, where the platform is the local one."""

from __future__ import annotations

import json
from shlex import quote
from typing import Any

import anyio
import click

from deploy.addresses import url_is_loopback
from deploy.api.client import MachinesClient, connect
from deploy.api.wire import LogLine
from deploy.commands.completion import complete_machine
from deploy.commands.on_app import app_command
from deploy.commands.options import TARGET, Options
from deploy.commands.reading import LOOK_S, read_fleet
from deploy.commands.target import Target
from deploy.errors import CallFailed, UsageProblem
from deploy.wording import printable

_LOGS = Options(
    "Logs",
    (
        click.Argument(
            ["machine"], metavar="[MACHINE]", required=False, shell_complete=complete_machine
        ),
        click.Option(["--follow", "-f"], is_flag=True, help="Go on as lines come, until Ctrl-C."),
        click.Option(
            ["--lines", "-n"],
            metavar="N",
            type=click.IntRange(1, 1000),
            default=100,
            show_default=True,
            help="Newest lines to show.",
        ),
        click.Option(
            ["--output"],
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="json prints one object a line.",
        ),
    ),
)


@app_command(
    "logs",
    _LOGS,
    TARGET,
    needs_config=False,
    example="deploy logs app-1 --follow",
)
def logs_command(target: Target, machine: str | None, output: str, **options: Any) -> None:
    """Show what machines wrote, on the local platform. MACHINE is a name or an id."""
    if not url_is_loopback(target.address):
        of = f" --machine {quote(machine)}" if machine else ""
        raise UsageProblem(
            "logs are shown of the local platform only",
            hint=f"on Fly.io: `fly logs --app {quote(target.app)}{of}`",
        )
    anyio.run(_show, target, machine, output == "json", options["lines"], options["follow"])


async def _show(
    target: Target, machine: str | None, as_json: bool, lines: int, follow: bool
) -> None:
    async with connect(target.address, target.token, target.app) as client:
        machine_id = await _id_of(client, target, machine) if machine else ""
        try:
            async for line in client.local_logs(machine_id, lines=lines, follow=follow):
                click.echo(_as_json(line) if as_json else f"{printable(line.name)} | {_bare(line)}")
        except CallFailed as failure:
            if failure.status == 404:
                failure.hint = "check --app; only `deploy local up` has logs to show"
            raise


async def _id_of(client: MachinesClient, target: Target, machine: str) -> str:
    """By id, else by name. Raises UsageProblem for one that the app does not have."""
    fleet = await read_fleet(client, within_s=LOOK_S)
    found = next((each for each in fleet if machine in (each.id, each.name)), None)
    if found is not None:
        return found.id
    known = ", ".join(sorted(printable(each.name or each.id) for each in fleet)) or "none"
    raise UsageProblem(
        f"app {target.app} has no machine {printable(machine)}", hint=f"its machines are {known}"
    )


def _bare(line: LogLine) -> str:
    """As it was set, indentation included, and without what could steer the screen."""
    text = line.line.expandtabs(4)
    return " " * (len(text) - len(text.lstrip(" "))) + printable(text)


def _as_json(line: LogLine) -> str:
    return json.dumps(
        {"machine": line.machine, "name": line.name, "at": line.at, "line": line.line}
    )
