"""Listening and serving HTTP: uvicorn, several times in one process.

The caller handles signals. An application that raises
ConnectionResetError has its connection broken, as a network would break it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from deploy.local.runtime import written

_KEEP_ALIVE_S = 600  # a client that pools connections must not find them closed
_BACKLOG = 1024


class HttpServer:
    """An ASGI application on a socket that listens already, without signal handlers."""

    def __init__(self, application: ASGIApp, listener: socket.socket, *, date: bool = True) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # not what clients do wrong
        config = uvicorn.Config(
            application,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=date,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=_KEEP_ALIVE_S,
            backlog=_BACKLOG,
        )
        self._server = _Server(config)
        self._listener = listener

    async def serve(self) -> None:
        await self._server.serve(sockets=[self._listener])

    def end(self) -> None:
        """Stop listening; requests that still wait for something are cut off after a second."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it calls those errors
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


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections already. Raises OSError.

    It names its protocol, and accepted ones inherit that: on others asyncio does
    not set TCP_NODELAY, and each answer on a kept connection costs 40 ms.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def address(listener: socket.socket) -> str:
    """HOST:PORT as it stands in a URL."""
    return written(listener.getsockname()[:2])
