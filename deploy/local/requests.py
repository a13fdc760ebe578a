"""The bodies of requests, read strictly: a wrong type is a 400 that names the place.

Optional keys may be null, as real clients send them; unknown keys are ignored.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from deploy.local.config import Seconds, convert
from deploy.local.refusals import invalid

B = TypeVar("B")

_APP_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_MACHINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)


class CreateApp(msgspec.Struct, frozen=True):
    """The document says `name`, real clients send `app_name`."""

    name: str | None = None
    app_name: str | None = None
    org_slug: str | None = None
    network: str | None = None


class CreateMachine(msgspec.Struct, frozen=True):
    config: dict[str, Any]
    name: str | None = None
    region: str | None = None
    skip_launch: bool | None = None
    skip_service_registration: bool | None = None
    lease_ttl: int | None = None  # seconds
    min_secrets_version: int | None = None


class UpdateMachine(CreateMachine, frozen=True):
    current_version: str | None = None


class StopMachine(msgspec.Struct, frozen=True):
    """`signal` is a name or a number."""

    signal: str | int | None = None
    timeout_s: Seconds | None = msgspec.field(default=None, name="timeout")


class SignalMachine(msgspec.Struct, frozen=True):
    signal: str | int


class TakeLease(msgspec.Struct, frozen=True):
    ttl: int | None = None  # seconds
    description: str | None = None


class UpdateMetadata(msgspec.Struct, frozen=True):
    metadata: dict[str, str | None]
    machine_version: str | None = None
    updated_at: str | None = None


class SetMetadata(msgspec.Struct, frozen=True):
    value: str
    updated_at: str | None = None


def read(body: Any, kind: type[B]) -> B:
    """Raises Refusal (400)."""
    return convert(body, kind, "body")


def app_name(text: str) -> str:
    """Raises Refusal (400) unless it could be an app's name."""
    if not _APP_NAME.fullmatch(text):
        raise invalid(
            f"{text[:40]!r} is not an app name: lower-case letters, digits and dashes, at most 63"
        )
    return text


def machine_name(text: str) -> str:
    """Raises Refusal (400) unless it could be a machine's name."""
    if not _MACHINE_NAME.fullmatch(text):
        raise invalid(
            f"{text[:40]!r} is not a machine name: letters, digits, dots, dashes, at most 128"
        )
    return text
