"""Commands that go to an app: what they have in common before they begin."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from deploy.commands.environment import check_local, check_reachable
from deploy.commands.options import TARGET, Command, Options
from deploy.commands.target import find_target
from deploy.wording import printable


def app_command(
    name: str,
    *groups: Options,
    needs_config: bool,
    example: str,
    only_looks: bool = False,
    hidden: bool = False,
) -> Callable[[Callable[..., Any]], Command]:
    """A command that goes to an app: it gets the `target` that TARGET and the environment name.

    One that `only_looks` ends at once where the platform cannot be reached; others
    wait for it as long as a deploy does.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        @functools.wraps(function)
        def with_target(
            directory: Path, app: str | None, config_path: Path | None, **options: Any
        ) -> None:
            target = find_target(
                directory,
                app=app,
                config_path=config_path,
                environ=os.environ,
                needs_config=needs_config,
            )
            if target.app_from and target.config:
                of_file = f"{target.app_from}; fly.toml is that of {target.config.app}"
                click.echo(printable(f"app {target.app}, from {of_file}"), err=True)
            check_local(target.address)
            if only_looks:
                check_reachable(target.address, os.environ)
            for warning in target.config.warnings if target.config else ():
                click.echo(f"warning: {warning}", err=True)
            function(target, **options)

        return Command(
            name=name,
            groups=groups if TARGET in groups else (TARGET, *groups),
            example=example,
            callback=with_target,
            help=function.__doc__,
            hidden=hidden,
        )

    return decorate
