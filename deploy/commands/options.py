"""The options of `deploy`, under their headings, named for the fields that they set.

An option of a run is called in code as a field of `Order`, of its `Settings` or
of their `Selection` is: so `order_of` reads it without a list of its own. What an
option needs to be read or completed is loaded then: the help shows all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

from deploy.commands.values import (
    Duration,
    MaxUnavailable,
    lease,
    names,
    pairs_of,
    secrets_of,
    unless,
)
from deploy.plan.strategies import STRATEGY_NAMES


class Options(NamedTuple):
    """Options that belong together, under one heading of the help."""

    heading: str
    params: tuple[click.Parameter, ...]


def _later(module: str, function: str) -> Callable[..., Any]:
    """The function of that module of deploy/, loaded when it is called."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(f"deploy.{module}"), function)(*arguments)

    return call


_COMPLETE_GROUP = _later("commands.completion", "complete_group")
_COMPLETE_MACHINE = _later("commands.completion", "complete_machine")
_RETRIES = _later("retries", "parse_setting")


def _several(name: str, metavar: str, help_: str, complete: Any = None) -> click.Option:
    return click.Option(
        [name], metavar=metavar, multiple=True, callback=names, help=help_, shell_complete=complete
    )


TARGET = Options(
    "App",
    (
        click.Argument(
            ["directory"],
            metavar="[DIR]",
            default=".",
            type=click.Path(path_type=Path),
            shell_complete=_later("commands.completion", "complete_directory"),
        ),
        click.Option(
            ["--app", "-a"],
            metavar="NAME",
            shell_complete=_later("commands.completion", "complete_app"),
            help="App name, also FLY_APP. [default: fly.toml's]",
        ),
        click.Option(
            ["--config", "-c", "config_path"],
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Path of fly.toml, also FLY_CONFIG. [default: DIR/fly.toml]",
        ),
    ),
)

IMAGE = click.Option(
    ["--image", "-i"], metavar="REF", envvar="DEPLOY_IMAGE", help="Image to deploy."
)
ENV = click.Option(
    ["--env", "-e"],
    metavar="KEY=VALUE",
    multiple=True,
    callback=pairs_of,
    help="Set a variable in every process group.",
)
MAX_UNAVAILABLE = click.Option(
    ["--max-unavailable"],
    type=MaxUnavailable(),
    help="Machines of a group that may be out at once: count or fraction. [default: 0.33]",
)
FORCE = click.Option(
    ["--force"], is_flag=True, help="Update machines that already run this release."
)
RELEASE = Options(
    "Release",
    (
        IMAGE,
        ENV,
        click.Option(
            ["--strategy"],
            type=click.Choice(STRATEGY_NAMES),
            help="Rollout strategy. [default: rolling]",
        ),
        MAX_UNAVAILABLE,
        FORCE,
    ),
)

BUILD = Options(
    "Build",
    (
        click.Option(
            ["--build"],
            metavar="[DIR]",
            is_flag=False,
            flag_value="",
            help="Build the image from DIR and deploy it. [default: fly.toml's directory]",
        ),
        click.Option(
            ["--build-arg", "build_args"],
            metavar="KEY=VALUE",
            multiple=True,
            callback=pairs_of,
            help="Set an ARG of the Dockerfile.",
        ),
        click.Option(
            ["--build-secret", "build_secrets"],
            metavar="NAME[=VALUE]",
            multiple=True,
            callback=secrets_of,
            help="Mount a secret; without VALUE that of the variable NAME.",
        ),
        click.Option(["--no-cache"], is_flag=True, help="Build every layer anew."),
        click.Option(["--build-only"], is_flag=True, help="Build, and deploy nothing."),
        click.Option(
            ["--push/--no-push", "pushes"],
            default=None,
            help="Push what is built. [default: push, unless --build-only]",
        ),
        click.Option(
            ["--registry"],
            metavar="HOST[/PATH]",
            default="registry.fly.io",
            show_default=True,
            help="Registry to push to.",
        ),
    ),
)

FLAG = Options(
    "Retries",
    (
        click.Option(
            ["--deploy-retries", "retries"],
            metavar="auto|N",
            default="auto",
            show_default=True,
            callback=lambda _ctx, _param, text: _RETRIES(text),
            help="Passes after the first; 0 takes the legacy path, auto asks the flag.",
        ),
        click.Option(
            ["--flags"],
            metavar="FILE|URL",
            help="Flags to ask, also ROLLOUT_FLAGS. [default: the bundled flags.yaml]",
        ),
    ),
)

SELECTION = Options(
    "Machines",
    (
        _several("--only-machines", "ID,...", "Deploy to these machines only.", _COMPLETE_MACHINE),
        _several("--exclude-machines", "ID,...", "Skip these machines.", _COMPLETE_MACHINE),
        _several("--regions", "R,...", "Deploy to these regions only."),
        _several("--exclude-regions", "R,...", "Skip machines in these regions."),
        _several("--process-groups", "G,...", "Deploy these process groups only.", _COMPLETE_GROUP),
        click.Option(
            ["--update-only"], is_flag=True, help="Update machines; create and destroy none."
        ),
        click.Option(
            ["--ha/--no-ha", "high_availability"],
            default=True,
            help="Give a new group a spare machine. [default: ha]",
        ),
    ),
)

HEALTH = Options(
    "Health",
    (
        click.Option(
            ["--detach", "waits_for_health"],
            is_flag=True,
            callback=unless,
            help="Do not wait for machines to become healthy.",
        ),
        click.Option(
            ["--no-smoke-checks", "smoke_s"],
            is_flag=True,
            callback=lambda _ctx, _param, is_given: 0.0 if is_given else None,
            help="Do not watch machines that have no checks.",
        ),
        click.Option(
            ["--skip-release-command", "runs_release_command"],
            is_flag=True,
            callback=unless,
            help="Do not run release_command.",
        ),
    ),
)

RUN = Options(
    "Run",
    (
        click.Option(
            ["--wait-timeout", "wait_timeout_s"],
            type=Duration(),
            help="Time for one machine to become healthy. [default: 5m]",
        ),
        click.Option(
            ["--min-healthy", "min_healthy_s"],
            type=Duration(may_be_zero=True),
            envvar="DEPLOY_MIN_HEALTHY",
            show_envvar=True,
            help="Time that canaries, greens and the first machine rolled have to stay healthy. "
            "[default: 5s]",
        ),
        click.Option(
            ["--lease-timeout", "lease_ttl_s"],
            type=Duration(),
            default="13s",
            show_default=True,
            callback=lease,
            help="Time to live of leases, longer for large fleets; they are refreshed.",
        ),
        click.Option(
            ["--wait-for-lease", "wait_for_lease_s"],
            type=Duration(),
            help="Wait this long for another deploy to end.",
        ),
        click.Option(
            ["--on-failure", "rolls_back"],
            type=click.Choice(["rollback", "hold"]),
            default="rollback",
            show_default=True,
            callback=lambda _ctx, _param, choice: choice == "rollback",
            help="What the retrying path does when it cannot finish.",
        ),
        click.Option(
            ["--max-concurrent"],
            type=click.IntRange(1, 1000),
            default=64,
            show_default=True,
            help="Machines changed at once, whatever the strategy.",
        ),
        click.Option(
            ["--deadline", "deadline_s"],
            type=Duration(),
            help="Time limit for the deploy, before it turns back.",
        ),
        click.Option(
            ["--report", "report_path"],
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Write the report as JSON.",
        ),
        click.Option(
            ["--reports"],
            metavar="DIR",
            envvar="DEPLOY_REPORTS",
            type=click.Path(file_okay=False, path_type=Path),
            help="Keep a record of every run there, for rollout guard.",
        ),
        click.Option(
            ["--output"],
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="json prints one event a line, the report last.",
        ),
    ),
)

NOTIFY = Options(
    "Tell others",
    (
        click.Option(
            ["--notify", "notify_path"],
            metavar="FILE",
            envvar="DEPLOY_NOTIFY",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Webhooks, hooks, traces. [default: DIR/tidegate.toml, where there is one]",
        ),
        click.Option(
            ["--webhook"],
            metavar="URL",
            envvar="DEPLOY_WEBHOOK",
            help="POST the report there at the end.",
        ),
        click.Option(
            ["--metrics"],
            metavar="FILE",
            envvar="DEPLOY_METRICS",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Write metrics for Prometheus.",
        ),
        click.Option(
            ["--no-hooks", "runs_hooks"],
            is_flag=True,
            callback=unless,
            help="Run no pre-deploy and post-deploy hooks.",
        ),
    ),
)

OUTPUT = Options(
    "Output",
    (
        click.Option(
            ["--output"],
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="json prints one object.",
        ),
    ),
)

CONSENT = Options(
    "Consent",
    (
        click.Option(
            ["--yes", "-y"],
            is_flag=True,
            help="Create volumes, and destroy groups that another app's fly.toml lacks, unasked.",
        ),
    ),
)

DEPLOY = (RELEASE, BUILD, FLAG, SELECTION, HEALTH, RUN, NOTIFY, CONSENT)


class Command(click.Command):
    """A command whose help has its options under their headings, and an example at the end."""

    def __init__(self, *, groups: tuple[Options, ...], example: str, **attributes: Any) -> None:
        params = [param for group in groups for param in group.params]
        super().__init__(params=params, epilog=f"Example: {example}", **attributes)
        self._groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group in self._groups:
            write_options(group.heading, group.params, ctx, formatter)
        help_option = self.get_help_option(ctx)
        if help_option is not None:
            write_options("Help", (help_option,), ctx, formatter)


def write_options(
    heading: str,
    params: tuple[click.Parameter, ...],
    ctx: click.Context,
    formatter: click.HelpFormatter,
) -> None:
    """One section of a help text."""
    options = [param for param in params if isinstance(param, click.Option)]
    rows = [row for option in options if (row := option.get_help_record(ctx)) is not None]
    if rows:
        with formatter.section(heading):
            formatter.write_dl(rows)
