"""`deploy history`: the deploys that the platform's versions still know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import anyio
import click

from deploy.api.client import connect
from deploy.commands.on_app import app_command
from deploy.commands.options import OUTPUT
from deploy.commands.reading import LOOK_S, patience, read_fleet, read_versions
from deploy.commands.target import Target
from deploy.plan.history import PastRelease, releases_of
from deploy.wording import table

_COLUMNS = ("release", "deploy", "began", "by", "outcome", "machines", "image", "")


@app_command(
    "history", OUTPUT, needs_config=False, only_looks=True, example="deploy history --app hello"
)
def history_command(target: Target, output: str) -> None:
    """Show the deploys that the platform still knows, newest first."""
    releases = anyio.run(history_of, target)
    click.echo(show_history(target.app, releases, as_json=output == "json"))


async def history_of(target: Target) -> list[PastRelease]:
    """The deploys that the platform's versions still know, newest first."""
    async with connect(target.address, target.token, target.app) as client:
        fleet = (await read_fleet(client, within_s=LOOK_S)).managed
        return releases_of(fleet, await read_versions(client, fleet.machines, patience()))


def show_history(app: str, releases: Sequence[PastRelease], *, as_json: bool) -> str:
    """A line for each deploy, newest first; times are in UTC."""
    if as_json:
        told = [asdict(each) | {"at": each.at and each.at.isoformat()} for each in releases]
        return json.dumps({"v": 1, "app": app, "releases": told})
    if not releases:
        return f"{app} has no machines, and so no history"
    return "\n".join(table([_COLUMNS, *map(_row, releases)]))


def _row(release: PastRelease) -> tuple[str, ...]:
    is_whole = release.machines == release.present
    return (
        str(release.number) if release.number and not release.is_number_shared else "-",
        release.deploy or "-",
        f"{release.at:%Y-%m-%d %H:%M:%S}" if release.at else "-",
        "deploy" if release.is_ours else "another tool",
        release.outcome,
        str(release.machines) if is_whole else f"{release.machines} of {release.present}",
        release.image,
        "runs now" if release.is_current else "",
    )
