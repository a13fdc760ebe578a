"""The reader that tells others: a hook before anything changes, and everybody else at the end.

A failure here is one warning and does not change how a deploy ends, except that a
pre-deploy hook that fails keeps it from beginning. Notifications go out one after the
other, each within bounds, once the closing report is on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from deploy.errors import HookFailed, UsageProblem
from deploy.events import Event, RunFinished, RunStarted
from deploy.notify import forms
from deploy.notify.github import set_deployment, summarize
from deploy.notify.hooks import run_hook
from deploy.notify.metrics import render_metrics
from deploy.notify.posting import NotDelivered, post
from deploy.notify.settings import Settings, Webhook
from deploy.notify.spans import Call, spans_of
from deploy.readers import atomic
from deploy.readers.report import Report, report_of
from deploy.readers.timeline import Timeline
from deploy.wording import printable

_CALLS_KEPT = 20_000
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Notifier:
    """A reader of events; `now` is the clock that stamps them, `directory` where hooks run.

    Templates and the extra for traces are looked at when it is made: raises
    UsageProblem for one that cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        environ: Mapping[str, str],
        now: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._environ = environ
        self._now = now
        self._warn = warn
        self._timeline = Timeline()
        self._calls: list[Call] = []
        self._traces = _has_traces(settings, environ)
        for webhook in settings.webhooks:  # a template that is wrong is said before the deploy
            forms.body_of(Report(), webhook.form, self._read)

    def __call__(self, at: float, event: Event) -> None:
        """Raises HookFailed where the pre-deploy hook says no."""
        self._timeline.add(at, event)
        if isinstance(event, RunStarted) and self._settings.pre_deploy:
            hook = self._settings.pre_deploy
            try:
                run_hook("pre-deploy", hook, self._report, self._environ, self._directory)
            except NotDelivered as failure:
                raise HookFailed(
                    f"{failure}; nothing was changed",
                    hint="what it printed says why; --no-hooks deploys without hooks",
                ) from None

    @contextmanager
    def call(self, operation: str, machine_id: str) -> Iterator[None]:
        """Around one request to the platform, for the traces."""
        begin_s, problem = self._now(), "cut"
        try:
            yield
            problem = ""
        except Exception as error:
            problem = printable(str(error), 200)
            raise
        finally:
            if self._traces and len(self._calls) < _CALLS_KEPT:
                self._calls.append(Call(operation, machine_id, begin_s, self._now(), problem))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timeline.finished is None:
            return
        try:
            for tell in self._others():
                self._safely(tell)
        except KeyboardInterrupt:
            self._warn("interrupted: some notifications were not sent; the deploy has ended")

    @property
    def _report(self) -> Report:
        return report_of(self._timeline)

    def _others(self) -> Iterator[Callable[[], None]]:
        settings = self._settings
        if hook := settings.post_deploy:
            yield lambda: run_hook(
                "post-deploy", hook, self._report, self._environ, self._directory
            )
        if settings.metrics:
            yield self._write_metrics
        yield lambda: summarize(self._timeline, self._environ)
        if settings.github_environment:
            yield lambda: set_deployment(self._report, settings.github_environment, self._environ)
        for webhook in _wanted(settings.webhooks, self._timeline.finished):
            yield partial(self._post, webhook)
        if self._traces:
            yield self._send_traces

    def _safely(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as error:
            known = str(error) if isinstance(error, NotDelivered) else type(error).__name__
            self._warn(f"{printable(known)}; the deploy itself is not affected")

    def _write_metrics(self) -> None:
        path = self._directory / self._settings.metrics
        try:
            atomic.write_text(path, render_metrics(self._report))
        except OSError as error:
            raise NotDelivered(f"the metrics {path} cannot be written: {error.strerror}") from None

    def _post(self, webhook: Webhook) -> None:
        post(webhook.url, forms.body_of(self._report, webhook.form, self._read))

    def _send_traces(self) -> None:
        from deploy.notify.traces import send_spans  # OpenTelemetry: only where it is asked for

        send_spans(spans_of(self._timeline, self._calls), self._settings.traces, self._environ)

    def _read(self, name: str) -> str:
        """A template's text, beside tidegate.toml."""
        try:
            return (self._directory / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UsageProblem(
                f"the template {printable(name)} cannot be read: {reason}",
                hint="form is report, slack, or the path of a template beside tidegate.toml",
            ) from None


def _wanted(webhooks: Sequence[Webhook], finished: RunFinished | None) -> list[Webhook]:
    return [each for each in webhooks if finished is not None and finished.result in each.on]


def _has_traces(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Raises UsageProblem where tidegate.toml asks for traces and the extra is missing.

    OpenTelemetry's own variables alone send traces where the extra is there: they
    may be meant for other programs.
    """
    is_there = find_spec("opentelemetry") is not None
    if settings.traces and not is_there:
        raise UsageProblem(
            "notify.traces needs OpenTelemetry, which is not installed",
            hint="install tidegate with its extra: tidegate[otel]",
        )
    return bool(settings.traces) or (is_there and any(map(environ.get, _ENDPOINTS)))
