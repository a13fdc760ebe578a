"""Serves the local platform in the foreground, like a development server.

Listens, says where, and on Ctrl-C or SIGTERM stops every machine before it
ends. What a machine writes goes to standard output, prefixed with its name.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio

from deploy.errors import UsageProblem
from deploy.images.engine import Engine, find_engine
from deploy.local import detached
from deploy.local.engine import Platform
from deploy.local.hiccups import Hiccups
from deploy.local.http import api
from deploy.local.routing.router import Router
from deploy.local.runtime import Runtime
from deploy.local.runtimes.containers import ContainerRuntime
from deploy.local.runtimes.either import EitherRuntime
from deploy.local.runtimes.process import ProcessRuntime
from deploy.local.serving import HttpServer, address, listen
from deploy.local.store import SqliteStore

FAREWELL_S = 5.0  # for machines to stop by themselves when the platform ends

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says: see `deploy local up --help`."""

    host: str
    port: int
    token: str
    hiccups: float
    seed: int | None
    directory: Path
    state: Path | None
    runtime: str
    detach: bool
    log: Path | None


def serve(options: Options, say: Say) -> None:
    """Run the platform until it is told to end. Raises UsageProblem if it cannot listen.

    Detached it goes on in another process, and this returns once that one serves.
    """
    is_loopback = _is_loopback(options.host)
    if not is_loopback and not options.token:
        raise UsageProblem(
            f"{options.host} can be reached by others, and this API runs commands",
            hint="add --token TOKEN, or listen on 127.0.0.1",
        )
    listener = _listener(options.host, options.port)
    hiccups = _hiccups(options, say)
    serves = _leave(options, listener, say) if options.detach else _nothing
    if serves is None:
        return

    async def run() -> None:
        store = SqliteStore(options.state) if options.state else None
        async with (
            AsyncExitStack() as stack,
            _runtime(options) as runtime,
            Router(host=options.host, say=say) as router,
            Platform(
                runtime=runtime,
                seed=options.seed,
                hiccups=hiccups,
                traffic=router,
                store=store,
                say=say,
            ) as platform,
        ):
            if store is not None:
                stack.callback(store.close)
            hosts = api.LOOPBACK_NAMES if is_loopback else frozenset[str]()
            application = api.app(platform, token=options.token, hosts=hosts)
            async with anyio.create_task_group() as tasks:
                server = HttpServer(application, listener)
                tasks.start_soon(server.serve)
                _announce(say, listener, options, hiccups)
                serves()
                await _told_to_end(platform, say)
                server.end()

    anyio.run(run)


def _runtime(options: Options) -> AbstractAsyncContextManager[Runtime]:
    """What machines are. Raises UsageProblem, when it is entered, where no engine answers."""
    processes = ProcessRuntime(directory=options.directory)
    if options.runtime == "process":
        return processes
    containers = ContainerRuntime(Engine(find_engine(os.environ)), state=options.state)
    return containers if options.runtime == "docker" else EitherRuntime(processes, containers)


def _leave(options: Options, listener: socket.socket, say: Say) -> Callable[[], None] | None:
    """Detach: what to call once it serves, or None in the process that has nothing more to do."""
    port = listener.getsockname()[1]
    claimed = detached.claim(port)
    log = options.log or detached.directory() / f"{port}.log"
    if not detached.leave(claimed, log):
        return claimed.say_ready
    _announce(say, listener, options, None)
    say(f"it goes on in the background: its log is {log}")
    say(f"  deploy local down --port {port}   ends it and its machines")
    return None


def _nothing() -> None:
    """Nobody waits for it to serve."""


def _hiccups(options: Options, say: Say) -> Hiccups | None:
    if not options.hiccups:
        return None
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    return Hiccups(rate=options.hiccups, seed=seed, say=say)


async def _told_to_end(platform: Platform, say: Say) -> None:
    """Return when all machines have stopped after Ctrl-C or SIGTERM; the second one waits less."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        await anext(received)
        say("stopping the machines; once more to kill them")
        async with anyio.create_task_group() as tasks:

            async def hurry() -> None:
                await anext(received)
                tasks.cancel_scope.cancel()

            tasks.start_soon(hurry)
            await platform.end_all(within_s=FAREWELL_S)
            tasks.cancel_scope.cancel()


def _listener(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise UsageProblem(
            f"cannot listen on {host}, port {port}: {error.strerror or error}",
            hint="is another platform running? end it, or choose another port with --port",
        ) from None


def _announce(say: Say, listener: socket.socket, options: Options, hiccups: Hiccups | None) -> None:
    url = f"http://{address(listener)}"
    say(f"the local platform listens on {url}")
    if hiccups is not None:
        say(f"hiccups strike {hiccups.rate:.0%} of all writes, seed {hiccups.seed}")
    say("in another terminal:")
    say(f"  export FLY_FLAPS_BASE_URL={url}")
    say(f"  export FLY_API_TOKEN={'the --token you gave' if options.token else 'local'}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
