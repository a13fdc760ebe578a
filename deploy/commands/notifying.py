"""Where notifications of a run go: tidegate.toml, and the options and variables beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.commands.target import Target
from deploy.errors import UsageProblem
from deploy.notify import settings
from deploy.notify.notifier import Notifier
from deploy.notify.settings import Settings

_LARGEST_BYTES = 1024 * 1024


def open_notifier(
    target: Target,
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    now: Callable[[], float],
    warn: Callable[[str], None],
) -> Notifier:
    """The reader that tells others. Raises UsageProblem for what it could not do later."""
    path = options.get("notify_path") or Path(target.directory, settings.NAME)
    said = _read(path, environ, must_exist=bool(options.get("notify_path")))
    if environ.get("DEPLOY_GITHUB_ENVIRONMENT"):
        said = replace(said, github_environment=environ["DEPLOY_GITHUB_ENVIRONMENT"])
    if url := options.get("webhook"):
        said = replace(said, webhooks=(*said.webhooks, settings.webhook_to(url, "--webhook")))
    if metrics := options.get("metrics"):
        said = replace(said, metrics=str(metrics.absolute()))
    if not options.get("runs_hooks", True):
        said = replace(said, pre_deploy=None, post_deploy=None)
    return Notifier(said, path.absolute().parent, environ, now, warn)


def _read(path: Path, environ: Mapping[str, str], *, must_exist: bool) -> Settings:
    if not must_exist and not path.is_file():
        return Settings()
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageProblem(
            f"{path} cannot be read: {reason}", hint="docs/notify.md shows its form"
        ) from None
    if len(data) > _LARGEST_BYTES:
        raise UsageProblem(f"{path} is over 1 MiB", hint="this is not a tidegate.toml")
    return settings.parse(text, environ, str(path))
