"""Serves the local platform in the foreground, like a development server.

Listens, says where, and on Ctrl-C or SIGTERM stops every machine before it
ends. What a machine writes goes to standard output, prefixed with its name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from deploy.errors import UsageProblem
from deploy.local import api
from deploy.local.engine import Platform
from deploy.local.hiccups import Hiccups
from deploy.local.process import ProcessRuntime

FAREWELL_S = 5.0  # for machines to stop by themselves when the platform ends

Say = Callable[[str], None]


def serve(
    *,
    host: str,
    port: int,
    token: str,
    hiccup_rate: float,
    seed: int | None,
    directory: Path,
    say: Say,
) -> None:
    """Run the platform until it is told to end. Raises UsageProblem if it cannot listen."""
    is_loopback = _is_loopback(host)
    if not is_loopback and not token:
        raise UsageProblem(
            f"{host} can be reached by others, and this API runs commands",
            hint="add --token TOKEN, or listen on 127.0.0.1",
        )
    listener = _listen(host, port)
    hiccups = Hiccups(rate=hiccup_rate, seed=seed or 0) if hiccup_rate > 0 else None

    async def run() -> None:
        async with (
            ProcessRuntime(directory=directory, say=say) as runtime,
            Platform(runtime=runtime, seed=seed) as platform,
        ):
            hosts = api.LOOPBACK_NAMES if is_loopback else frozenset[str]()
            application = api.app(platform, token=token, hosts=hosts, hiccups=hiccups)
            async with anyio.create_task_group() as tasks:
                server = HttpServer(application, listener)
                tasks.start_soon(server.serve)
                _announce(say, listener, token=token, hiccups=hiccups)
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
                    async for _ in received:
                        break
                say("stopping the machines")
                await platform.end_all(within_s=FAREWELL_S)
                server.end()

    anyio.run(run)


class HttpServer:
    """An ASGI application on a socket that listens already, without signal handlers."""

    def __init__(self, application: ASGIApp, listener: socket.socket) -> None:
        config = uvicorn.Config(
            application,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,
        )
        self._server = _Server(config)
        self._listener = listener

    async def serve(self) -> None:
        await self._server.serve(sockets=[self._listener])

    def end(self) -> None:
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are the platform's business: several of these servers run in one process."""
        yield


class _Protocol(H11Protocol):
    """Breaks the connection when the application says that its reply is lost."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        super().connection_made(transport)
        self.app = _breaking(self.app, transport)


def _breaking(inner: Any, transport: asyncio.Transport) -> Any:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await inner(scope, receive, send)
        except ConnectionResetError:
            transport.abort()
            while (await receive())["type"] != "http.disconnect":
                pass

    return application


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise UsageProblem(
            f"cannot listen on {host}, port {port}: {error.strerror or error}",
            hint="is another platform running? end it, or choose another port with --port",
        ) from None
    return listener


def _announce(say: Say, listener: socket.socket, *, token: str, hiccups: Hiccups | None) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    say(f"the local platform listens on http://{shown}:{port}")
    if hiccups is not None:
        say(f"hiccups strike {hiccups.rate:.0%} of all writes, seed {hiccups.seed}")
    say("in another terminal:")
    say(f"  export FLY_FLAPS_BASE_URL=http://{shown}:{port}")
    say(f"  export FLY_API_TOKEN={'the --token you gave' if token else 'local'}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
