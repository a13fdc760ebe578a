"""Habits of other servers, over the local platform: use it where an answer is odd, not wrong.

`inhabit(application, Habits(...))` is the same application with those habits. They
were seen on servers of the Machines API that are not ours; none of them is a
fault that passes, so none is in `faults`. The platform below is as it always is.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Clock = Callable[[], float]

ODD_MACHINE: Mapping[str, Any] = {
    "id": "1781.odd",
    "name": "odd.one",
    "state": "started",
    "region": "ams",
    "instance_id": "01ODD",
    "version": "01ODD",
    "host_status": "ok",
    "config": {"image": "other:1", "metadata": {"n": 7, "team": None, "on": True}},
    "checks": [],
    "events": [{"type": "start", "status": "started", "source": "user", "timestamp": 17.25}],
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00.123456789Z",
}
"""Another tool's: metadata that is not text, an event time with a fraction, an id with a dot."""

KNOWN_KEYS = frozenset(
    {
        *(
            "auto_destroy",
            "cache_drive",
            "checks",
            "containers",
            "disable_machine_autostart",
            "dns",
        ),
        *("env", "files", "guest", "image", "init", "metadata", "metrics", "mounts", "personality"),
        *("processes", "restart", "rootfs", "schedule", "services", "size", "standbys", "statics"),
        *("stop_config", "volumes"),
    }
)
"""Of a configuration, as Fly.io's API document has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """All off. Numbers count how often something happens, seconds how long it lasts.

    Leases: `lease_hides_description`: GET lease leaves it out. `create_ignores_lease_ttl`:
    no lease and no nonce. `longest_lease_s`: no lease is granted for longer.
    `refuses_refresh`, `refuses_release`: statuses that answer the first ones of each
    machine, without their being carried out.

    Reading: `list_lags_s`: a list shows how things were then. `empty_lists`: so many
    lists are `[]`, after `full_lists` true ones. `versions_without_config`: no
    `user_config`. `odd_machine`: ODD_MACHINE is listed, and can be read.

    Writing: `drops_unknown_keys`: of configurations, those not in KNOWN_KEYS.
    `unreachable`: ids of machines whose host is lost from the beginning; see
    `Inhabited.lose`. `removes_lost`: where `World.set_host` has lost one, nothing that
    needs it is answered, leases included, but a destroy by force is carried out. `paced`:
    so many updates are answered 429 with `retry_after_s`. `destroys_for_s`: so long a
    machine is `destroying` once its process has ended.

    Transport: `redirects_to`: every answer is a 307 to this address. `content_type` of
    JSON. `list_bytes`: a list is at least so long. `packs`: bodies are gzipped under
    this name of an encoding, whether it was asked for or not. `closes_every`: each
    so-manyth request is taken and carried out, and its connection, kept until then, closed.
    """

    lease_hides_description: bool = False
    create_ignores_lease_ttl: bool = False
    longest_lease_s: int = 0
    refuses_refresh: tuple[int, ...] = ()
    refuses_release: tuple[int, ...] = ()
    list_lags_s: float = 0.0
    empty_lists: int = 0
    full_lists: int = 0
    versions_without_config: bool = False
    odd_machine: bool = False
    drops_unknown_keys: bool = False
    unreachable: frozenset[str] = frozenset()
    removes_lost: bool = False
    paced: int = 0
    retry_after_s: int = 86400
    destroys_for_s: float = 0.0
    redirects_to: str = ""
    content_type: str = ""
    list_bytes: int = 0
    packs: str = ""
    closes_every: int = 0

    def __str__(self) -> str:
        """Those that it has."""
        own = {key: getattr(self, key) for key in self.__slots__}
        return ", ".join(
            key if value is True else f"{key}={value}"
            for key, value in own.items()
            if value != Habits.__dataclass_fields__[key].default
        )


NO_HABITS = Habits()

_PATH = re.compile(r"/v1/apps/[^/]+/machines(?:/([^/]+)(?:/(\w+))?)?")
_REFUSED = "aborted: no active lease"
_HOST_LOST = "unavailable: the machine's host cannot be reached"
_NEEDS_HOST = frozenset({"", "start", "stop", "restart", "suspend", "cordon", "uncordon", "lease"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request about machines; `verb` is what follows the machine's id."""

    method: str
    machine: str
    verb: str
    query: Mapping[str, list[str]]
    nonce: str
    url: str
    body: Any = None

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and not self.machine

    @property
    def is_create(self) -> bool:
        return self.method == "POST" and not self.machine

    @property
    def is_update(self) -> bool:
        return self.method == "POST" and bool(self.machine) and not self.verb

    @property
    def needs_host(self) -> bool:
        """All that is written to a machine, but for its metadata, and a destroy by force."""
        words = self.query.get("force", []) + self.query.get("kill", [])
        is_forced = self.method == "DELETE" and not self.verb and "true" in words
        return self.method != "GET" and self.verb in _NEEDS_HOST and not is_forced


@dataclass(slots=True)
class Answered:
    status: int
    content: Any
    headers: dict[str, str] = field(default_factory=dict)


class Inhabited:
    """The application with habits. `lose` and `find` change which hosts are lost while it runs."""

    def __init__(self, application: ASGIApp, habits: Habits, clock: Clock) -> None:
        self._application = application
        self._habits = habits
        self._clock = clock
        self._times: Counter[tuple[str, str]] = Counter()
        self._lists: dict[str, list[tuple[float, Any]]] = {}
        self.lost = set(habits.unreachable)
        self.closes_every = habits.closes_every

    def lose(self, machine_id: str) -> None:
        """Its host cannot be reached from now on."""
        self.lost.add(machine_id)

    def find(self, machine_id: str) -> None:
        self.lost.discard(machine_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        body = await _read(receive)
        asked = _asked(scope, path, body) if path else None
        if asked is None:
            answered = await self._ask(scope, body)
        else:
            answered = self._at_once(asked) or await self._carry_out(scope, asked, body)
        await self._send(answered, send, is_list=asked is not None and asked.is_list)
        if self.closes_every and (self._count("request", "") + 1) % self.closes_every == 0:
            raise ConnectionResetError  # nothing of it arrives

    # -- what is answered without being carried out ------------------------------------

    def _at_once(self, asked: Asked) -> Answered | None:
        habits = self._habits
        if asked.verb == "lease" and asked.nonce and (refused := self._refused(asked)):
            return refused
        if asked.machine in self.lost and asked.needs_host:
            return _no(503, _HOST_LOST)
        if asked.is_update and self._count("update", "") < habits.paced:
            retry_after = {"retry-after": str(habits.retry_after_s)}
            return replace(_no(429, "rate limit exceeded"), headers=retry_after)
        if asked.machine == ODD_MACHINE["id"] and habits.odd_machine and asked.method == "GET":
            return Answered(200, ODD_MACHINE)
        return None

    def _refused(self, asked: Asked) -> Answered | None:
        refusals = {
            "POST": self._habits.refuses_refresh,
            "DELETE": self._habits.refuses_release,
        }
        statuses = refusals.get(asked.method, ())
        nth = self._count(f"{asked.method} lease", asked.machine)
        return _no(statuses[nth], _REFUSED) if nth < len(statuses) else None

    def _count(self, what: str, whose: str) -> int:
        """How often it was asked for before."""
        self._times[what, whose] += 1
        return self._times[what, whose] - 1

    # -- what is carried out ------------------------------------------------------------

    async def _carry_out(self, scope: Scope, asked: Asked, body: bytes) -> Answered:
        if isinstance(asked.body, dict):
            body = msgspec.json.encode(self._altered(asked, asked.body))
        scope = self._with_short_ttl(scope, asked)
        await self._note_lists(scope)
        answered = await self._ask(scope, body)
        if asked.is_list:
            seen = answered.content if answered.status == 200 else []  # no such app yet
            await self._note_lists(scope, asked.url, seen)
        else:
            await self._note_lists(scope)
        if answered.status == 200:
            answered.content = self._shown(asked, answered.content)
        return answered

    def _altered(self, asked: Asked, body: dict[str, Any]) -> dict[str, Any]:
        """The request as the server takes it."""
        habits, config = self._habits, body.get("config")
        if asked.is_create and habits.create_ignores_lease_ttl:
            body = {key: value for key, value in body.items() if key != "lease_ttl"}
        for key in ("ttl", "lease_ttl"):
            if habits.longest_lease_s and isinstance(body.get(key), int):
                body = {**body, key: min(body[key], habits.longest_lease_s)}
        if habits.drops_unknown_keys and isinstance(config, dict):
            known = {key: value for key, value in config.items() if key in KNOWN_KEYS}
            body = {**body, "config": known}
        return body

    def _with_short_ttl(self, scope: Scope, asked: Asked) -> Scope:
        longest_s = self._habits.longest_lease_s
        if not longest_s or asked.verb != "lease":
            return scope
        ttl = min(int(asked.query.get("ttl", ["30"])[-1]), longest_s)
        return {**scope, "query_string": f"ttl={ttl}".encode()}

    def _shown(self, asked: Asked, content: Any) -> Any:
        habits = self._habits
        if asked.is_list:
            return self._listed(asked, content)
        if asked.method == "GET" and asked.verb == "lease" and habits.lease_hides_description:
            data = {key: value for key, value in content["data"].items() if key != "description"}
            return {**content, "data": data}
        if asked.verb == "versions" and habits.versions_without_config:
            return [{"version": each["version"]} for each in content]
        if asked.method == "GET" and not asked.verb:
            return self._with_host(content)
        return content

    def _with_host(self, machine: dict[str, Any]) -> dict[str, Any]:
        if machine["id"] not in self.lost:
            return machine
        config = machine["config"] or machine["incomplete_config"]
        hidden = {"config": None, "incomplete_config": config, "host_status": "unreachable"}
        return {**machine, **hidden}

    # -- lists --------------------------------------------------------------------------

    def _listed(self, asked: Asked, machines: Any) -> Any:
        habits = self._habits
        nth = self._count("list", "") - habits.full_lists
        if 0 <= nth < habits.empty_lists:
            return []
        if habits.list_lags_s:
            machines = self._as_then(asked.url, machines)
        shown = [self._with_host(machine) for machine in machines]
        return [*shown, dict(ODD_MACHINE)] if habits.odd_machine else shown

    def _as_then(self, url: str, machines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The list as it was `list_lags_s` ago, as far as somebody asked anything around then.

        Where nobody had yet, as it was when somebody first did, without what was made since then.
        """
        then_s = self._clock() - self._habits.list_lags_s
        noted = self._lists[url]
        older = next((found for at_s, found in reversed(noted) if at_s <= then_s), noted[0][1])
        gone = {machine["id"] for machine in older} - {machine["id"] for machine in machines}
        if not gone and all(_changed_s(machine) <= then_s for machine in machines):
            return machines  # it was noted late, and has been so for long
        return [machine for machine in older if _unix_s(machine["created_at"]) <= then_s]

    async def _note_lists(self, scope: Scope, url: str = "", content: Any = None) -> None:
        """Remember every list that was ever asked for, when it changes."""
        if not self._habits.list_lags_s:
            return
        if url and url not in self._lists:
            self._lists[url] = [(self._clock(), content)]
        for known, seen in self._lists.items():
            path, _, query = known.partition("?")
            wanted = {
                "method": "GET",
                "path": path,
                "raw_path": path.encode(),
                "query_string": query.encode(),
            }
            now = await self._ask({**scope, **wanted}, b"")
            if now.status == 200 and now.content != seen[-1][1]:
                seen.append((self._clock(), now.content))

    # -- the wire -----------------------------------------------------------------------

    async def _ask(self, scope: Scope, body: bytes) -> Answered:
        answered = Answered(0, None)
        chunks, received = [{"type": "http.request", "body": body, "more_body": False}], bytearray()

        async def receive() -> Message:
            return chunks.pop() if chunks else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered.status = message["status"]
                answered.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            received.extend(message.get("body", b""))

        length = (b"content-length", str(len(body)).encode())
        headers = [pair for pair in scope["headers"] if pair[0] != length[0]]
        # A fresh scope: the application's router leaves its marks in it.
        own = {key: value for key, value in scope.items() if key not in ("router", "route")}
        await self._application({**own, "headers": [*headers, length]}, receive, send)
        answered.content = msgspec.json.decode(received) if received else None
        return answered

    async def _send(self, answered: Answered, send: Send, *, is_list: bool) -> None:
        habits, headers = self._habits, dict(answered.headers)
        body = b"" if answered.content is None else msgspec.json.encode(answered.content)
        status = answered.status
        if is_list:
            body += b" " * (habits.list_bytes - len(body))
        if body:
            headers["content-type"] = habits.content_type or "application/json"
        if habits.redirects_to:
            status, headers["location"] = 307, habits.redirects_to
        if habits.packs and body:
            body, headers["content-encoding"] = gzip.compress(body), habits.packs
        headers["content-length"] = str(len(body))
        raw = [(key.encode(), value.encode()) for key, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


def inhabit(application: ASGIApp, habits: Habits, clock: Clock) -> Inhabited:
    """The application with these habits; `clock` is the platform's, in Unix seconds."""
    return Inhabited(application, habits, clock)


def _asked(scope: Scope, path: re.Match[str], body: bytes) -> Asked:
    headers = dict(scope["headers"])
    query = scope["query_string"].decode()
    try:
        parsed = msgspec.json.decode(body) if body else None
    except msgspec.DecodeError:
        parsed = None
    return Asked(
        method=scope["method"],
        machine=path[1] or "",
        verb=path[2] or "",
        query=parse_qs(query),
        nonce=headers.get(b"fly-machine-lease-nonce", b"").decode(),
        url=f"{scope['path']}?{query}",
        body=parsed,
    )


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _no(status: int, why: str) -> Answered:
    return Answered(status, {"error": why})


def _changed_s(machine: Mapping[str, Any]) -> float:
    """When anything last changed that a list shows."""
    checks = [check["updated_at"] for check in machine["checks"]]
    return max(_unix_s(text) for text in [machine["updated_at"], *checks])


def _unix_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
