"""The Docker engine on this computer: its HTTP API over a unix socket.

Calls and streams, and what an answer means; knows nothing of builds, machines or
deploys. https://docs.docker.com/reference/api/engine/ describes the API; what is
used here has been there since engine 20.10.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import anyio
import httpx

SOCKET = Path("/var/run/docker.sock")
CALL_S = 120.0  # an engine that is busy takes its time to create or remove something
_CONNECT_S = 5.0
_AT_THE_DOOR_S = 5.0  # for a new connection to be answered, until nobody is taken to be there
_UNIX, _TCP = "unix://", "tcp://"


class EngineGone(Exception):
    """No engine answers, or it ended in the middle of an answer."""


class EngineRefused(Exception):
    """The engine answered, and would not do it; `status` is 0 where it said so in a stream."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def find_engine(environ: Mapping[str, str]) -> str:
    """The address of the engine, as DOCKER_HOST spells it; whether one is there is not tried."""
    if said := environ.get("DOCKER_HOST"):
        return said
    home, runtime = environ.get("HOME", ""), environ.get("XDG_RUNTIME_DIR", "")
    own = [Path(runtime) / "docker.sock"] if runtime else []
    desktop = [Path(home) / ".docker" / "run" / "docker.sock"] if home else []
    found = next((path for path in (SOCKET, *own, *desktop) if path.exists()), SOCKET)
    return f"{_UNIX}{found}"


class Engine:
    """An async context manager. Every method raises EngineGone or EngineRefused."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = httpx.AsyncClient(
            base_url=f"http://{address.removeprefix(_TCP)}"
            if _is_tcp(address)
            else "http://engine",
            transport=httpx.AsyncHTTPTransport(
                verify=False,  # no TLS here, and reading certificates takes 50 ms
                uds=None if _is_tcp(address) else address.removeprefix(_UNIX),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
            ),
            timeout=httpx.Timeout(CALL_S, connect=_CONNECT_S),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._client.aclose()

    async def call(self, method: str, path: str, **request: Any) -> Any:
        """One request and its whole answer, read from JSON; None where it is empty.

        Bounded by its timeout and never cut short: an engine that is asked for something
        does it, whether somebody listens or not.
        """
        with anyio.CancelScope(shield=True), _gone():
            answer = await self._client.request(method, path, **request)
        _refuse(answer)
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise EngineGone("what answers is no Docker engine") from None

    async def wait(self, container: str) -> int:
        """The exit code of a container, when it has ended: a request without a time limit."""
        path = f"/containers/{container}/wait"
        answer = await self.call("POST", path, timeout=httpx.Timeout(None, connect=_CONNECT_S))
        code: int = answer["StatusCode"]
        return code

    async def must_have_seen_end(self, container: str) -> None:
        """Raise EngineGone unless a container that has ended did so while the engine was well.

        An engine that ends first closes its door, then kills its containers, and answers on
        the connections that it has all the while: so this asks on a new one. Where systemd
        holds the door open, the next engine is who answers; it has no such event.
        """
        filters = json.dumps({"container": [container], "event": ["die"]})
        params = {"since": "1", "filters": filters}  # all that it remembers
        async with (
            Engine(self.address) as anew,
            anew.stream("GET", "/events", idle_s=_AT_THE_DOOR_S, params=params) as events,
        ):
            async for _ in events:
                return
        raise EngineGone("it has ended")

    async def call_anew(self, method: str, path: str) -> Any:
        """A call over a new connection, which an engine that is about to end does not take."""
        async with Engine(self.address) as anew:
            return await anew.call(method, path, timeout=_AT_THE_DOOR_S)

    async def takes_calls(self) -> bool:
        """Whether it takes new connections: one that is about to end refuses odd things."""
        try:
            await self.call_anew("GET", "/version")
        except EngineGone:
            return False
        return True

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, idle_s: float | None = None, **request: Any
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """A request whose answer comes in pieces; EngineGone where none comes for `idle_s`."""
        timeout = httpx.Timeout(idle_s, connect=_CONNECT_S)
        with _gone():
            async with self._client.stream(method, path, timeout=timeout, **request) as answer:
                if answer.is_error:
                    await answer.aread()
                _refuse(answer)
                yield answer.aiter_raw()

    async def progress(
        self, path: str, *, idle_s: float, **request: Any
    ) -> AsyncIterator[Mapping[str, Any]]:
        """What a pull or a push tells, one JSON object a line; an error in it is EngineRefused."""
        async with self.stream("POST", path, idle_s=idle_s, **request) as chunks:
            rest = b""
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield _told(line)


@contextmanager
def _gone() -> Iterator[None]:
    """Anything that httpx says of a broken connection, as EngineGone."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise EngineGone("it did not answer in time") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EngineGone(str(error) or type(error).__name__) from error


def _refuse(answer: httpx.Response) -> None:
    if answer.is_error:
        try:
            message = str(answer.json()["message"])
        except (ValueError, KeyError, TypeError):
            message = answer.text[:200] or f"status {answer.status_code}"
        raise EngineRefused(message.strip(), answer.status_code)


def _told(line: bytes) -> Mapping[str, Any]:
    try:
        told = dict(json.loads(line))
    except (ValueError, TypeError):
        raise EngineGone("what answers is no Docker engine") from None
    if "error" in told:
        raise EngineRefused(str(told["error"]))
    return told


def _is_tcp(address: str) -> bool:
    return address.startswith(_TCP)
