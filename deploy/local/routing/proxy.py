"""HTTP to the machines of one service, request by request.

A request that a machine refuses goes to another one. One whose connection
breaks before the first byte of an answer goes to another one too, if its method
may be repeated (RFC 9110, section 9.2.2) and its body is at hand. Nothing is
parsed or written here: uvicorn listens, httpx asks. Connections to machines are
not pooled, so that none is ever found closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx
from starlette.types import Receive, Scope, Send

from deploy.local.routing.balance import Balancer, Target
from deploy.local.state import App

REPLAY_LIMIT_BYTES = 1024 * 1024  # of a body that is kept in case it has to be sent again
_CONNECT_S = 5.0
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_HOP_BY_HOP = frozenset(
    b"connection expect keep-alive proxy-authenticate proxy-authorization proxy-connection te "
    b"trailer transfer-encoding upgrade".split()
)

Headers = list[tuple[bytes, bytes]]


class Proxy:
    """The ASGI application behind one service port."""

    def __init__(self, balancer: Balancer, app: App, port: int) -> None:
        self._balancer = balancer
        self._app = app
        self._port = port
        self._transport = httpx.AsyncHTTPTransport(
            verify=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = Body(receive)
        await body.begin()
        if body.is_cut:
            return
        complete = True
        if body.is_whole:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
                complete = await self._exchange(scope, body, send)
                tasks.cancel_scope.cancel()
        else:
            complete = await self._exchange(scope, body, send)
        if not complete:
            raise ConnectionResetError("the machine broke off in its answer")

    async def _exchange(self, scope: Scope, body: Body, send: Send) -> bool:
        """Whether the client has a complete answer; False if a machine broke off in it."""
        tried: set[str] = set()
        repeatable = scope["method"] in _REPEATABLE
        while (target := self._balancer.choose(self._app, self._port, tried=tried)) is not None:
            tried.add(target.machine_id)
            with self._balancer.in_flight(target):
                try:
                    answer = await self._transport.handle_async_request(
                        _request(scope, target, body)
                    )
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue
                except (httpx.HTTPError, ConnectionError):
                    if repeatable and body.is_whole:
                        continue
                    return await _say_no(send, 502, "the machine broke off before it answered")
                return await _hand_over(answer, send)
        if tried:
            return await _say_no(send, 502, "no machine took the request")
        why = f"no machine of app {self._app.name} is started, uncordoned and passing"
        return await _say_no(send, 503, why)


class Body(httpx.AsyncByteStream):
    """A request's body: the beginning is kept, the rest (if any) can be read once."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept = bytearray()
        self.is_whole = False  # all of it is kept
        self.is_cut = False  # the client left before its end

    async def begin(self) -> None:
        while not self.is_whole and len(self._kept) <= REPLAY_LIMIT_BYTES:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.is_cut = True
                return
            self._kept += message.get("body", b"")
            self.is_whole = not message.get("more_body", False)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._kept:
            yield bytes(self._kept)
        more = not self.is_whole
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client left before the end of its body")
            yield message.get("body", b"")
            more = message.get("more_body", False)


def _request(scope: Scope, target: Target, body: Body) -> httpx.Request:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        path += b"?" + scope["query_string"]
    headers = _end_to_end(scope["headers"])
    if b"transfer-encoding" in dict(scope["headers"]):
        headers.append((b"transfer-encoding", b"chunked"))
    client = scope.get("client")
    if client:
        headers.append((b"x-forwarded-for", client[0].encode()))
    headers.append((b"x-forwarded-proto", b"http"))
    host, port = target.address
    return httpx.Request(
        scope["method"],
        httpx.URL(scheme="http", host=host, port=port, raw_path=path),
        headers=headers,
        stream=body,
        extensions={"timeout": {"connect": _CONNECT_S}},
    )


async def _hand_over(answer: httpx.Response, send: Send) -> bool:
    """The answer to the client; False if the machine breaks off before its end."""
    headers = _end_to_end(answer.headers.raw)
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    try:
        async for chunk in answer.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except httpx.HTTPError:
        return False
    finally:
        with anyio.CancelScope(shield=True):
            await answer.aclose()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return True


async def _say_no(send: Send, status: int, why: str) -> bool:
    body = f"{why}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return True


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    """A client that has gone needs no answer; the machine must not be kept busy for it."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _end_to_end(headers: Headers) -> Headers:
    """The headers that are meant for the other end, not for the next hop (RFC 9110, 7.6.1)."""
    named = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for token in value.split(b",")
    }
    return [
        (name, value)
        for name, value in headers
        if name.lower() not in _HOP_BY_HOP and name.lower() not in named
    ]
