"""The sockets that the platform listens on."""

from __future__ import annotations

import socket

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketListener
from starlette.responses import Response

from deploy.local.serving import HttpServer, listen

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # uvicorn's
async def test_an_accepted_http_connection_does_not_wait_to_send() -> None:
    listener = listen("127.0.0.1", 0)
    server = HttpServer(Response(), listener)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        async with await anyio.connect_tcp("127.0.0.1", listener.getsockname()[1]) as client:
            await client.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await client.receive()).startswith(b"HTTP/1.1 200")
            (connection,) = server._server.server_state.connections
            accepted = connection.transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        server.end()


async def test_an_accepted_tcp_connection_does_not_wait_to_send() -> None:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    async with (
        await SocketListener.from_socket(listener) as taking,
        await anyio.connect_tcp("127.0.0.1", port),
        await taking.accept() as accepted,
    ):
        raw = accepted.extra(SocketAttribute.raw_socket)  # noqa: S610 - no Django anywhere
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
