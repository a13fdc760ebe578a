"""`deploy report`: a finished run from its journal, in the terminal or as a page."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from deploy.commands.completion import complete_app, complete_run
from deploy.errors import UsageProblem
from deploy.events import Event
from deploy.readers import atomic, journal
from deploy.readers.chart import plain, render_timeline
from deploy.readers.page import render_html
from deploy.readers.report import Report, log_lines, machine_table, next_step
from deploy.readers.timeline import COLOUR, Kind
from deploy.wording import printable


@click.command("report", epilog="Example: deploy report --html run.html")
@click.argument("identity", metavar="[ID]", required=False, shell_complete=complete_run)
@click.option("--app", metavar="NAME", shell_complete=complete_app, help="Only runs of this app.")
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the run as one self-contained web page.",
)
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json is the report as one line.",
)
def report_command(identity: str | None, app: str | None, page: Path | None, output: str) -> None:
    """Show a finished run from the journal on this computer.

    ID is a run's or a deploy's id, or how it begins; without one it is the
    newest run. Exit codes: 0 shown, 2 no such run, or the file cannot be written.
    """
    events = _events(_find(identity, app))
    if page is not None:
        _write_page(page, events)
    report = Report.of(events)
    if output == "json":
        click.echo(report.to_line())
    elif page is not None:
        click.echo(f"wrote {page}")
    else:
        _show(report, events)


def _show(report: Report, events: list[tuple[float, Event]]) -> None:
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    picture = render_timeline(
        events,
        shutil.get_terminal_size((100, 24)).columns,
        paint=_paint if _has_colours() else plain,
        only_ascii=not encoding.startswith("utf"),
    )
    ids = f"{report.app}, deploy {report.deploy_id}, run {report.run_id}, {report.started or ''}"
    click.echo(printable(ids))
    if report.decision:
        click.echo(printable(report.decision.sentence))
    click.echo(picture)
    if lines := log_lines(report):
        click.echo("\n" + "\n".join(lines))
    if report.machines:
        click.echo("\n" + "\n".join(machine_table(report.machines)))
    if report.exit_code != 0:
        click.echo(f"\nnext: {next_step(report)}")


def _has_colours() -> bool:
    """https://no-color.org: set and not empty means none."""
    dumb = os.environ.get("TERM", "dumb") in ("dumb", "unknown", "")
    return sys.stdout.isatty() and not dumb and not os.environ.get("NO_COLOR")


def _paint(text: str, kind: Kind | None) -> str:
    return text if kind is None else click.style(text, fg=COLOUR[kind])


def _find(identity: str | None, app: str | None) -> journal.Kept:
    directory = journal.default_directory()
    kept = journal.find(directory, identity, app)
    if kept is not None:
        return kept
    known = journal.runs(directory, app)
    of_app = f" of {printable(app)}" if app else ""
    if not known:
        raise UsageProblem(
            f"the journal {directory} has no run{of_app}",
            hint="a journal is kept where a deploy ran; `deploy history` asks the platform",
        )
    newest = ", ".join(printable(each.started.run_id) for each in known[:3])
    raise UsageProblem(
        f"no run{of_app} has the id {printable(identity or '')}",
        hint=f"the newest runs are {newest}",
    )


def _events(kept: journal.Kept) -> list[tuple[float, Event]]:
    try:
        return journal.read(kept.path)
    except OSError as error:
        raise UsageProblem(
            f"the journal {kept.path} cannot be read: {error.strerror}",
            hint="another ID may be read; without one, the newest run is shown",
        ) from None


def _write_page(page: Path, events: list[tuple[float, Event]]) -> None:
    try:
        atomic.write_text(page, render_html(events))
    except OSError as error:
        raise UsageProblem(
            f"{page} cannot be written: {error.strerror}",
            hint="name a file in a directory that exists and is yours",
        ) from None
