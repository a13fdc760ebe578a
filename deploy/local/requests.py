"""The bodies and queries of requests, read strictly: a wrong type is a 400 that names the place.

Optional keys of bodies may be null, as real clients send them; unknown keys are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, field

from deploy.local.config import Seconds, convert
from deploy.local.leases import DEFAULT_TTL_S, MAX_TTL_S
from deploy.local.refusals import invalid

B = TypeVar("B")

PAGE_LIMIT = 1000
WaitState = Literal["started", "stopped", "suspended", "destroyed", "failed", "settled"]
Limit = Annotated[int, Meta(ge=1, le=PAGE_LIMIT)]

_APP_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
VolumeName = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,30}\Z")]
MachineName = Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,127})?\Z")]

# -- bodies ----------------------------------------------------------------------------


class CreateApp(Struct, frozen=True):
    """The document says `name`, real clients send `app_name`."""

    name: str | None = None
    app_name: str | None = None
    org_slug: str | None = None
    network: str | None = None


class CreateVolume(Struct, frozen=True):
    name: VolumeName
    region: str | None = None
    size_gb: Annotated[int, Meta(ge=1, le=500)] | None = None


class CreateMachine(Struct, frozen=True):
    config: dict[str, Any]
    name: MachineName | None = None
    region: str | None = None
    skip_launch: bool | None = None
    skip_service_registration: bool | None = None
    lease_ttl: int | None = None  # seconds
    min_secrets_version: int | None = None


class UpdateMachine(CreateMachine, frozen=True):
    current_version: str | None = None


class StopMachine(Struct, frozen=True):
    """`signal` is a name or a number."""

    signal: str | int | None = None
    timeout_s: Seconds | None = field(default=None, name="timeout")


class SignalMachine(Struct, frozen=True):
    signal: str | int


class TakeLease(Struct, frozen=True):
    ttl: int | None = None  # seconds
    description: str | None = None


class UpdateMetadata(Struct, frozen=True):
    metadata: dict[str, str | None]
    machine_version: str | None = None
    updated_at: str | None = None


class SetMetadata(Struct, frozen=True):
    value: str
    updated_at: str | None = None


# -- queries ---------------------------------------------------------------------------


class AppsQuery(Struct, frozen=True):
    org_slug: str = ""


class ListQuery(Struct, frozen=True):
    include_deleted: bool = False
    include_leases: bool = False
    region: str = ""
    state: tuple[str, ...] = ()
    limit: Limit | None = None
    cursor: str = ""


class GetQuery(Struct, frozen=True):
    include_leases: bool = False
    version: str = ""


class DestroyQuery(Struct, frozen=True):
    """The document says `force`, real clients send `kill`."""

    force: bool = False
    kill: bool = False


class WaitQuery(Struct, frozen=True):
    """`instance_id` is the older name of `version`; `timeout` is in seconds."""

    state: tuple[WaitState, ...] = ("started",)
    version: str = ""
    instance_id: str = ""
    from_event_id: str = ""
    timeout: Annotated[int, Meta(ge=1, le=60)] = 60


class PageQuery(Struct, frozen=True):
    limit: Limit = PAGE_LIMIT


class LeaseQuery(Struct, frozen=True):
    ttl: Annotated[int, Meta(ge=1, le=MAX_TTL_S)] = DEFAULT_TTL_S


class LogsQuery(Struct, frozen=True):
    """Of one `machine`, or of all that the app has."""

    machine: str = ""
    lines: Limit = PAGE_LIMIT
    follow: bool = False


def read(body: Any, kind: type[B]) -> B:
    """Raises Refusal (400)."""
    return convert(body, kind, "body")


def read_query(pairs: Sequence[tuple[str, str]], kind: type[B]) -> B:
    """The last value of each key; of `state` every one, commas separate them too."""
    values: dict[str, Any] = dict(pairs)
    if "state" in values:
        values["state"] = [
            part for key, text in pairs if key == "state" for part in text.split(",")
        ]
    return convert(values, kind, "query", strict=False)


def app_name(text: str) -> str:
    """Raises Refusal (400) unless it could be an app's name."""
    if not _APP_NAME.fullmatch(text):
        raise invalid(
            f"{text[:40]!r} is not an app name: lower-case letters, digits and dashes, at most 63"
        )
    return text
