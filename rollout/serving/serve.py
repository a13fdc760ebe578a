"""Runs the OFREP service: listens, says where, looks for newer flags, and stops gracefully.

Knows sockets, signals and uvicorn; what is served is ofrep's.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from signal import SIGINT, SIGTERM

import anyio
import uvicorn

from rollout.errors import InvalidValue, SourceProblem
from rollout.live import Live
from rollout.serving import ofrep
from rollout.serving.connection import Connection
from rollout.sources import fetch

_FAREWELL_S = 10
"""For requests that are being answered when the service is told to stop."""

MOST_CONNECTIONS = 1_000
"""Beyond it a request is answered with 503."""

_BACKLOG = 2048
"""Connections that may wait to be accepted."""

Say = Callable[[str], None]


def serve(
    live: Live,
    *,
    host: str,
    port: int,
    token: str,
    rate_per_s: float,
    origins: Iterable[str],
    poll_s: float | None,
    say: Say,
) -> None:
    """Serve until SIGINT or SIGTERM; a second one cuts off the requests that are left.

    Raises InvalidValue for an address that others can reach without a `token`,
    SourceProblem if it cannot listen.
    """
    if not token and not fetch.is_loopback(host):
        raise InvalidValue(
            f"{host} can be reached by others",
            hint="add --token, or listen on 127.0.0.1",
        )
    listener = _listener(host, port)
    application = ofrep.app(live, token=token, rate_per_s=rate_per_s, origins=origins)
    config = uvicorn.Config(
        application,
        http=Connection,
        limit_concurrency=MOST_CONNECTIONS,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # else a client could choose the address that is limited
        timeout_graceful_shutdown=_FAREWELL_S,
    )
    server = _Server(config)

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_on_signal, server, say)
            tasks.start_soon(_follow, live, poll_s or live.poll_s, say)
            say(_greeting(live, listener))
            await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()

    anyio.run(run, backend_options={"use_uvloop": True})


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Left to `_end_on_signal`: uvicorn's own way ends the process by the signal."""
        yield


async def _end_on_signal(server: uvicorn.Server, say: Say) -> None:
    with anyio.open_signal_receiver(SIGINT, SIGTERM) as received:
        async for _ in received:
            if server.should_exit:
                server.force_exit = True
                for connection in tuple(server.server_state.connections):
                    connection.transport.abort()  # asyncio waits for them, from Python 3.12 on
            else:
                say("stopping: answering what has been asked")
                server.should_exit = True


async def _follow(live: Live, poll_s: float, say: Say) -> None:
    while True:
        await anyio.sleep(poll_s)
        news = await anyio.to_thread.run_sync(live.refresh, abandon_on_cancel=True)
        source = live.state.source
        if news.changed:
            say(f"{_clock()} {source} has changed: {', '.join(news.changed)}")
        if news.broke:
            say(f"{_clock()} the flags from before still serve: {news.broke}")
        if news.mended:
            say(f"{_clock()} {source} is in order again")


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Not socket.create_server, whose sockets have protocol 0: asyncio sets TCP_NODELAY only
    # where it is TCP, and without it every answer on a kept connection waits for 44 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise SourceProblem(
            f"cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}",
            hint="choose another address with --host, or another port with --port",
        ) from None
    return listener


def _greeting(live: Live, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    count = len(live.state.flags)
    what = f"{live.state.source} ({count} {'flag' if count == 1 else 'flags'})"
    return f"serving {what} at http://{f'[{host}]' if ':' in host else host}:{port}"
