"""Carries httpx's requests into the platform's own application, in process and in time.

Each request runs in the server's task group: a client that gives up does not
cancel it. httpx's timeouts are applied here, by anyio's clock, and faults strike
at the calls that they are meant for. Every call leaves a record.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

import anyio
import httpx
import msgspec
from anyio.abc import TaskGroup
from starlette.types import ASGIApp, Message

from tests.worlds.simulated.faults import READS, WRITES, Answer, Kind, Rule, Spot
from tests.worlds.simulated.runtime import EPOCH_S

NONCE = "fly-machine-lease-nonce"
_KEPT_BYTES = 100_000
NEVER_SENT = ("ConnectError", "ConnectTimeout")

_ROUTES: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (method, re.compile(path), operation)
    for method, path, operation in (
        ("GET", r"/v1/apps/[^/]+", "read app"),
        ("POST", r"/v1/apps", "create app"),
        ("GET", r"/v1/apps/[^/]+/machines", "list"),
        ("POST", r"/v1/apps/[^/]+/machines", "create"),
        ("GET", r"/v1/apps/[^/]+/machines/([^/]+)", "read"),
        ("POST", r"/v1/apps/[^/]+/machines/([^/]+)", "update"),
        ("DELETE", r"/v1/apps/[^/]+/machines/([^/]+)", "destroy"),
        ("POST", r"/v1/apps/[^/]+/machines/([^/]+)/(?:start)", "start"),
        ("POST", r"/v1/apps/[^/]+/machines/([^/]+)/(?:stop)", "stop"),
        ("POST", r"/v1/apps/[^/]+/machines/([^/]+)/(?:cordon)", "cordon"),
        ("POST", r"/v1/apps/[^/]+/machines/([^/]+)/(?:uncordon)", "uncordon"),
        ("GET", r"/v1/apps/[^/]+/machines/([^/]+)/wait", "wait"),
        ("GET", r"/v1/apps/[^/]+/machines/([^/]+)/lease", "read lease"),
        ("POST", r"/v1/apps/[^/]+/machines/([^/]+)/lease", "acquire"),
        ("DELETE", r"/v1/apps/[^/]+/machines/([^/]+)/lease", "release"),
        ("POST", r"/v1/apps/[^/]+/machines/([^/]+)/metadata/[^/]+", "mark"),
        ("DELETE", r"/v1/apps/[^/]+/machines/([^/]+)/metadata/[^/]+", "unmark"),
        ("GET", r"/v1/apps/[^/]+/machines/([^/]+)/versions", "versions"),
        ("GET", r"/local/.*", "local"),
    )
)

_REPLAYED = frozenset({"list", "read"})  # what a stale answer can be to

# Operations whose answer a client cannot do without.
_READ_BODIES = (READS - {"wait"}) | {"create", "update", "acquire", "refresh"}

# The operation whose first call begins a phase of the run, in their order.
_PHASES = ("look", "hold", "mark", "work", "clear", "end", "over")
_BEGINS = {
    "acquire": "hold",
    "mark": "mark",
    "create": "work",
    "update": "work",
    "cordon": "work",
    "uncordon": "work",
    "start": "work",
    "stop": "work",
    "destroy": "clear",
    "unmark": "end",
    "release": "over",
}


@dataclass(slots=True)
class Call:
    """One request and what became of it. Times are seconds by anyio's clock.

    `heard` is what the client got: a status, or the name of httpx's exception;
    `answered` what the platform said, 0 if it was never asked. `usable` is
    whether the client got a body it could read. `ordinal` counts the calls of
    this run from 1, `number` all of them from 0.
    """

    number: int
    ordinal: int
    run: str
    sent_s: float
    operation: str
    machine: str
    name: str
    spot: Spot
    nth: int
    nonce: str
    method: str
    url: str
    body: bytes
    fault: Kind | None = None
    applied_s: float | None = None
    answered: int = 0
    answer: Any = None
    lease_before: str = ""  # the nonce in force on the platform when it arrived
    heard: str = ""
    usable: bool = True
    heard_s: float | None = None
    listed: bytes = b"[]"  # the list that the client got, empty if it is a large one

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body) if self.body else {}

    @property
    def key(self) -> str:
        """What it is about: the machine, or the name of one to be created."""
        return self.machine or self.name

    @property
    def was_carried_out(self) -> bool:
        return 200 <= self.answered < 300

    @property
    def is_good(self) -> bool:
        """Whether the client knows that it was carried out."""
        return self.heard.startswith("2") and self.usable

    @property
    def surely_not(self) -> bool:
        """Whether the client may conclude that it was not carried out."""
        if self.heard in NEVER_SENT:
            return True
        return self.heard.isdigit() and 400 <= int(self.heard) < 500 and self.heard != "408"

    def line(self) -> str:
        """One line of the log, the same for the same seed."""
        fault = f" !{self.fault}" if self.fault else ""
        applied = "" if self.applied_s is None else f" applied {self.applied_s:.6f}"
        heard = "" if self.heard_s is None else f" {self.heard_s:.6f}"
        return (
            f"{self.sent_s:.6f} {self.number} {self.run} {self.spot} #{self.nth} {self.machine}"
            f" nonce={self.nonce}{fault}{applied} {self.answered} -> {self.heard}{heard}"
        )


class Faults(Protocol):
    """Says what strikes a call that is about to be sent."""

    def strike(self, call: Call) -> Kind | None: ...


class NoFaults:
    def strike(self, call: Call) -> Kind | None:  # noqa: ARG002 - the quiet platform
        return None


class Rules:
    """Faults at exact calls."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._left = {rule: rule.times for rule in rules}

    def strike(self, call: Call) -> Kind | None:
        for rule, left in self._left.items():
            if left == 0:
                continue
            begun = left < rule.times
            here = call.spot == rule.spot and call.nth == rule.nth
            same = (call.spot.operation, call.spot.role) == (rule.spot.operation, rule.spot.role)
            if here or (begun and same):
                self._left[rule] = left - 1
                return rule.kind
        return None


class Chaos:
    """Faults at random: each call is struck with a chance of `rate`, by a kind of `kinds`."""

    def __init__(self, seed: int, rate: float, kinds: Sequence[Kind]) -> None:
        self._chance = random.Random(f"chaos/{seed}")
        self._rate = rate
        self._kinds = kinds

    def strike(self, call: Call) -> Kind | None:
        if self._chance.random() >= self._rate:
            return None
        fitting = [kind for kind in self._kinds if call.operation in kind.operations]
        return self._chance.choice(fitting) if fitting else None


Limits = dict[str, float | None]
"""httpx's timeouts in seconds: connect, read, write, pool."""

Effect = Callable[[str, Call], None]
"""Does to the platform what a kind's `effect` names; before and after the call ("name before")."""


@dataclass(slots=True)
class Reply:
    """What an application answered; `is_lost` where it said that nothing shall arrive."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    is_lost: bool = False
    done: anyio.Event = field(default_factory=anyio.Event)


class SimulatedTransport(httpx.AsyncBaseTransport):
    """The network between one run and the platform.

    `tasks` belongs to the server and outlives the run. `role` tells a machine's
    part in the fleet. A run whose process has died is `dead`: nothing it does
    reaches the platform any more.
    """

    def __init__(
        self,
        application: ASGIApp,
        tasks: TaskGroup,
        *,
        run: str,
        log: list[Call],
        faults: Faults,
        chance: random.Random,
        role: Callable[[str, str], str],
        effect: Effect,
        lease_of: Callable[[str], str],
        latency_s: tuple[float, float],
        cpu_s: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._application = application
        self._tasks = tasks
        self._run = run
        self._log = log
        self._faults = faults
        self._chance = chance
        self._role = role
        self._effect = effect
        self._lease_of = lease_of
        self._latency_s = latency_s
        self._cpu_s = cpu_s
        self._processor = anyio.Lock()
        self._seen: Counter[Spot] = Counter()
        self._phase = "look"
        self._earlier: dict[str, tuple[int, bytes]] = {}
        self.is_dead = False
        self.outage: tuple[float, float] | None = None  # from, to
        self.stranger: Kind | None = None  # who answers meanwhile; nobody, if it is none
        self.dies_at: tuple[int, bool] | None = None  # the n-th call of the run; after it?
        self.died = anyio.Event()
        self._sent = 0

    def turn_back(self) -> None:
        """From now on calls are of the phase `back`."""
        self._phase = "back"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_dead:
            await anyio.sleep_forever()
        if any(self._cpu_s):
            async with self._processor:  # the client's own, for one request at a time
                await anyio.sleep(self._chance.uniform(*self._cpu_s))
        call = self._record(request)
        await self._die_if_due(call, after=False)
        limits: Limits = request.extensions["timeout"]
        try:
            kind = call.fault = self._faults.strike(call)
            if self._is_out():
                if self.stranger is None:
                    raise httpx.ConnectError("the platform is out")
                kind = call.fault = self.stranger
            return await self._carry(request, call, kind, limits)
        except httpx.TransportError as error:
            call.heard = type(error).__name__
            raise
        finally:
            call.heard_s = anyio.current_time()
            call.heard = call.heard or "cancelled"

    # -- records -----------------------------------------------------------------

    def _record(self, request: httpx.Request) -> Call:
        operation, machine = _operation(request.method, request.url.path)
        body = request.read()
        nonce = request.headers.get(NONCE, "")
        if operation == "acquire" and nonce:
            operation = "refresh"
        name = str(msgspec.json.decode(body).get("name", "")) if operation == "create" else ""
        self._advance(operation)
        spot = Spot(operation, self._role(machine, name), self._phase)
        call = Call(
            number=len(self._log),
            ordinal=self._sent + 1,
            run=self._run,
            sent_s=anyio.current_time(),
            operation=operation,
            machine=machine,
            name=name,
            spot=spot,
            nth=self._seen[spot],
            nonce=nonce,
            method=request.method,
            url=str(request.url),
            body=body,
        )
        self._seen[spot] += 1
        self._sent += 1
        self._log.append(call)
        return call

    def _advance(self, operation: str) -> None:
        begun = _BEGINS.get(operation)
        if begun is None or (self._phase == "back" and begun not in ("end", "over")):
            return
        if self._phase == "back" or _PHASES.index(begun) > _PHASES.index(self._phase):
            self._phase = begun

    def _is_out(self) -> bool:
        return self.outage is not None and (self.outage[0] <= anyio.current_time() < self.outage[1])

    async def _die_if_due(self, call: Call, *, after: bool) -> None:
        if self.dies_at == (call.ordinal, after):
            self.is_dead = True
            self.died.set()
            await anyio.sleep_forever()

    # -- one request ---------------------------------------------------------------

    async def _carry(
        self,
        request: httpx.Request,
        call: Call,
        kind: Kind | None,
        limits: Limits,
    ) -> httpx.Response:
        if kind is not None and not kind.reaches:
            await self._pretend(kind, limits)
            return self._made_up(kind, request, call)
        there_s, back_s = (self._chance.uniform(*self._latency_s) for _ in range(2))
        reply = Reply()
        wait_s = there_s + (kind.late_s if kind else 0.0)
        self._tasks.start_soon(self._serve, request, call, kind, reply, wait_s)
        read_s = limits["read"]
        with anyio.move_on_after(read_s):
            await reply.done.wait()
            await self._die_if_due(call, after=True)
            if kind is not None and kind.answer is Answer.SILENCE:
                await anyio.sleep_forever()
            await anyio.sleep(back_s)
            return self._arrives(request, call, kind, reply)
        raise httpx.ReadTimeout("the platform took too long", request=request)

    async def _pretend(self, kind: Kind, limits: Limits) -> None:
        """What a client sees of a request that never arrives."""
        match kind.answer:
            case Answer.REFUSED:
                await anyio.sleep(self._chance.uniform(*self._latency_s))
                raise httpx.ConnectError("connection refused")
            case Answer.UNREACHED:
                await anyio.sleep(limits["connect"] or 0)
                raise httpx.ConnectTimeout("no connection in time")
            case Answer.SILENCE:
                await anyio.sleep(limits["read"] or 0)
                raise httpx.ReadTimeout("no answer in time")
            case _:
                await anyio.sleep(self._chance.uniform(*self._latency_s))

    async def _serve(
        self, request: httpx.Request, call: Call, kind: Kind | None, reply: Reply, wait_s: float
    ) -> None:
        """The server's side of a request: goes on when the client has gone."""
        await anyio.sleep(wait_s)
        effect = kind.effect if kind is not None else ""
        if effect:
            self._effect(f"{effect} before", call)
        call.applied_s = anyio.current_time()
        call.lease_before = self._lease_of(call.machine)
        await ask(self._application, request, reply)
        if call.operation != "wait":
            call.applied_s = anyio.current_time()
        call.answered = reply.status
        if call.operation in WRITES | {"read lease"} and reply.body:
            call.answer = msgspec.json.decode(reply.body)
        if effect:
            self._effect(effect, call)
        reply.done.set()

    def _arrives(
        self, request: httpx.Request, call: Call, kind: Kind | None, reply: Reply
    ) -> httpx.Response:
        """The platform's answer, or what the fault makes of it."""
        if reply.is_lost or (kind is not None and kind.answer is Answer.BROKEN):
            raise httpx.RemoteProtocolError("server disconnected without sending a response")
        status, body = reply.status, reply.body
        headers = [*reply.headers, (b"date", _date(int(EPOCH_S + (call.applied_s or 0.0))))]
        question = f"{call.method} {call.url}"
        if status == 200 and call.operation in _REPLAYED:
            self._earlier[question] = (status, body)
        match kind.answer if kind is not None else Answer.REAL:
            case Answer.STATUS:
                assert kind is not None
                return self._made_up(kind, request, call)
            case Answer.CUT:
                call.usable = False
                call.heard = "RemoteProtocolError"
                return httpx.Response(status, stream=_Cut(body), request=request)
            case Answer.HALF:
                body = body[: len(body) // 2]
                call.usable = call.operation not in _READ_BODIES
        if call.operation == "list" and status == 200:
            call.listed = body if len(body) < _KEPT_BYTES else b""
        call.heard = str(status)
        return httpx.Response(
            status, headers=headers, stream=httpx.ByteStream(body), request=request
        )

    def _made_up(self, kind: Kind, request: httpx.Request, call: Call) -> httpx.Response:
        status, body = kind.status, kind.body.replace("{machine}", call.machine)
        if kind.answer is Answer.EMPTY:
            status, body = 200, "[]"
        if kind.answer is Answer.STALE:
            status, old = self._earlier.get(f"{call.method} {call.url}", (200, b"[]"))
            body = old.decode()
            if call.operation == "list":
                call.listed = old
        headers = {"content-type": "application/json", **dict(kind.headers)}
        is_plain = headers["content-type"] == "application/json" and not kind.garbled
        call.usable = is_plain or status >= 400
        call.heard = str(status)
        return httpx.Response(status, headers=headers, content=body.encode(), request=request)


@lru_cache
def _date(unix_s: int) -> bytes:
    """By the server's clock, as servers write it."""
    return formatdate(unix_s, usegmt=True).encode()


class _Cut(httpx.AsyncByteStream):
    """Half of a body, and then nothing."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> Any:
        yield self._body[: len(self._body) // 2]
        raise httpx.RemoteProtocolError("peer closed connection without sending complete body")


@lru_cache(maxsize=1024)
def _operation(method: str, path: str) -> tuple[str, str]:
    """(operation, machine id or "")."""
    for of_route, route, operation in _ROUTES:
        if of_route == method and (found := route.fullmatch(path)):
            return operation, found.group(1) if found.groups() else ""
    raise AssertionError(f"the client asks for something new: {method} {path}")


async def ask(application: ASGIApp, request: httpx.Request, reply: Reply) -> None:
    """One request through the ASGI application."""
    raw_path, _, query = request.url.raw_path.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(raw_path.decode()),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(key.lower(), value) for key, value in request.headers.raw],
        "server": ("127.0.0.1", 4280),
        "client": ("127.0.0.1", 1),
    }
    chunks = [{"type": "http.request", "body": request.content, "more_body": False}]

    async def receive() -> Message:
        return chunks.pop() if chunks else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
            reply.headers = [
                (key, value) for key, value in message["headers"] if key != b"content-length"
            ]
        else:
            reply.body += message.get("body", b"")

    try:
        await application(scope, receive, send)
    except ConnectionResetError:
        reply.is_lost = True
