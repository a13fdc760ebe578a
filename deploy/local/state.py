"""What the platform remembers of apps and machines: plain records."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import anyio
import msgspec

from deploy.local.config import Config
from deploy.local.runtime import CheckStatus, Process

EVENTS_KEPT = 100
VERSIONS_KEPT = 200
IPV4_MAPPED = "::ffff:"  # an IPv4 address, as an IPv6 one


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a machine's history, in Fly's shape; `timestamp` is in Unix milliseconds."""

    id: str
    type: str
    status: str
    source: str
    timestamp: int
    request: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Version:
    """A configuration that a machine had: as it was sent, and as the platform kept it."""

    id: str
    sent: Mapping[str, Any]
    kept: Mapping[str, Any]


class HeldLease(msgspec.Struct, frozen=True):
    nonce: str
    expires_at: int  # Unix seconds
    owner: str
    description: str


class CheckResult(msgspec.Struct):
    """The last result of one check, in Fly's shape."""

    name: str
    status: CheckStatus
    output: str
    updated_at: str


@dataclass(slots=True)
class Run:
    """One launch of a machine: its process, over all restarts, until somebody ends it."""

    scope: anyio.CancelScope
    done: anyio.Event
    process: Process | None = None
    ending: bool = False  # asked to end: do not restart it


@dataclass(slots=True)
class Machine:
    """One machine. `raw` is its configuration as kept, `config` the typed reading of it."""

    id: str
    app: str
    name: str
    region: str
    slot: str
    order: int
    created_at_s: float
    raw: dict[str, Any]
    config: Config
    state: str = "created"
    aim: str = "stopped"  # the resting state that it is in, or on its way to
    updated_at_s: float = 0.0
    cordoned: bool = False
    visible_at_s: float = 0.0
    versions: deque[Version] = field(default_factory=lambda: deque(maxlen=VERSIONS_KEPT))
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    checks: dict[str, CheckResult] = field(default_factory=dict)
    lease: HeldLease | None = None
    run: Run | None = None
    restarts: int = 0
    transition: anyio.CancelScope | None = None
    changed: anyio.Event | None = None

    @property
    def version(self) -> str:
        return self.versions[0].id

    @property
    def metadata(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.raw["metadata"]
        return found

    @property
    def process(self) -> Process | None:
        return self.run.process if self.run else None

    @property
    def private_ip(self) -> str:
        """An IPv6 address as on Fly.io, where other machines of the app reach it.

        That of its container; for a process one that is open to who tests it alone.
        """
        found = self.process and self.process.address(next(iter(self.config.internal_ports), 0))
        digest = hashlib.blake2b(self.id.encode(), digest_size=8).digest()
        if not found:
            return f"fdaa:0:1:a7b:{digest.hex(':', 2)}"
        if not found[0].startswith("127."):
            return f"{IPV4_MAPPED}{found[0]}"
        return IPV4_MAPPED + ".".join(["127", *(str(byte % 254 + 1) for byte in digest[:3])])

    @property
    def host_status(self) -> str:
        """ok, unknown or unreachable: of the host that its process runs on."""
        return self.process.host_status if self.process else "ok"

    @property
    def is_gone(self) -> bool:
        return self.state == "destroyed"

    @property
    def takes_traffic(self) -> bool:
        """Whether the router may send it something: started, uncordoned, all checks passing."""
        return (
            self.state == "started"
            and not self.cordoned
            and self.host_status == "ok"
            and all(result.status == "passing" for result in self.checks.values())
        )

    def wake(self) -> None:
        """Tell everybody who waits for this machine to look again."""
        if self.changed is not None:
            self.changed.set()
            self.changed = None

    async def next_change(self) -> None:
        if self.changed is None:
            self.changed = anyio.Event()
        await self.changed.wait()


class Volume(msgspec.Struct, frozen=True):
    """A volume by name only: nothing is stored on it. In Fly's shape."""

    id: str
    name: str
    region: str
    size_gb: int
    created_at: str
    state: str = "created"
    host_status: str = "ok"
    attached_machine_id: str | None = None


@dataclass(slots=True)
class App:
    name: str
    organization: str
    created_at_s: float
    network: str = "default"
    machines: dict[str, Machine] = field(default_factory=dict)  # destroyed ones included
    by_name: dict[str, str] = field(default_factory=dict)  # living ones: name -> id
    volumes: list[Volume] = field(default_factory=list)

    @property
    def living(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if not machine.is_gone]


@lru_cache(maxsize=1024)  # each list has the times of all machines
def rfc3339(unix_s: float) -> str:
    text = datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
