"""Serves the local platform in the foreground, like a development server.

Listens, says where, and on Ctrl-C or SIGTERM stops every machine before it
ends. What a machine writes goes to standard output, prefixed with its name.
"""

from __future__ import annotations

import ipaddress
import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import anyio

from deploy.errors import UsageProblem
from deploy.local.engine import Platform
from deploy.local.hiccups import Hiccups
from deploy.local.http import api
from deploy.local.routing.router import Router
from deploy.local.runtimes.process import ProcessRuntime
from deploy.local.serving import HttpServer, address, listen

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
    listener = _listener(host, port)
    hiccup_seed = secrets.randbelow(1_000_000) if seed is None else seed
    hiccups = Hiccups(rate=hiccup_rate, seed=hiccup_seed, say=say) if hiccup_rate > 0 else None

    async def run() -> None:
        async with (
            ProcessRuntime(directory=directory, say=say) as runtime,
            Router(host=host, say=say) as router,
            Platform(runtime=runtime, seed=seed, hiccups=hiccups, traffic=router) as platform,
        ):
            hosts = api.LOOPBACK_NAMES if is_loopback else frozenset[str]()
            application = api.app(platform, token=token, hosts=hosts)
            async with anyio.create_task_group() as tasks:
                server = HttpServer(application, listener)
                tasks.start_soon(server.serve)
                _announce(say, listener, token=token, hiccups=hiccups)
                await _told_to_end(platform, say)
                server.end()

    anyio.run(run)


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


def _announce(say: Say, listener: socket.socket, *, token: str, hiccups: Hiccups | None) -> None:
    url = f"http://{address(listener)}"
    say(f"the local platform listens on {url}")
    if hiccups is not None:
        say(f"hiccups strike {hiccups.rate:.0%} of all writes, seed {hiccups.seed}")
    say("in another terminal:")
    say(f"  export FLY_FLAPS_BASE_URL={url}")
    say(f"  export FLY_API_TOKEN={'the --token you gave' if token else 'local'}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
