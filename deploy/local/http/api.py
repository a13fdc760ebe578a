"""The Machines API over a `Platform`, as an ASGI application.

No input makes this answer 500: what cannot be read is a 400, 404, 405 or 413
with a sentence.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Match, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.local.engine import Platform
from deploy.local.hiccups import Strike
from deploy.local.http.calls import Call, Reply
from deploy.local.http.description import describe
from deploy.local.http.operations import OPERATIONS as TABLE
from deploy.local.http.operations import STREAM_TYPE, Operation
from deploy.local.http.slots import slot_for
from deploy.local.http.views import ErrorView
from deploy.local.refusals import Refusal, invalid
from deploy.local.requests import read, read_query

BODY_LIMIT_BYTES = 1024 * 1024
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
NONCE_HEADER = "fly-machine-lease-nonce"


def _description(_: Call) -> dict[str, Any]:
    """What is served here, in OpenAPI's words."""
    return describe(OPERATIONS)


OPERATIONS = (*TABLE, Operation("GET", "/local/openapi.json", _description))


def app(
    platform: Platform,
    *,
    token: str = "",
    hosts: frozenset[str] = LOOPBACK_NAMES,
) -> ASGIApp:
    """The ASGI application.

    With a `token` every request must bear it. `hosts` are the names that a
    Host header may carry; empty lets any pass. A reply that a hiccup loses is
    a ConnectionResetError out of the application: the server must break
    the connection then (`deploy.local.server` aborts the transport).
    """
    frame = _Frame(platform, token, hosts)
    rest = Route("/{rest:path}", frame)
    return Router([*frame.routes, rest], redirect_slashes=False, default=frame)


class _Frame:
    """What every operation shares: who may ask, reading, hiccups, writing the answer."""

    def __init__(self, platform: Platform, token: str, hosts: frozenset[str]) -> None:
        self._platform = platform
        self._token = token
        self._hosts = hosts
        self.routes = [
            Route(operation.path, self._endpoint(operation), methods=[operation.method])
            for operation in OPERATIONS
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """No such operation: 405 where the path has one by another method, otherwise 404."""
        matching = [route for route in self.routes if route.matches(scope)[0] is not Match.NONE]
        allowed = sorted({method for route in matching for method in route.methods or ()})
        reply = Reply(ErrorView("Not Found"), 404)
        if allowed:  # RFC 9110, 15.5.6
            reply = Reply(ErrorView("Method Not Allowed"), 405, {"allow": ", ".join(allowed)})
        await self._response(reply)(scope, receive, send)

    def _endpoint(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            try:
                return self._response(await self._reply(operation, request))
            except Refusal as refusal:
                return self._response(_refused(refusal))

        return respond

    async def _reply(self, operation: Operation, request: Request) -> Reply[Any]:
        self._admit(request)
        body = await _body(request)
        call = Call(
            platform=self._platform,
            path=request.path_params,
            query=request.query_params.multi_items(),
            nonce=request.headers.get(NONCE_HEADER, ""),
            owner=self._owner(request),
            slot=self._slot(operation, request.path_params, body) if operation.struck_as else "",
            body=body,
        )
        strike = self._strike(operation, call)
        if strike is None:
            return await _carried_out(operation, call)
        reply = None
        if strike.applied:
            try:
                reply = await _carried_out(operation, call)
            except Refusal as refusal:
                reply = _refused(refusal)
        return self._struck(call, strike, reply)

    def _slot(self, operation: Operation, path: Mapping[str, str], body: Any) -> str:
        """The slot of the machine that is written to; "" where there is none."""
        app = self._platform.apps.get(path["app"])
        if operation.struck_as == "create":
            return slot_for(app, body)
        machine = app.machines.get(path["machine"]) if app else None
        return machine.slot if machine else ""

    def _struck(self, call: Call, strike: Strike, reply: Reply[Any] | None) -> Reply[Any]:
        """The answer that a hiccup makes of what was, or was not, carried out."""
        if strike.hidden_s and reply is not None and reply.status == 200:
            self._platform.hide(call.app, reply.content.id, for_s=strike.hidden_s)
            return reply
        if strike.refusal is None:
            raise ConnectionResetError("a hiccup lost this reply")
        return _refused(strike.refusal)

    def _admit(self, request: Request) -> None:
        """Only programs on this machine, or those that know the token: it runs commands."""
        host = request.headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self._hosts and name.lower() not in self._hosts:
            raise Refusal(400, f"host {host[:80]!r} is not this platform's: use its address")
        if "origin" in request.headers:
            raise Refusal(403, "requests from web pages are refused: this API runs commands")
        given = request.headers.get("authorization", "").encode()
        if self._token and not hmac.compare_digest(_bare(given), self._token.encode()):
            raise Refusal(401, "the token is missing or wrong: set FLY_API_TOKEN to the --token")

    def _owner(self, request: Request) -> str:
        """Clients that share a token share an owner; the token itself must not show."""
        given = _bare(request.headers.get("authorization", "").encode())
        return f"token-{hashlib.sha256(given).hexdigest()[:8]}" if given else "anonymous"

    def _strike(self, operation: Operation, call: Call) -> Strike | None:
        hiccups = self._platform.hiccups
        if hiccups is None or not call.slot:
            return None
        name = "refresh" if operation.struck_as == "lease" and call.nonce else operation.struck_as
        return hiccups.next(call.app, call.slot, name)

    def _response(self, reply: Reply[Any]) -> Response:
        headers = {"fly-request-id": f"{self._platform.identity.ulid()}-local", **reply.headers}
        if reply.content is None:
            return Response(status_code=reply.status, headers=headers)
        if isinstance(reply.content, AsyncIterator):
            lines = _as_lines(reply.content)
            return StreamingResponse(lines, reply.status, headers, media_type=STREAM_TYPE)
        body = msgspec.json.encode(reply.content)
        return Response(body, reply.status, headers, media_type="application/json")


async def _as_lines(items: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for item in items:
        yield msgspec.json.encode(item) + b"\n"


async def _carried_out(operation: Operation, call: Call) -> Reply[Any]:
    takes, given = operation.takes, {}
    if "body" in takes:
        given["body"] = read(call.body, takes["body"])
    if "query" in takes:
        given["query"] = read_query(call.query, takes["query"])
    answer = operation.handler(call, **given)
    if inspect.isawaitable(answer):
        answer = await answer
    if operation.method != "GET" and call.platform.store.failure:
        raise Refusal(503, f"unavailable: the state is not kept: {call.platform.store.failure}")
    return answer if isinstance(answer, Reply) else Reply(answer, operation.status)


async def _body(request: Request) -> Any:
    """The request's JSON; {} for an empty body. Raises Refusal (400, 413)."""
    if request.method in ("GET", "HEAD"):
        return {}
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > BODY_LIMIT_BYTES:
        raise _too_large()
    read = await _read(request)
    if not read:
        return {}
    try:
        return msgspec.json.decode(read)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise invalid(f"the body is not JSON: {why}") from None


async def _read(request: Request) -> bytearray:
    read = bytearray()
    try:
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                read += chunk
                if len(read) > BODY_LIMIT_BYTES:
                    raise _too_large()
    except ClientDisconnect:
        raise invalid("the request ended before its body did") from None
    return read


def _too_large() -> Refusal:
    return Refusal(413, f"the body is larger than {BODY_LIMIT_BYTES} bytes")


def _refused(refusal: Refusal) -> Reply[Any]:
    content = ErrorView(refusal.text, refusal.code or UNSET)
    headers = {}
    if refusal.retry_after_s is not None:
        headers["retry-after"] = str(refusal.retry_after_s)
    return Reply(content, refusal.status, headers)


def _bare(authorization: bytes) -> bytes:
    """The token in an Authorization header, with or without the scheme's name."""
    scheme, _, token = authorization.partition(b" ")
    return token.strip() if scheme.lower() in (b"bearer", b"flyv1") else authorization.strip()
