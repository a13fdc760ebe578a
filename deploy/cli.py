"""The `deploy` command: finds the command asked for, renders errors, sets the exit code.

Each command is a module under deploy/commands and is loaded when it is used:
`--help` and `--version` load neither httpx nor starlette nor rich.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Collection, Sequence
from importlib import import_module
from pathlib import Path

import click
from click_default_group import DefaultGroup

from deploy.commands.options import DEPLOY, TARGET, take
from deploy.errors import (
    EXIT_IN_BETWEEN,
    EXIT_INTERRUPTED,
    DeployError,
    UsageProblem,
)

_COMMANDS = {
    "run": ("commands.deploy:run_command", "Deploy the app in DIR."),
    "history": (
        "commands.history:history_command",
        "Show the releases that the platform still knows, newest first.",
    ),
    "local": ("local.cli:local", "Run the Machines API on this computer."),
    "plan": ("commands.plan:plan_command", "Show what a deploy would do, and change nothing."),
    "report": (
        "commands.report:report_command",
        "Show a finished run from the journal on this computer.",
    ),
    "resume": (
        "commands.resume:resume_command",
        "Finish a deploy that was left unfinished, from any computer.",
    ),
    "rollback": (
        "commands.rollback:rollback_command",
        "Bring back what ran before the newest deploy, finished or not.",
    ),
    "scale": (
        "commands.scale:scale_command",
        "Create or destroy machines until process group GROUP has N.",
    ),
    "status": (
        "commands.status:status_command",
        "Show each machine: its version, state and checks.",
    ),
}
"""Command -> its module and function, and its line in the help, which loads none of them."""

_EPILOG = """\b
Exit codes:
  0    done; what could not be cleaned up is named
  1    failed, and the app is as it was before
  2    usage or configuration
  3    in between: every machine and what it runs is listed
  4    refused by the platform's API
  5    leased, or meanwhile overtaken, by another deploy: it is named
  6    the platform is down
  130  interrupted: what runs where is listed
"""


def main() -> None:
    """The entry point; errors of ours are one line and a hint, never a traceback."""
    try:
        cli(prog_name="deploy", standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        sys.exit(_render_usage(error))
    except BaseExceptionGroup as group:
        sys.exit(_render_group(group))
    except DeployError as error:
        sys.exit(_render(error))
    except Exception as fault:
        sys.exit(_render_fault(fault))


class _Group(DefaultGroup):
    """`deploy DIR` is `deploy run DIR`; its options are shown with the commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _refuse_ambiguous(args, _COMMANDS)
        return list(super().parse_args(ctx, args))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        run: click.Command = click.command("run")(take(*TARGET, *DEPLOY)(lambda **_: None))
        run.format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in _COMMANDS.items()][1:])

    def list_commands(self, _: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            ctx.arg0 = cmd_name  # type: ignore[attr-defined]  # DefaultGroup hands it on as DIR
            cmd_name = "run"
        module, _, function = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"deploy.{module}"), function)
        return command


@click.group(
    cls=_Group,
    default="run",
    default_if_no_args=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="tidegate", prog_name="deploy")
def cli() -> None:
    """Bring an app's machines to a new image: `deploy [DIR]`.

    DIR (the current directory without it) holds fly.toml. The platform is
    FLY_FLAPS_BASE_URL (https://api.machines.dev), the token FLY_API_TOKEN.
    """


def _refuse_ambiguous(args: Sequence[str], commands: Collection[str]) -> None:
    """`deploy status` where ./status is an app of its own could mean either."""
    if len(args) != 1 or args[0] not in commands:
        return
    if (Path(args[0]) / "fly.toml").is_file():
        raise UsageProblem(
            f"{args[0]} is a command and a directory with a fly.toml",
            hint=f"write `deploy ./{args[0]}` to deploy the directory, "
            f"`deploy {args[0]} .` for the command",
        )


def _render(error: DeployError) -> int:
    """One line, a hint, and the code that it ends with."""
    from deploy.wording import printable

    # Ours may have several lines; a server's words get one, and may not steer the screen.
    said = str(error) if isinstance(error, UsageProblem) else printable(str(error))
    click.echo(f"error: {said}", err=True)
    if error.hint:
        click.echo(f"  hint: {error.hint}", err=True)
    return error.exit_code


def _render_usage(error: click.ClickException) -> int:
    """What click refuses, in the form of our own errors."""
    ctx = getattr(error, "ctx", None)
    command = ctx.command_path.removesuffix(" run") if ctx else "deploy"
    click.echo(f"error: {' '.join(error.format_message().split())}", err=True)
    click.echo(f"  hint: `{command} --help` shows the options", err=True)
    return error.exit_code


def _render_group(group: BaseExceptionGroup[BaseException]) -> int:
    """Tasks that failed together: each of our errors by itself; anything else is a bug."""
    ours, others = group.split(DeployError)
    if others is not None:
        return _render_fault(others)
    errors = list(_leaves(ours)) if ours else []
    return max((_render(error) for error in errors), default=1)


def _render_fault(fault: BaseException) -> int:
    """A bug in this program. A run may have been under way, so the app may be in between."""
    if os.environ.get("TIDEGATE_TRACEBACK"):
        traceback.print_exception(fault)
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    click.echo(f"error: tidegate itself failed: {type(fault).__name__}: {fault}", err=True)
    click.echo(
        "  hint: look with `deploy status`; TIDEGATE_TRACEBACK=1 shows where, for a bug report",
        err=True,
    )
    return EXIT_IN_BETWEEN


def _leaves(group: BaseExceptionGroup[DeployError]) -> list[DeployError]:
    found: list[DeployError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
