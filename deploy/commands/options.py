"""The options of the `deploy` command, in groups, and the types of their values."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

import click

from deploy.commands.target import find_target
from deploy.flytoml.durations import parse_duration_s
from deploy.plan.strategies import STRATEGY_NAMES
from deploy.retries import AUTO

F = TypeVar("F", bound=Callable[..., Any])


def take(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """All of these options on one command, shown in this order."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class Duration(click.ParamType[float]):
    """Seconds, from `90`, `90s`, `5m` or `1m30s`."""

    name = "duration"

    def __init__(self, *, may_be_zero: bool = False) -> None:
        self._may_be_zero = may_be_zero

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        text = str(value)
        try:
            seconds = parse_duration_s(f"{text}s" if text.isdecimal() else text)
        except ValueError:
            self.fail(f"{text!r} is not a valid duration: write 90s, 5m or 1m30s", param, ctx)
        if seconds < 0 or (seconds == 0 and not self._may_be_zero):
            self.fail(f"{text!r} must be positive", param, ctx)
        return seconds


class MaxUnavailable(click.ParamType[Decimal]):
    """A count such as 2, or a fraction such as 0.33 or 33%."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        text = str(value)
        try:
            number = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except InvalidOperation:
            self.fail(f"{text!r} is neither a count (2) nor a fraction (0.33)", param, ctx)
        if not number.is_finite() or number <= 0 or (number > 1 and number != int(number)):
            self.fail(
                f"{text!r}: give a fraction above 0 and below 1, or a count from 1", param, ctx
            )
        return number


TARGET = (
    click.argument(
        "directory",
        metavar="[DIR]",
        default=".",
        type=click.Path(path_type=Path),
    ),
    click.option("--app", "-a", metavar="NAME", help="App name. [default: fly.toml's]"),
    click.option(
        "--config",
        "-c",
        "config_path",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Path of fly.toml. [default: DIR/fly.toml]",
    ),
)


def targeted(*, needs_config: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A command that goes to an app: it gets the `target` that TARGET and the environment name."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_target(
            directory: Path, app: str | None, config_path: Path | None, **options: Any
        ) -> Any:
            target = find_target(
                directory,
                app=app,
                config_path=config_path,
                environ=os.environ,
                needs_config=needs_config,
            )
            return command(target, **options)

        return take(*TARGET)(with_target)

    return decorate


FLAG = (
    click.option(
        "--deploy-retries",
        metavar="auto|N",
        default=AUTO,
        show_default=True,
        help="Passes after the first; 0 takes the legacy path, auto asks the flag.",
    ),
    click.option(
        "--flags",
        metavar="FILE|URL",
        help="Flags to ask; also ROLLOUT_FLAGS. [default: the bundled flags.yaml]",
    ),
)

RELEASE = (
    click.option("--image", "-i", metavar="REF", envvar="DEPLOY_IMAGE", help="Image to deploy."),
    click.option(
        "--env",
        "-e",
        metavar="KEY=VALUE",
        multiple=True,
        help="Set a variable in every process group.",
    ),
    click.option(
        "--strategy", type=click.Choice(STRATEGY_NAMES), help="Rollout strategy. [default: rolling]"
    ),
    click.option(
        "--max-unavailable",
        type=MaxUnavailable(),
        help="Machines of a group that may be out at once: count or fraction. [default: 0.33]",
    ),
    click.option("--force", is_flag=True, help="Update machines that already run this release."),
)

SELECTION = (
    click.option(
        "--only-machines", metavar="ID,...", multiple=True, help="Deploy to these machines only."
    ),
    click.option(
        "--exclude-machines", metavar="ID,...", multiple=True, help="Skip these machines."
    ),
    click.option("--regions", metavar="R,...", multiple=True, help="Deploy to these regions only."),
    click.option(
        "--exclude-regions", metavar="R,...", multiple=True, help="Skip machines in these regions."
    ),
    click.option(
        "--process-groups", metavar="G,...", multiple=True, help="Deploy these process groups only."
    ),
    click.option("--update-only", is_flag=True, help="Update machines; create and destroy none."),
    click.option(
        "--ha/--no-ha", default=True, help="Give a new group a spare machine. [default: ha]"
    ),
    click.option("--detach", is_flag=True, help="Do not wait for machines to become healthy."),
    click.option(
        "--no-smoke-checks", is_flag=True, help="Do not watch machines that have no checks."
    ),
    click.option("--skip-release-command", is_flag=True, help="Do not run release_command."),
)

RUN = (
    click.option(
        "--wait-timeout",
        type=Duration(),
        help="Time for one machine to become healthy. [default: 5m]",
    ),
    click.option(
        "--min-healthy",
        type=Duration(may_be_zero=True),
        envvar="DEPLOY_MIN_HEALTHY",
        show_envvar=True,
        help="Time that canaries, greens and the first machine rolled have to stay healthy. "
        "[default: 5s]",
    ),
    click.option(
        "--lease-timeout",
        type=Duration(),
        default="13s",
        show_default=True,
        help="Time to live of leases; they are refreshed.",
    ),
    click.option(
        "--wait-for-lease",
        type=Duration(),
        help="Wait this long for another deploy to end.",
    ),
    click.option(
        "--on-failure",
        type=click.Choice(["rollback", "hold"]),
        default="rollback",
        show_default=True,
        help="What the retrying path does when it cannot finish.",
    ),
    click.option(
        "--max-concurrent",
        type=click.IntRange(1, 1000),
        default=64,
        show_default=True,
        help="Machines changed at once, whatever the strategy.",
    ),
    click.option(
        "--deadline", type=Duration(), help="Time limit for the deploy, before it turns back."
    ),
    click.option(
        "--report",
        "report_path",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write the report as JSON.",
    ),
    click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="json prints one event a line, the report last.",
    ),
)

OUTPUT = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)

DEPLOY = (*RELEASE, *FLAG, *SELECTION, *RUN)
