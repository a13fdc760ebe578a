"""One conditional GET that ends within a deadline, whatever the server does.

httpx bounds each operation, not all of them together, and a name is looked up
without any bound. So the exchange runs on a thread of its own, and at the deadline
its connections are shut down, which ends the thread. Only a resolver that hangs
keeps it, as a daemon, until the resolver gives up. Knows nothing of flags.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import zlib
from collections.abc import Mapping
from concurrent.futures import Future
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    import httpx

_MOST_REDIRECTS = 5


class Failed(Exception):
    """Why there is no answer that can be used, as the end of a sentence about the address."""


class Answer(msgspec.Struct, frozen=True):
    """A body with its ETag; `unchanged` if it is the one that was asked about."""

    body: bytes
    etag: str
    unchanged: bool
    is_page: bool


def get(url: str, *, etag: str, deadline_s: float, largest_bytes: int) -> Answer:
    """What is at `url`; raises Failed, at the latest after `deadline_s`.

    Proxies and certificates are taken from the environment, as httpx does.
    """
    import httpx  # before the clock runs

    headers = {"accept-encoding": "gzip", "user-agent": "tidegate"}
    if etag and etag.isascii():  # others are allowed (RFC 9110, 8.8.3), and httpx sends none
        headers["if-none-match"] = etag
    line = _Line()
    answer: Future[Answer] = Future()

    def exchange() -> None:
        try:
            with httpx.Client(timeout=deadline_s, headers=headers, trust_env=True) as client:
                request = client.build_request("GET", url, extensions={"trace": line.trace})
                answer.set_result(_follow(client, request, largest_bytes))
        except BaseException as error:  # raised where it is waited for
            answer.set_exception(error)

    threading.Thread(target=exchange, name="tidegate-fetch", daemon=True).start()
    try:
        return answer.result(deadline_s)
    except (TimeoutError, httpx.TimeoutException):
        raise Failed(f"did not answer within {deadline_s:g} s") from None
    except httpx.RemoteProtocolError:
        raise Failed("sent no whole HTTP answer") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise Failed(f"cannot be reached: {_plain(error)}") from None
    finally:
        line.cut()


def is_loopback(host: str | None) -> bool:
    """Whether a host of a URL is this machine."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


class _Line:
    """The connections of one exchange, for another thread to cut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_cut = False

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpcore calls at each stage, on the thread of the exchange."""
        if event.endswith("connect_tcp.complete"):
            # A duplicate: TLS takes the socket itself away from its object.
            duplicate = info["return_value"].get_extra_info("socket").dup()
            with self._lock:
                self._sockets.append(duplicate)
            if self._is_cut:
                self.cut()

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            while self._sockets:
                with contextlib.suppress(OSError), self._sockets.pop() as connection:
                    connection.shutdown(socket.SHUT_RDWR)


def _follow(client: httpx.Client, request: httpx.Request, largest_bytes: int) -> Answer:
    for _ in range(_MOST_REDIRECTS + 1):
        response = client.send(request, stream=True)
        try:
            following = response.next_request
            if following is None:
                return _answer(response, largest_bytes)
        finally:
            response.close()
        if following.url.scheme != request.url.scheme:
            raise Failed(f"redirects to another scheme, {following.url.scheme}")
        if following.url.scheme == "http" and not is_loopback(following.url.host):
            raise Failed("redirects to plain http on another machine")
        request = following
    raise Failed(f"redirects more than {_MOST_REDIRECTS} times")


def _answer(response: httpx.Response, largest_bytes: int) -> Answer:
    if response.status_code == 304 and "if-none-match" in response.request.headers:
        return Answer(b"", "", unchanged=True, is_page=False)
    if response.status_code != 200:
        raise Failed(f"answers {response.status_code} {response.reason_phrase}".rstrip())
    body = _body(response, largest_bytes)
    is_page = "html" in response.headers.get("content-type", "") or body.lstrip().startswith(b"<")
    etag = response.headers.get("etag", "")
    return Answer(body, etag, unchanged=False, is_page=is_page)


def _body(response: httpx.Response, largest_bytes: int) -> bytes:
    """The body, unpacked here and not by httpx, so that a bomb stops at the limit."""
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise Failed(f"answers in an encoding that was not asked for, {encoding[:20]}")
    unpack = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    body = bytearray()
    try:
        for chunk in response.iter_raw():
            room = largest_bytes + 1 - len(body)
            body += unpack.decompress(chunk, room) if unpack else chunk[:room]
            if len(body) > largest_bytes:
                raise Failed(f"sends more than {largest_bytes:,} bytes")
    except zlib.error:
        raise Failed("sends gzip that cannot be unpacked") from None
    if unpack and not unpack.eof:
        raise Failed("sent no whole answer")
    return bytes(body)


def _plain(error: Exception) -> str:
    """The message without the numbers and file names that Python adds to it."""
    text = re.sub(r"^\[[^]]*\] |\s*\([^()]*\.c:[0-9]+\)$", "", str(error))
    return text.splitlines()[0][:200] if text else type(error).__name__


def split(url: str) -> tuple[str, str | None]:
    """Scheme and host of a URL; raises Failed if it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise Failed(f"is no address: {error}") from None
    return parts.scheme, parts.hostname
