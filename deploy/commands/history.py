"""`deploy history`: the releases that the platform's versions still know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import anyio
import click

from deploy.api.client import connect
from deploy.commands.on_app import app_command
from deploy.commands.options import OUTPUT
from deploy.commands.reading import LOOK_S, patience, read_fleet, read_versions
from deploy.commands.target import Target
from deploy.wording import table


@app_command(
    "history", OUTPUT, needs_config=False, only_looks=True, example="deploy history --app hello"
)
def history_command(target: Target, output: str) -> None:
    """Show the releases that the platform still knows, newest first."""
    releases = anyio.run(history_of, target)
    click.echo(show_history(target.app, releases, as_json=output == "json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRelease:
    """One release as the platform's versions tell of it; `machines` of the present ones ran it."""

    number: int
    deploy: str
    image: str
    machines: int
    is_current: bool


async def history_of(target: Target) -> list[PastRelease]:
    """The releases that the platform's versions still know, newest first."""
    async with connect(target.address, target.token, target.app) as client:
        fleet = (await read_fleet(client, within_s=LOOK_S)).managed
        known = await read_versions(client, fleet.machines, patience())
    ran: dict[tuple[int, str, str], set[str]] = {}
    for machine in fleet:
        configs = [*known.get(machine.id, {}).values(), machine.config]
        for config in configs:
            metadata = config.get("metadata") or {}
            number = str(metadata.get("fly_release_version", "0"))
            key = (
                int(number) if number.isdecimal() else 0,
                str(metadata.get("fly_release_id", "")),
                str(config.get("image", "")),
            )
            ran.setdefault(key, set()).add(machine.id)
    current = {(m.metadata.get("fly_release_id", ""), m.image) for m in fleet}
    return [
        PastRelease(
            number=number,
            deploy=deploy,
            image=image,
            machines=len(machines),
            is_current=(deploy, image) in current,
        )
        for (number, deploy, image), machines in sorted(ran.items(), reverse=True)
    ]


def show_history(app: str, releases: Sequence[PastRelease], *, as_json: bool) -> str:
    """The releases that the platform's versions know, newest first."""
    if as_json:
        return json.dumps({"v": 1, "app": app, "releases": [asdict(each) for each in releases]})
    if not releases:
        return f"{app} has no machines, and so no history"
    rows = [("release", "deploy", "machines", "image", "")]
    rows += [
        (str(r.number), r.deploy, str(r.machines), r.image, "runs now" if r.is_current else "")
        for r in releases
    ]
    return "\n".join(table(rows))
