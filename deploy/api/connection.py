"""One request to the platform and its answer: where httpx's errors become `CallFailed`.

Nothing is asked twice here. Long waits and lease refreshes have connections of
their own, so that they queue neither behind each other nor behind ordinary calls.
Requests go to httpx's transports: what its client adds (cookies, redirects, URLs
and headers merged anew for each request) is not used here, and was a fifth of the cost.
"""

from __future__ import annotations

import platform
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    nullcontext,
)
from contextvars import ContextVar
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx
import msgspec

from deploy.api import wire
from deploy.api.meaning import call_failed
from deploy.errors import CallFailed, Outage

T = TypeVar("T")
Purpose = Literal["calls", "waits", "refreshes"]
Headers = Sequence[tuple[bytes, bytes]]

# Who looks on: given the operation and the machine's id, what is entered around each request.
on_call: ContextVar[Callable[[str, str], AbstractContextManager[None]]] = ContextVar(
    "on_call", default=lambda _operation, _machine_id: nullcontext()
)

ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
OUTAGE_S = 60.0  # no call answered for so long is an outage

READ_TIMEOUT_S = 30.0
_REST_S = 60.0  # to be connected, to send, and for the rest of an answer that has begun
_LIMITS_S = {"connect": 5.0, "write": 15.0, "pool": 30.0}  # beside that to read
_CONNECTIONS: dict[Purpose, int] = {"calls": 64, "waits": 256, "refreshes": 32}

# A server may take a request on a connection that was idle, and close it: then nobody knows
# whether a write happened. One that was used within the last second is alive.
_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=1.0)

_url = lru_cache(maxsize=4096)(httpx.URL)  # parsing one costs as much as the rest of a request

_SECRET_FROM = 8  # a shorter token is one of a platform for trying, and may be a common word
_HIDDEN = b"[token]"

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


@asynccontextmanager
async def open_connection(
    address: str, token: str, transport: httpx.AsyncBaseTransport | None
) -> AsyncIterator[Connection]:
    """Pools of connections to the API at `address`, closed at the end."""
    headers = {
        "accept": "*/*",
        "accept-encoding": "identity",  # what is packed may unpack to any size
        "user-agent": f"tidegate (python {platform.python_version()})",
    }
    if token:
        headers["authorization"] = token if token.startswith("FlyV1 ") else f"Bearer {token}"
    # One context for all: making it is most of what connecting costs, also where it is not used.
    verify = httpx.create_ssl_context(verify=address.startswith("https://"))
    proxy = proxy_of(address) or None
    async with AsyncExitStack() as stack:

        def open_one() -> httpx.AsyncBaseTransport:
            if transport is not None:
                return transport
            opened = httpx.AsyncHTTPTransport(verify=verify, limits=_LIMITS, proxy=proxy)
            stack.push_async_callback(opened.aclose)
            return opened

        pools = {name: _Connections(size, open_one) for name, size in _CONNECTIONS.items()}
        yield Connection(pools, address.rstrip("/"), token, httpx.Headers(headers).raw)


def proxy_of(address: str) -> str:
    """The proxy that the environment names for this address; empty for none."""
    parts, proxies = urlsplit(address), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all", "")
    hosts = (parts.hostname or "", parts.netloc.rpartition("@")[2])  # with a port, too
    if not proxy or any(map(proxy_bypass, hosts)):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


class _Connections:
    """At most `size` connections, each the only one of a pool, opened when they are needed.

    httpcore walks all connections of a pool, and all that wait for one, at each
    request: with 64 of them that costs four times what the request does. Here
    nobody ever waits inside of it, and who came first goes first.
    """

    def __init__(self, size: int, open_one: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._turns = anyio.Semaphore(size, fast_acquire=True)
        self._open_one = open_one
        self._idle: list[httpx.AsyncBaseTransport] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncBaseTransport]:
        """A connection that is free, the one used last if there is any."""
        async with self._turns:
            connection = self._idle.pop() if self._idle else self._open_one()
            try:
                yield connection
            finally:
                self._idle.append(connection)


class Connection:
    """Sends requests and keeps watch over the platform's silence.

    `address` is the root of the platform, without `/v1`; `headers` go with every request.
    """

    def __init__(
        self,
        pools: Mapping[Purpose, _Connections],
        address: str,
        token: str,
        headers: Headers,
    ) -> None:
        self.address = address
        self._root = f"{address}/v1"
        self._host = httpx.URL(address)
        self._pools = pools
        self._headers = [(b"host", self._host.netloc), *headers]
        self._secret = token.removeprefix("FlyV1 ").encode() if len(token) >= _SECRET_FROM else b""
        self._silent_since: float | None = None

    async def send(
        self,
        operation: str,
        machine_id: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        pool: Purpose = "calls",
        headers: Headers = (),
        json: Any = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> Answer:
        """The complete answer of one request, if it is a good one.

        Raises CallFailed for anything else, and Outage once nothing has been
        answered for 60 s.
        """
        url = path if path.startswith("http") else f"{self._root}{path}"
        url = f"{url}?{urlencode(query)}" if query else url
        request = self._request(method, url, headers, json, read_timeout_s)
        with on_call.get()(operation, machine_id):
            answer = await self._exchange(operation, machine_id, pool, request, read_timeout_s)
            self._check(operation, machine_id, answer)
        return answer

    async def lines(
        self, operation: str, path: str, query: Mapping[str, str]
    ) -> AsyncGenerator[str, None]:
        """The lines of an answer as they come, for as long as they come. Raises CallFailed."""
        request = self._request("GET", f"{path}?{urlencode(query)}", (), None, None)
        try:
            async with (
                self._pools["waits"].one() as connection,
                aclosing(await connection.handle_async_request(request)) as response,
            ):
                if response.status_code != 200:
                    answer = Answer(response.status_code, response.headers, await _body(response))
                    raise _refused(operation, "", self._without_secret(answer))
                async for line in response.aiter_lines():
                    yield line
        except (httpx.HTTPError, _Unread) as error:
            raise _unanswered(operation, "", error, self._host) from None

    def _request(
        self, method: str, url: str, headers: Headers, json: Any, read_timeout_s: float | None
    ) -> httpx.Request:
        """All headers are made here: httpx works out anew, for every request, what it adds."""
        content = b"" if json is None else msgspec.json.encode(json)
        own = [(b"content-length", b"%d" % len(content))] if method == "POST" else []
        if content:
            own.append((b"content-type", b"application/json"))
        return httpx.Request(
            method,
            _url(url),
            headers=[*self._headers, *headers, *own],
            stream=httpx.ByteStream(content),
            extensions={"timeout": _LIMITS_S | {"read": read_timeout_s}},
        )

    async def _exchange(
        self,
        operation: str,
        machine_id: str,
        pool: Purpose,
        request: httpx.Request,
        read_timeout_s: float,
    ) -> Answer:
        """Whatever comes back, complete; CallFailed where nothing does."""
        try:
            async with self._pools[pool].one() as connection:
                with anyio.move_on_after(read_timeout_s + _REST_S):  # httpx's bound each piece only
                    response = await connection.handle_async_request(request)
                    async with aclosing(response):
                        content = await _body(response)
                    answer = Answer(response.status_code, response.headers, content)
                    return self._without_secret(answer)
                raise TimeoutError
        except (httpx.HTTPError, TimeoutError, _Unread) as error:
            failure = _unanswered(operation, machine_id, error, self._host)
            self._note_silence(failure)
            raise failure from None

    def _check(self, operation: str, machine_id: str, answer: Answer) -> None:
        """Raise CallFailed for an answer that is not a good one."""
        if answer.status >= 500:
            refused = _refused(operation, machine_id, answer)
            self._note_silence(refused)
            raise refused
        if unexpected := _unexpected(answer):
            other = call_failed(
                unexpected,
                operation=operation,
                machine_id=machine_id,
                status=answer.status if answer.status < 300 else None,
                garbled=True,
                hint=_where(self.address),
            )
            self._note_silence(other)
            raise other
        self._silent_since = None
        if not 200 <= answer.status < 300:
            raise _refused(operation, machine_id, answer)

    def read(self, operation: str, machine_id: str, body: bytes, decode: Callable[[bytes], T]) -> T:
        """The body as a value; CallFailed for one that cannot be read."""
        try:
            return decode(body)
        except wire.Unreadable as error:
            raise call_failed(
                f"the answer cannot be read: {error}",
                operation=operation,
                machine_id=machine_id,
                status=200,
                garbled=True,
                hint=_where(self.address),
            ) from None

    def _without_secret(self, answer: Answer) -> Answer:
        """What a server says back of our token must not get into a message or a name."""
        secret, headers = self._secret, answer.headers.raw
        said = (answer.content, *(value for _, value in headers))
        if not secret or not any(secret in each for each in said):
            return answer
        return replace(
            answer,
            headers=httpx.Headers([(k, v.replace(secret, _HIDDEN)) for k, v in headers]),
            content=answer.content.replace(secret, _HIDDEN),
        )

    def _note_silence(self, failure: CallFailed) -> None:
        """Raise Outage once nothing has been answered for OUTAGE_S."""
        now = anyio.current_time()
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since >= OUTAGE_S:
            raise Outage(
                f"the platform has answered nothing for {now - self._silent_since:.0f} s; "
                f"last: {failure.message}",
                hint="see https://status.flyio.net, then run the same command again",
            )


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; `content` is as it was sent: it was not packed."""

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def date(self) -> float | None:
        """When it was answered, in Unix seconds by the server's clock; None if it does not say."""
        try:
            return parsedate_to_datetime(self.headers["date"]).timestamp()
        except (ValueError, TypeError, KeyError, OverflowError):
            return None


class _Unread(Exception):
    """An answer that is not read to its end; its text says why."""


async def _body(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _Unread("the answer is packed, which was not asked for")
    body = bytearray()
    stream = cast(httpx.AsyncByteStream, response.stream)  # of a transport that is asynchronous
    async with aclosing(cast(AsyncGenerator[bytes, None], aiter(stream))) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > ANSWER_LIMIT_BYTES:
                raise _Unread(f"the answer is over {ANSWER_LIMIT_BYTES // 2**20} MiB")
    return bytes(body)


def _unanswered(
    operation: str, machine_id: str, error: Exception, address: httpx.URL
) -> CallFailed:
    """No complete answer: refused before anything was sent, or lost after."""
    never_sent = isinstance(error, _NEVER_SENT)
    hint = "check FLY_FLAPS_BASE_URL and the network" if never_sent else ""
    if isinstance(error, _Unread):
        said, hint = str(error), _where(str(address))
    elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        said = f"cannot reach {address.host}:{address.port or 443}: {str(error) or 'timed out'}"
    elif isinstance(error, httpx.TimeoutException | TimeoutError):
        said = "no answer in time"
    else:
        said = f"the connection broke: {str(error) or type(error).__name__}"
    return call_failed(
        said,
        operation=operation,
        machine_id=machine_id,
        sent=not never_sent,
        garbled=isinstance(error, _Unread),
        hint=hint,
    )


def _where(address: str) -> str:
    """Whom to ask about an answer that is not the API's: the address, and a proxy before it."""
    proxy = proxy_of(address)
    by = f" through the proxy {urlsplit(proxy).hostname}" if proxy else ""
    return f"asked {address}{by}: check FLY_FLAPS_BASE_URL and what is in between"


def _unexpected(answer: Answer) -> str:
    """What an answer is that no Machines API gives; empty for one that it may give."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    if 300 <= answer.status < 400:
        location = answer.headers.get("location", "")
        return f"HTTP {answer.status} leads elsewhere{f', to {location}' if location else ''}"
    if "html" in kind:
        return f"HTTP {answer.status} with a web page ({kind}), which is not the API's"
    return ""


def _refused(operation: str, machine_id: str, answer: Answer) -> CallFailed:
    said, code = wire.fault(answer.content)
    return call_failed(
        said or f"HTTP {answer.status} {httpx.codes.get_reason_phrase(answer.status)}".rstrip(),
        operation=operation,
        machine_id=machine_id,
        status=answer.status,
        code=code,
        request_id=answer.headers.get("fly-request-id", ""),
        retry_after_s=_retry_after_s(answer.headers),
    )


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """`Retry-After` in seconds; a date counts from the answer's own `Date`."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        return max(0.0, (until - parsedate_to_datetime(headers["date"])).total_seconds())
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
