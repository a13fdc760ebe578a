"""Brings requests to machines: one listener per service port of each app.

HTTP goes request by request (`deploy.local.routing.proxy`), so that a client's
pooled connection survives every machine behind it; anything else goes
connection by connection. An HTTP request to upgrade (WebSocket) is handed on as
a plain one.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from anyio.abc import SocketStream

from deploy.local.background import HasTasks
from deploy.local.ports import moved_ports
from deploy.local.routing.balance import Balancer, service_ports
from deploy.local.routing.proxy import Proxy
from deploy.local.runtime import Address
from deploy.local.serving import HttpServer, address, listen
from deploy.local.state import IPV4_MAPPED, App, Machine
from deploy.local.traffic import ServiceAddress

FIRST_FREE_PORT = 1024  # below it only the superuser may listen
_TESTED = "FLY_TEST_MACHINE_IP"  # whose private address a machine has that tests another one


@dataclass(slots=True)
class Listener:
    """One service port of an app; `close` ends it."""

    app: App
    port: int
    is_http: bool
    socket: socket.socket
    close: Callable[[], None] = field(default=lambda: None)

    @property
    def address(self) -> str:
        return address(self.socket)


class Router(HasTasks):
    """An async context manager; listeners live as long as their app, at most as long as it."""

    def __init__(self, *, host: str, say: Callable[[str], None]) -> None:
        self._host = host
        self._say = say
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._testing: set[str] = set()  # machines that test another one
        self._balancer = Balancer()
        self.drain = self._balancer.drain

    async def __aexit__(self, *error: Any) -> bool | None:
        for listener in self._listeners.values():
            listener.close()
        return await super().__aexit__(*error)

    # -- what the platform asks of it -------------------------------------------------

    def sync(self, app: App) -> None:
        """Listen on the ports of services that are new; a port once open stays so."""
        for port, is_http in _ports(app).items():
            known = self._listeners.get((app.name, port))
            if known is None or known.app is not app:
                self._open(app, port, is_http=is_http)
        for machine in app.living:
            if machine.id not in self._testing and _TESTED in (machine.config.env or {}):
                self._open_tested(app, machine)

    def remove(self, app: App) -> None:
        """The app is gone: nobody listens for it any more."""
        for (name, port), listener in list(self._listeners.items()):
            if name == app.name:
                listener.close()
                del self._listeners[name, port]

    def services(self, app: str) -> list[ServiceAddress]:
        return [
            ServiceAddress(
                port,
                "http" if listener.is_http else "tcp",
                listener.address,
                moved=listener.socket.getsockname()[1] != port,
            )
            for (name, port), listener in sorted(self._listeners.items())
            if name == app
        ]

    # -- listening ----------------------------------------------------------------------

    def _open(self, app: App, port: int, *, is_http: bool) -> None:
        listener = Listener(app, port, is_http, self._listen(app.name, port))
        self._listeners[app.name, port] = listener
        if is_http:
            server = HttpServer(Proxy(self._balancer, app, port), listener.socket, date=False)
            listener.close = server.end
            self._tasks.start_soon(server.serve)
        else:
            scope = anyio.CancelScope()
            listener.close = scope.cancel
            self._tasks.start_soon(self._serve_tcp, listener, scope)
        scheme = "http://" if is_http else ""
        moved = " (moved: below 1024)" if port < FIRST_FREE_PORT else ""
        self._say(f"{app.name}: port {port} is {scheme}{listener.address}{moved}")

    def _listen(self, app: str, port: int) -> socket.socket:
        """The port itself if it can be had, else one that is the same for the app every time."""
        wanted = [port] if port >= FIRST_FREE_PORT else []
        for candidate in itertools.chain(wanted, moved_ports(app, port)):
            try:
                return listen(self._host, candidate)
            except OSError:
                continue
        return listen(self._host, 0)

    async def _serve_tcp(self, listener: Listener, scope: anyio.CancelScope) -> None:
        with scope:
            await _serve(listener.socket, partial(self._carry, listener))

    async def _carry(self, listener: Listener, client: SocketStream) -> None:
        """One connection: to the first machine that takes it, closed if none does."""
        choose, tried = self._balancer.choose, set[str]()
        while (target := choose(listener.app, listener.port, tried=tried)) is not None:
            tried.add(target.machine_id)
            if await _join(client, target.address):
                return

    # -- from a machine check to the machine that it tries ------------------------------

    def _open_tested(self, app: App, machine: Machine) -> None:
        """While the machine runs, the internal ports of the one that it tests are open to it."""
        self._testing.add(machine.id)
        private_ip = (machine.config.env or {})[_TESTED]
        host = private_ip.removeprefix(IPV4_MAPPED)
        for tested in (other for other in app.living if other.private_ip == private_ip):
            for port in tested.config.internal_ports:
                with suppress(OSError):  # the app listens there itself, or nobody can
                    self._tasks.start_soon(
                        self._serve_tested, machine, tested, port, listen(host, port)
                    )

    async def _serve_tested(
        self, machine: Machine, tested: Machine, port: int, listener: socket.socket
    ) -> None:
        async def carry(client: SocketStream) -> None:
            found = tested.process.address(port) if tested.process else None
            if found is not None:
                await _join(client, found)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_serve, listener, carry)
            while machine.state not in ("stopped", "failed", "destroyed"):
                await machine.next_change()
            tasks.cancel_scope.cancel()


def _ports(app: App) -> dict[int, bool]:
    """The external ports of an app's machines, and whether each speaks HTTP."""
    return {
        port.port: "http" in (port.handlers or ())
        for machine in app.living
        for service, port in service_ports(machine)
        if port.port is not None and service.protocol != "udp"
    }


async def _serve(listener: socket.socket, carry: Callable[[SocketStream], Awaitable[None]]) -> None:
    async def one(client: SocketStream) -> None:
        async with client:
            await carry(client)

    async with await anyio.abc.SocketListener.from_socket(listener) as served:
        await served.serve(one)


async def _join(client: SocketStream, address: Address) -> bool:
    """Carry a connection to an address, to its end; False if nobody takes it there."""
    try:
        machine = await anyio.connect_tcp(*address)
    except OSError:
        return False
    async with machine:
        await _splice(client, machine)
    return True


async def _splice(one: SocketStream, other: SocketStream) -> None:
    """Carry bytes both ways until both sides have ended, or one has broken."""

    async def pump(source: SocketStream, sink: SocketStream) -> None:
        try:
            async for chunk in source:
                await sink.send(chunk)
            await sink.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump, one, other)
        tasks.start_soon(pump, other, one)
