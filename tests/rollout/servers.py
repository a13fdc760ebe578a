"""A web server that says exactly the bytes it is told to, at the pace it is told to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias

Behave: TypeAlias = Callable[[socket.socket, str], None]
"""Given the connection and the head of the request that came over it."""


class Server:
    """Listens on loopback; `behave` may be changed at any time."""

    def __init__(self, behave: Behave, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.heads: list[str] = []
        self.over = threading.Event()
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}/flags.yaml"

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection.dup())
            self._threads.append(threading.Thread(target=self._serve, args=[connection]))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            if self._tls:
                connection = stack.enter_context(
                    self._tls.wrap_socket(connection, server_side=True)
                )
            head = b""
            while b"\r\n\r\n" not in head:
                if not (part := connection.recv(65536)):
                    return
                head += part
            self.heads.append(head.decode("latin-1"))
            self.behave(connection, self.heads[-1])
            connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def serving(behave: Behave, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(behave, tls)
    try:
        yield server
    finally:
        server.close()
        for connection in server._open:
            connection.close()


def response(
    body: bytes = b"", status: str = "200 OK", *, length: int | None = None, **headers: str
) -> bytes:
    """The bytes of an answer; `length` is what it says about its length, if it lies."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def saying(data: bytes) -> Behave:
    """Says `data` to everybody."""
    return lambda connection, _: connection.sendall(data)


def with_etag(body: bytes, etag: str) -> Behave:
    """Answers as a good web server does."""

    def behave(connection: socket.socket, head: str) -> None:
        if f"if-none-match: {etag}\r\n" in head.lower():
            connection.sendall(f"HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n".encode())
        else:
            connection.sendall(response(body, ETag=etag))

    return behave
