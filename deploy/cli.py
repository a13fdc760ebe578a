"""The `deploy` command: finds the command asked for, renders errors, sets the exit code.

Each command is a module under deploy/commands and is loaded when it is used:
`--help` and `--version` load neither httpx nor starlette nor rich.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from deploy.commands.guesses import about_option
from deploy.commands.options import DEPLOY, TARGET, write_options
from deploy.commands.words import HELP_OPTIONS, run_options, with_command
from deploy.errors import EXIT_INTERRUPTED, OwnFault, UsageProblem, as_ours, each_of
from deploy.streams import forgive_output
from deploy.wording import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# By default every 700: an eighth of the processor time of a deploy of 1,000 machines, whose
# lists stay while requests come and go.
_NEW_OBJECTS_A_COLLECTION = 10_000

_COMMANDS = {
    "run": ("commands.deploy:run_command", "Deploy the app in DIR."),
    "plan": ("commands.plan:plan_command", "Show what a deploy would do, and change nothing."),
    "status": (
        "commands.status:status_command",
        "Show each machine: its version, state and checks.",
    ),
    "logs": (
        "commands.logs:logs_command",
        "Show what machines wrote, on the local platform.",
    ),
    "scale": (
        "commands.scale:scale_command",
        "Create or destroy machines until process group GROUP has N.",
    ),
    "resume": (
        "commands.resume:resume_command",
        "Finish a deploy that was left unfinished, from any computer.",
    ),
    "rollback": (
        "commands.rollback:rollback_command",
        "Bring back what ran before the newest deploy, finished or not.",
    ),
    "history": (
        "commands.history:history_command",
        "Show the deploys that the platform still knows, newest first.",
    ),
    "report": (
        "commands.report:report_command",
        "Show a finished run from the journal on this computer.",
    ),
    "local": ("local.cli:local", "Run the Machines API on this computer."),
    "completion": (
        "commands.shells:completion_command",
        "Print the script that lets SHELL complete commands.",
    ),
}
"""Command -> its module and function, and its line in the help, which loads none of them."""

_EPILOG = """\b
Example: deploy --image registry.fly.io/hello:v2
\b
Exit codes:
  0    done; what could not be cleaned up is named
  1    failed, and the app is as it was before
  2    usage or configuration
  3    in between: every machine and what it runs is listed
  4    refused by the platform's API
  5    leased, or meanwhile overtaken, by another deploy: it is named
  6    the platform is down
  7    the image could not be built or pushed
  130  interrupted: what runs where is listed
"""


def main() -> None:
    """The entry point; errors of ours are one line and a hint, never a traceback."""
    gc.set_threshold(_NEW_OBJECTS_A_COLLECTION)
    atexit.register(gc.freeze)  # or Python's end looks for garbage in all of it: 80 ms
    # httpx loads its own command line with itself: an eighth of the time to the first request.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: not to be loaded
    try:
        forgive_output()
        sys.exit(cli(prog_name="deploy", standalone_mode=False))
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as bare:
        click.echo(bare.ctx.get_help())
    except click.ClickException as error:
        sys.exit(_render_usage(error))
    except Exception as error:
        sys.exit(max(map(_render, each_of(error))))


class _Group(click.Group):
    """`deploy DIR` is `deploy run DIR`; the options of that are shown with the commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:  # which is how a shell completes
            args = with_command(args, _COMMANDS)
        elif args and args[0].startswith("-"):
            args = ["run", *args]
        return list(super().parse_args(ctx, args))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group in (TARGET, *DEPLOY):
            write_options(group.heading, group.params, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in _COMMANDS.items()][1:])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and the options of a deploy, without loading any; else its directory."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return run_options().shell_complete(ctx, incomplete)
        found = [
            CompletionItem(name, help=help_)
            for name, (_, help_) in list(_COMMANDS.items())[1:]
            if name.startswith(incomplete)
        ]
        return found or [CompletionItem(incomplete, type="dir")]

    def list_commands(self, _: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, function = _COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(f"deploy.{module}"), function)
        return command


@click.group(
    cls=_Group,
    epilog=_EPILOG,
    context_settings={"help_option_names": HELP_OPTIONS, "max_content_width": 100},
)
@click.version_option(package_name="tidegate", prog_name="deploy")
def cli() -> None:
    """Bring an app's machines to a new image: `deploy [DIR]`.

    DIR (the current directory without it) holds fly.toml. The platform is
    FLY_FLAPS_BASE_URL (https://api.machines.dev), the token FLY_API_TOKEN.
    """


def _render(error: Exception) -> int:
    """One line, a hint, and the code that it ends with."""
    ours = as_ours(error)
    if ours is not error and os.environ.get("TIDEGATE_TRACEBACK"):
        sys.excepthook(type(error), error, error.__traceback__)
    # Ours may have several lines; a server's words get one, and may not steer the screen.
    said = str(ours) if isinstance(ours, UsageProblem | OwnFault) else printable(str(ours))
    _say(said, ours.hint)
    return ours.exit_code


def _render_usage(error: click.ClickException) -> int:
    """What click refuses, in the form of our own errors."""
    ctx = getattr(error, "ctx", None)
    command = ctx.command_path.removesuffix(" run") if ctx else "deploy"
    hint = f"`{command} --help` shows the options"
    if isinstance(error, click.NoSuchOption | click.BadOptionUsage):
        hint = about_option(error.option_name) or hint
    _say(" ".join(error.format_message().split()), hint)
    return error.exit_code


def _say(message: str, hint: str) -> None:
    click.echo(f"Error: {message}", err=True)
    if hint:
        click.echo(f"Hint: {hint}", err=True)
