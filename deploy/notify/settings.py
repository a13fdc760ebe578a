"""tidegate.toml: where notifications of a run go, as values. Pure: text and environment in.

The form is that of docs/notify.md. An address may stand in the environment,
since most of them are secrets: `url = "$SLACK_WEBHOOK"`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import structs

from deploy.errors import UsageProblem
from deploy.events import Result
from deploy.wording import printable

NAME = "tidegate.toml"
HOOK_TIMEOUT_S = 60.0
DEFAULT_ON = tuple(result for result in Result if result is not Result.UNCHANGED)
_LONGEST_HOOK_S = 3600.0


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address that gets a POST; `form` is report, slack, or the path of a template."""

    url: str
    form: str = "report"
    on: tuple[Result, ...] = DEFAULT_ON


@dataclass(frozen=True, slots=True)
class Hook:
    """A command: a text for the shell, or a program and its arguments."""

    command: str | tuple[str, ...]
    timeout_s: float = HOOK_TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where notifications go; empty and None where none are sent."""

    webhooks: tuple[Webhook, ...] = ()
    pre_deploy: Hook | None = None
    post_deploy: Hook | None = None
    metrics: str = ""
    traces: str = ""
    github_environment: str = ""


class _Notify(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    webhook: tuple[Webhook, ...] = ()
    metrics: str = ""
    traces: str = ""
    github_environment: str = ""


class _Hooks(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    pre_deploy: str | tuple[str, ...] = ""
    post_deploy: str | tuple[str, ...] = ""
    timeout: float = HOOK_TIMEOUT_S


class _File(msgspec.Struct, forbid_unknown_fields=True):
    notify: _Notify = msgspec.field(default_factory=_Notify)
    hooks: _Hooks = msgspec.field(default_factory=_Hooks)


def parse(text: str, environ: Mapping[str, str], name: str = NAME) -> Settings:
    """What the file says. Raises UsageProblem, which never shows an address."""
    try:
        said = msgspec.convert(_with_list(tomllib.loads(text)), _File)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problem = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise UsageProblem(
            f"{name} is not valid TOML: {problem}", hint="docs/notify.md shows its form"
        ) from None
    except msgspec.ValidationError as error:
        problem = printable(str(error)).replace("$.", "").replace("`$`", "the file")
        raise UsageProblem(f"{name}: {problem}", hint="docs/notify.md has every key") from None
    if not 0 < said.hooks.timeout <= _LONGEST_HOOK_S:
        raise UsageProblem(
            f"{name}: hooks.timeout is {said.hooks.timeout:g}", hint="write seconds, 1 to 3600"
        )
    notify = said.notify
    return Settings(
        webhooks=tuple(_checked(each, environ, name) for each in notify.webhook),
        pre_deploy=_hook(said.hooks.pre_deploy, said.hooks.timeout),
        post_deploy=_hook(said.hooks.post_deploy, said.hooks.timeout),
        metrics=notify.metrics,
        traces=_address(_resolved(notify.traces, environ, name), f"{name}: notify.traces"),
        github_environment=notify.github_environment,
    )


def webhook_to(url: str, said_by: str) -> Webhook:
    """Raises UsageProblem for what is not the address of a web server."""
    return Webhook(_address(url, f"{said_by}: the webhook") or _no_address(said_by))


def _checked(webhook: Webhook, environ: Mapping[str, str], name: str) -> Webhook:
    url = webhook_to(_resolved(webhook.url, environ, name), name).url
    return structs.replace(webhook, url=url)


def shown(url: str) -> str:
    """An address without what is secret about it: `https://hooks.slack.com`."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return printable(f"{parts.scheme}://{parts.hostname or ''}{port}")


def _with_list(data: dict[str, Any]) -> dict[str, Any]:
    """`[notify.webhook]` for a single one means the same as `[[notify.webhook]]`."""
    notify = data.get("notify")
    if isinstance(notify, dict) and isinstance(notify.get("webhook"), dict):
        return {**data, "notify": {**notify, "webhook": [notify["webhook"]]}}
    return data


def _resolved(text: str, environ: Mapping[str, str], name: str) -> str:
    if not text.startswith("$"):
        return text
    variable = text[1:].strip("{}")
    if not environ.get(variable):
        raise UsageProblem(
            f"{name} takes an address from {printable(variable)}, which is not set",
            hint=f"set {printable(variable)}, or take the entry out",
        )
    return environ[variable]


def _address(url: str, what: str) -> str:
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_address = is_address and (parts.port is None or parts.port > 0)
    except ValueError:
        is_address = False
    if not is_address or not url.isprintable() or " " in url:
        raise UsageProblem(f"{what} is not the address of a web server", hint="write https://...")
    return url


def _no_address(said_by: str) -> str:
    raise UsageProblem(f"{said_by}: the webhook has no address", hint='write url = "https://..."')


def _hook(command: str | tuple[str, ...], timeout_s: float) -> Hook | None:
    return Hook(command, timeout_s) if command else None
