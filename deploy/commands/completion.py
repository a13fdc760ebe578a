"""Values for the shell to complete: what this computer knows without asking the platform.

Never raises and never waits: a name that cannot be read is not offered.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from deploy.commands.target import read_config
from deploy.errors import DeployError
from deploy.flytoml.appconfig import AppConfig
from deploy.readers import journal
from deploy.readers.report import Report


def complete_app(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """The app of fly.toml, and those that were deployed from here."""
    config = _config(ctx)
    return _begin(begun, [config.app if config else None, *(each.started.app for each in _runs())])


def complete_directory(_ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Left to the shell, which knows directories."""
    return [CompletionItem(begun, type="dir")]


def complete_group(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    config = _config(ctx)
    return _begin(begun, [group.name for group in config.groups] if config else [])


def complete_machine(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """The machines of the app at the end of its newest run from here."""
    config = _config(ctx)
    app = ctx.params.get("app") or (config.app if config else None)
    newest = next((each for each in _runs() if app in (None, each.started.app)), None)
    with suppress(OSError):
        report = Report.of(journal.read(newest.path) if newest else ())
        return _begin(begun, [machine.machine_id for machine in report.machines])
    return []


def complete_run(_ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    return _begin(begun, [each.started.run_id for each in _runs()])


def _begin(begun: str, names: Iterable[str | None]) -> list[str]:
    """Each once, and only what begins so; after a comma, the name that comes next."""
    before, comma, last = begun.rpartition(",")
    known = dict.fromkeys(name for name in names if name and name.startswith(last))
    return [f"{before}{comma}{name}" for name in known]


def _runs() -> list[journal.Kept]:
    with suppress(OSError):
        return journal.runs(journal.default_directory())
    return []


def _config(ctx: click.Context) -> AppConfig | None:
    path = ctx.params.get("config_path") or Path(ctx.params.get("directory") or ".") / "fly.toml"
    with suppress(DeployError):
        return read_config(Path(path))
    return None
