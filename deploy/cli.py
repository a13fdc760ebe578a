"""The `deploy` command: options in, one call, output and exit code out.

Whatever a command needs is imported when it runs: `--help` and `--version` load
neither httpx nor starlette nor rich.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click_default_group import DefaultGroup

from deploy.commands.options import (
    FLAG,
    OUTPUT,
    RELEASE,
    RUN,
    SELECTION,
    TARGET,
    MaxUnavailable,
    take,
)
from deploy.errors import (
    EXIT_FAILED,
    EXIT_IN_BETWEEN,
    EXIT_INTERRUPTED,
    CallFailed,
    DeployError,
    UsageProblem,
)
from deploy.retries import parse_setting

if TYPE_CHECKING:
    from deploy.commands.order import Order
    from deploy.events import Emit, RunFinished
    from deploy.plan.selection import Selection

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
        _refuse_ambiguous(args, self.commands)
        return list(super().parse_args(ctx, args))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.commands["run"].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_LAZY})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in _LAZY:
            return _LAZY[name]()
        command: click.Command | None = super().get_command(ctx, name)
        return command


def _local() -> click.Command:
    from deploy.local.cli import local

    return local


def _report() -> click.Command:
    from deploy.readers.report_cli import report_command

    return report_command


_LAZY: dict[str, Callable[[], click.Command]] = {"local": _local, "report": _report}


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


@click.command("run", hidden=True)
@take(*TARGET)
@take(*RELEASE, *FLAG, *SELECTION)
@take(*RUN)
def run_command(directory: Path, app: str | None, config_path: Path | None, **options: Any) -> None:
    """Deploy the app in DIR."""
    from deploy.commands.order import deploy_app
    from deploy.commands.target import find_target

    order = _order(options)
    target = find_target(
        directory, app=app, config_path=config_path, environ=os.environ, needs_config=True
    )
    _deploy(options, lambda emit: deploy_app(target, order, emit))


@click.command("plan")
@take(*TARGET)
@take(*RELEASE, *FLAG, *SELECTION)
@OUTPUT
def plan_command(
    directory: Path, app: str | None, config_path: Path | None, output: str, **options: Any
) -> None:
    """Show what a deploy would do, and change nothing."""
    import anyio

    from deploy.commands.order import plan_app
    from deploy.commands.show import show_plan
    from deploy.commands.target import find_target

    order = _order(options)
    target = find_target(
        directory, app=app, config_path=config_path, environ=os.environ, needs_config=True
    )
    click.echo(show_plan(*anyio.run(plan_app, target, order), as_json=output == "json"))


@click.command("status")
@take(*TARGET)
@OUTPUT
def status_command(directory: Path, app: str | None, config_path: Path | None, output: str) -> None:
    """Show each machine: its version, state and checks."""
    import anyio

    from deploy.commands.order import look_at
    from deploy.commands.show import show_status
    from deploy.commands.target import find_target

    target = find_target(
        directory, app=app, config_path=config_path, environ=os.environ, needs_config=False
    )
    machines, routes = anyio.run(look_at, target)
    click.echo(show_status(target.app, machines, routes, as_json=output == "json"))


@click.command("scale")
@click.argument("group_counts", metavar="GROUP=N", nargs=1)
@take(*TARGET)
@take(*RUN, *FLAG)
@click.option("--image", "-i", metavar="REF", envvar="DEPLOY_IMAGE", help="For a first machine.")
def scale_command(
    group_counts: str,
    directory: Path,
    app: str | None,
    config_path: Path | None,
    **options: Any,
) -> None:
    """Create or destroy machines until process group GROUP has N."""
    from deploy.commands.order import scale_app
    from deploy.commands.target import find_target

    group, _, number = group_counts.partition("=")
    if not group or not number.isdecimal() or len(number) > 4:
        raise UsageProblem(f"{group_counts!r} is not GROUP=N", hint="write app=3")
    order = _order(options)
    target = find_target(
        directory, app=app, config_path=config_path, environ=os.environ, needs_config=False
    )
    _deploy(options, lambda emit: scale_app(target, order, group, int(number), emit))


@click.command("resume")
@take(*TARGET, *FLAG, *RUN)
@click.option("--env", "-e", metavar="KEY=VALUE", multiple=True, help="As the deploy was given.")
def resume_command(
    directory: Path, app: str | None, config_path: Path | None, **options: Any
) -> None:
    """Finish a deploy that was left unfinished, from any computer."""
    from deploy.commands.recovery import resume_app
    from deploy.commands.target import find_target

    order = _order(options)
    target = find_target(
        directory, app=app, config_path=config_path, environ=os.environ, needs_config=True
    )
    _deploy(options, lambda emit: resume_app(target, order, emit))


@click.command("rollback")
@take(*TARGET, *FLAG, *RUN)
@click.option("--to", metavar="RELEASE", help="A number or deploy id of `deploy history`.")
@click.option("--max-unavailable", type=MaxUnavailable(), help="As for a deploy.")
def rollback_command(
    directory: Path, app: str | None, config_path: Path | None, to: str | None, **options: Any
) -> None:
    """Bring back what ran before the newest deploy, finished or not."""
    from deploy.commands.recovery import rollback_app
    from deploy.commands.target import find_target

    order = _order(options)
    target = find_target(
        directory, app=app, config_path=config_path, environ=os.environ, needs_config=False
    )
    _deploy(options, lambda emit: rollback_app(target, order, to, emit))


@click.command("history")
@take(*TARGET)
@OUTPUT
def history_command(
    directory: Path, app: str | None, config_path: Path | None, output: str
) -> None:
    """Show the releases that the platform still knows, newest first."""
    import anyio

    from deploy.commands.recovery import history_of
    from deploy.commands.show import show_history
    from deploy.commands.target import find_target

    target = find_target(
        directory, app=app, config_path=config_path, environ=os.environ, needs_config=False
    )
    releases = anyio.run(history_of, target)
    click.echo(show_history(target.app, releases, as_json=output == "json"))


for _command in (
    run_command,
    plan_command,
    status_command,
    scale_command,
    resume_command,
    rollback_command,
    history_command,
):
    cli.add_command(_command)


def _order(options: dict[str, Any]) -> Order:
    from deploy.commands.order import Order
    from deploy.run import Settings

    lease_s = float(options.get("lease_timeout") or 13)
    if not 5 <= lease_s <= 3600:
        raise UsageProblem(
            f"--lease-timeout is {lease_s:g} s",
            hint="give 5s to 1h: a lease is refreshed every third of it",
        )
    flags = options.get("flags")
    defaults = Settings()
    return Order(
        image=options.get("image"),
        env=dict(_pair(text) for text in options.get("env") or ()),
        strategy=options.get("strategy"),
        max_unavailable=options.get("max_unavailable"),
        retries=parse_setting(options["deploy_retries"]),
        flags=flags or os.environ.get("ROLLOUT_FLAGS") or None,
        flags_by_option=bool(flags),
        force=bool(options.get("force")),
        high_availability=options.get("ha", True),
        update_only=bool(options.get("update_only")),
        wait_timeout_s=options.get("wait_timeout"),
        runs_release_command=not options.get("skip_release_command"),
        settings=Settings(
            leave_at_once=_leave_at_once,
            selection=_selection(options),
            waits_for_health=not options.get("detach"),
            smoke_s=0.0 if options.get("no_smoke_checks") else defaults.smoke_s,
            max_concurrent=options.get("max_concurrent") or defaults.max_concurrent,
            lease_ttl_s=int(lease_s),
            deadline_s=options.get("deadline"),
            wait_for_lease_s=options.get("wait_for_lease") or 0.0,
            rolls_back=options.get("on_failure") != "hold",
        ),
    )


def _selection(options: dict[str, Any]) -> Selection:
    """Every option may be given more than once, and take several names with commas."""
    from deploy.plan.selection import Selection

    def names(option: str) -> frozenset[str]:
        texts = options.get(option) or ()
        return frozenset(name.strip() for text in texts for name in text.split(",") if name.strip())

    return Selection(
        only_machines=names("only_machines"),
        exclude_machines=names("exclude_machines"),
        regions=names("regions"),
        exclude_regions=names("exclude_regions"),
        process_groups=names("process_groups"),
    )


def _deploy(options: dict[str, Any], start: Callable[[Emit], Any]) -> None:
    """Run with the three readers attached, write the record, leave with the run's code."""
    import anyio

    from deploy.events import Event, emitter
    from deploy.readers import atomic, journal
    from deploy.readers.progress import open_progress
    from deploy.readers.report import Report

    told: list[tuple[float, Event]] = []
    report_path: Path | None = options["report_path"]
    if report_path is not None and not report_path.absolute().parent.is_dir():
        raise UsageProblem(
            f"--report: {report_path.parent} is not a directory",
            hint="make it first, or name a file in a directory that is there",
        )
    with ExitStack() as readers:
        progress = readers.enter_context(
            open_progress(options["output"], sys.stdout, sys.stderr, os.environ, time.time)
        )
        kept = readers.enter_context(journal.Journal(journal.default_directory(), _warn))
        emit = emitter(time.time, progress, kept, lambda at, event: told.append((at, event)))
        finished: RunFinished | None = anyio.run(start, emit)
        if finished is None:
            click.echo("nothing to do: no deploy is unfinished", err=True)
            return
    if report_path is not None:
        try:
            atomic.write_text(report_path, f"{Report.of(told).to_line()}\n")
        except OSError as error:
            _warn(f"--report {report_path} could not be written: {error.strerror}")
    sys.exit(finished.exit_code)


def _leave_at_once() -> None:
    """After a second signal: nothing is waited for; the terminal gets its cursor back."""
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h\n")
    os._exit(EXIT_INTERRUPTED)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageProblem(f"--env {text!r} is not KEY=VALUE", hint="write --env KEY=value")
    return key, value


def _refuse_ambiguous(args: Sequence[str], commands: Collection[str]) -> None:
    """`deploy status` where ./status is an app of its own could mean either."""
    if len(args) != 1 or args[0] not in {*commands, *_LAZY}:
        return
    if (Path(args[0]) / "fly.toml").is_file():
        raise UsageProblem(
            f"{args[0]} is a command and a directory with a fly.toml",
            hint=f"write `deploy ./{args[0]}` to deploy the directory, "
            f"`deploy {args[0]} .` for the command",
        )


def _warn(message: str) -> None:
    click.echo(f"warning: {message}", err=True)


def _render(error: DeployError) -> int:
    """One line, a hint, and the code that it ends with."""
    from deploy.wording import printable

    # Ours may have several lines; a server's words get one, and may not steer the screen.
    said = str(error) if isinstance(error, UsageProblem) else printable(str(error))
    click.echo(f"error: {said}", err=True)
    if error.hint:
        click.echo(f"  hint: {error.hint}", err=True)
    if not isinstance(error, CallFailed):
        return error.exit_code
    from deploy.api.verdict import verdict

    return EXIT_FAILED if verdict(error).is_hiccup else error.exit_code


def _render_usage(error: click.ClickException) -> int:
    """What click refuses, in the form of our own errors."""
    ctx = getattr(error, "ctx", None)
    command = ctx.command_path.removesuffix(" run") if ctx else "deploy"
    click.echo(f"error: {' '.join(error.format_message().split())}", err=True)
    click.echo(f"  hint: `{command} --help` shows the options", err=True)
    return error.exit_code


def _render_group(group: BaseExceptionGroup[BaseException]) -> int:
    """Tasks that failed together: ours are told one by one, anything else is a fault of ours."""
    ours, others = group.split(DeployError)
    if others is not None:
        return _render_fault(others)
    errors = list(_leaves(ours)) if ours else []
    return max((_render(error) for error in errors), default=1)


def _render_fault(fault: BaseException) -> int:
    """A fault of this program. A run may have been under way, so the app may be in between."""
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
