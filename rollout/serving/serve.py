"""Runs the OFREP service: listens, says where, looks for newer flags, and stops gracefully.

Knows sockets, signals and uvicorn; what is served is ofrep's, and further processes are
workers'.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from signal import SIGINT, SIGTERM
from typing import TypeAlias

import anyio
import uvicorn
from starlette.types import ASGIApp

from rollout.errors import InvalidValue, SourceProblem
from rollout.live import Live
from rollout.serving import connection, ofrep
from rollout.serving.workers import Workers, forked, obey
from rollout.sources import fetch
from rollout.wording import some

_FAREWELL_S = 10
"""For requests that are being answered when the service is told to stop."""

MOST_CONNECTIONS = 1_000
"""Of one process; beyond it a request is answered with 503."""

_BACKLOG = 2048
"""Connections that may wait to be accepted."""

Say: TypeAlias = Callable[[str], None]

Beside: TypeAlias = Callable[[uvicorn.Server], Coroutine[None, None, None]]
"""What goes on beside a server, for as long as that runs."""


def serve(
    live: Live,
    *,
    host: str,
    port: int,
    workers: int,
    token: str,
    rate_per_s: float,
    origins: Iterable[str],
    poll_s: float | None,
    say: Say,
) -> None:
    """Serve until SIGINT or SIGTERM; a second one cuts off the requests that are left.

    `workers` is how many processes answer. Raises InvalidValue for an address that others
    can reach without a `token` and for a rate that several processes would have to
    count, SourceProblem if it cannot listen.
    """
    if not token and not fetch.is_loopback(host):
        raise InvalidValue(
            f"{host} can be reached by others",
            hint="add --token, or listen on 127.0.0.1",
        )
    if rate_per_s and workers > 1:
        raise InvalidValue(
            "the requests of an address are counted in one process",
            hint="leave out --workers or --rate, or have a proxy limit the rate",
        )
    listener = _listener(host, port)
    config = _config(ofrep.app(live, token=token, rate_per_s=rate_per_s, origins=origins))

    def run(others: Workers, *all_beside: Beside) -> None:
        run_ = partial(_run, _Server(config), listener, others, all_beside, say)
        anyio.run(run_, backend_options={"use_uvloop": True})

    def work(hears: Connection) -> None:
        run(Workers(), partial(_take, live, hears))

    with forked(workers - 1, work) as others:
        run(
            others,
            partial(_end_on_signal, others, say, _greeting(live, listener)),
            partial(_follow, live, others, poll_s or live.poll_s, say),
        )


def _config(application: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=connection.Connection,
        limit_concurrency=MOST_CONNECTIONS,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # else a client could choose the address that is limited
        timeout_graceful_shutdown=_FAREWELL_S,
    )


async def _run(
    server: uvicorn.Server,
    listener: socket.socket,
    others: Workers,
    all_beside: Iterable[Beside],
    say: Say,
) -> None:
    async with anyio.create_task_group() as tasks:
        for beside in all_beside:
            tasks.start_soon(beside, server)
        async with anyio.create_task_group() as answering:
            answering.start_soon(others.watch, say)
            await server.serve(sockets=[listener])
            # Signals are heard until the others have answered, too.
            answering.cancel_scope.deadline = anyio.current_time() + _FAREWELL_S
        tasks.cancel_scope.cancel()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Left to `_end_on_signal`: uvicorn's own way ends the process by the signal."""
        yield


async def _end_on_signal(others: Workers, say: Say, greeting: str, server: uvicorn.Server) -> None:
    with anyio.open_signal_receiver(SIGINT, SIGTERM) as received:
        say(greeting)  # not before, since who has read it may send one
        async for _ in received:
            if server.should_exit:
                server.force_exit = True
                others.kill()
                for each in tuple(server.server_state.connections):
                    each.transport.abort()  # asyncio waits for them, from Python 3.12 on
            else:
                say("stopping: answering what has been asked")
                server.should_exit = True
                others.stop()


async def _follow(live: Live, others: Workers, poll_s: float, say: Say, _: uvicorn.Server) -> None:
    while True:
        await anyio.sleep(poll_s)
        before = live.text
        news = await anyio.to_thread.run_sync(live.refresh, abandon_on_cancel=True)
        if live.text != before:
            await others.tell(live.text)
        source = live.state.source
        if news.changed:
            say(f"{_clock()} {source} has changed: {', '.join(some(news.changed))}")
        if news.broke:
            say(f"{_clock()} the flags from before still serve: {news.broke}")
        if news.mended:
            say(f"{_clock()} {source} is in order again")


async def _take(live: Live, hears: Connection, server: uvicorn.Server) -> None:
    """What a worker does beside answering: it serves what the first process tells of."""
    await obey(hears, live.take)
    server.should_exit = True


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
