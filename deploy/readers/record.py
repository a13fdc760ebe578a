"""The record of a run in a directory of records: written when it starts, and again at its end.

`DIR/APP/DEPLOY-RUN.json` holds the report, at first without an end; beside it stands the
timeline as a page. What becomes of deploys is judged from these (docs/outcomes.md): a start
without an end tells of a run that was killed. What cannot be written is one warning and
never changes how the deploy ends.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deploy.events import Event, PathChosen, RunFinished, RunStarted
from deploy.readers import atomic
from deploy.readers.journal import safe_name
from deploy.readers.page import render_html
from deploy.readers.report import Report


class Record:
    """A reader of events that keeps the record; `warn` is called at most once."""

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        self._directory = directory
        self._warn = warn
        self._events: list[tuple[float, Event]] = []
        self._has_given_up = False

    def __call__(self, at: float, event: Event) -> None:
        self._events.append((at, event))
        if isinstance(event, RunStarted | PathChosen | RunFinished):
            self._write(with_page=isinstance(event, RunFinished))

    def _write(self, *, with_page: bool) -> None:
        report = Report.of(self._events)
        if self._has_given_up or not report.run_id:
            return
        folder = self._directory / safe_name(report.app)
        path = folder / f"{safe_name(f'{report.deploy_id}-{report.run_id}')}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            atomic.write_text(path, f"{report.to_line()}\n")
            if with_page:
                atomic.write_text(path.with_suffix(".html"), render_html(self._events))
        except OSError as error:
            self._has_given_up = True
            reason = error.strerror or type(error).__name__
            self._warn(
                f"the record {path} cannot be written ({reason}): "
                "the deploy goes on, and rollout guard will miss it or its end"
            )
