"""The `rollout` command: finds the command asked for, renders errors, sets the exit code.

Each command is a module under rollout/commands and is loaded when it is used.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from rollout.errors import BadFlagFile, RolloutError
from rollout.wording import did_you_mean, show

_COMMANDS = {
    "check": ("check:check", "Say all that is wrong with a flags file."),
    "list": ("look:list_", "Show every flag and how far it is rolled out."),
    "get": ("look:get", "Print the bare value of FLAG for a unit, for scripts."),
    "explain": ("look:explain", "Say what FLAG is worth for a unit, and why."),
    "set": ("bump:set_", "Bump FLAG to another percentage."),
    "diff": ("diff:diff", "Say what changes from OLD to NEW, and for whom."),
    "cohort": ("cohort:cohort", "List the units that FLAG has inside, in their order."),
    "ramp": ("ramp:ramp", "Let FLAG rise by the clock."),
    "schedule": ("ramp:schedule", "Show what each flag will be when, with a small chart."),
    "pause": ("hold:pause", "Let the ramp of FLAG stand still where it is."),
    "kill": ("hold:kill", "Put everybody outside of FLAG, at once."),
    "resume": ("hold:resume", "Undo rollout pause or rollout kill on FLAG."),
    "outcomes": ("outcomes:outcomes", "Compare the deploys inside of FLAG with those outside."),
    "guard": ("guard:guard", "Let the outcomes of deploys move FLAG, or stop it."),
    "site": ("site:site", "Write static pages: flags over time, evidence, deploys."),
    "schema": ("schema:schema", "Print the JSON Schema of a flags file, for editors."),
    "serve": ("serve:serve", "Evaluate flags over HTTP, for OpenFeature's OFREP providers."),
    "export": ("export:export", "Write flags, or those named, as another evaluator's definition."),
}
"""Command -> its module and function under rollout/commands, and its line in the help, which
loads none of them; in the order of the help."""

_EXAMPLES = {
    "check": "rollout check --strict --base git:origin/main",
    "list": "rollout list",
    "get": "rollout get deploy-retries --unit hello",
    "explain": "rollout explain deploy-retries --unit hello",
    "set": "rollout set deploy-retries --percent 10 --units apps.txt",
    "diff": "rollout diff git:HEAD flags.yaml --units apps.txt",
    "cohort": "rollout cohort deploy-retries --units apps.txt",
    "ramp": "rollout ramp deploy-retries --over 7d --weekdays",
    "schedule": "rollout schedule",
    "pause": "rollout pause deploy-retries",
    "kill": "rollout kill deploy-retries",
    "resume": "rollout resume deploy-retries",
    "outcomes": "rollout outcomes deploy-retries --reports reports",
    "guard": "rollout guard deploy-retries --reports reports --write",
    "site": "rollout site --out public --reports reports",
    "schema": "rollout schema > flags.schema.json",
    "serve": "rollout serve --port 8016",
    "export": "rollout export --to flagd > flags.json",
}

_MOST_PROBLEMS = 50

_EPILOG = """\b
Exit codes:
  0  done
  1  the file has errors, has no such flag, or cannot be changed as asked;
     diff: somebody would be thrown out
  2  usage: an option, a value, a file that cannot be read, or output that cannot be written
 10  guard: advance
 20  guard: kill
"""


def main() -> None:
    """The entry point of the `rollout` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a flag's text may not fit the terminal
    atexit.register(gc.freeze)  # or Python's end looks for garbage in all that was loaded: 20 ms
    cli(prog_name="rollout")


class _Group(click.Group):
    """Loads a command when it is needed, and renders every error of ours, in this one place."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"rollout.commands.{module}"), name)
        command.epilog = f"Example: {_EXAMPLES[cmd_name]}"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = did_you_mean(args[0], _COMMANDS, "rollout --help lists them.")
            ctx.fail(f"There is no command {show(args[0])}; {near}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return list(super().parse_args(ctx, args))
        except click.UsageError as error:
            raise _alike(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _alike(error) from None
        except BadFlagFile as error:
            for problem in error.problems[:_MOST_PROBLEMS]:
                click.echo(f"{error.source}:{problem}", err=True)
            if (hidden := len(error.problems) - _MOST_PROBLEMS) > 0:
                click.echo(f"... and {hidden} more problems", err=True)
            ctx.exit(error.exit_code)
        except RolloutError as error:
            click.echo(f"Error: {error.message}", err=True)
            if error.hint:
                click.echo(f"Hint: {error.hint}", err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            # Whatever reads and changes files has its own errors: this is the output's.
            if error.errno == errno.EPIPE:
                raise  # the reader has seen enough; click leaves quietly
            click.echo(f"Error: the output cannot be written: {error.strerror or error}", err=True)
            click.echo("Hint: a change of the file was made before it was to be shown", err=True)
            _let_go_of_output()
            ctx.exit(2)


class _Misused(click.ClickException):
    """What click refuses, in the form of our own errors."""

    exit_code = 2

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self._hint = hint

    def show(self, file: Any = None) -> None:
        click.echo(f"Error: {self.message}\nHint: {self._hint}", file=file, err=True)


def _alike(error: click.UsageError) -> click.ClickException:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    command = error.ctx.command_path if error.ctx else "rollout"
    message = " ".join(error.format_message().split())
    return _Misused(message, f"`{command} --help` shows the options")


def _let_go_of_output() -> None:
    """What is still to be written goes nowhere, or Python would fail at it again as it ends."""
    with suppress(OSError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(package_name="tidegate", prog_name="rollout")
def cli() -> None:
    """Gradual rollouts kept in git: look at the flags of a flags.yaml, and bump them."""
