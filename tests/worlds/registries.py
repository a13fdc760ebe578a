"""Registries to push to: a real one, and ones that fail as registries do."""

from __future__ import annotations

import http.server
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.worlds.engines import NoEngine
from tests.worlds.outside import until

TOKEN = "fm2_test"  # noqa: S105 - of nobody
_HASHED = "x:$2b$04$FXO/Cz7LgjZEeUg/T8BwIOMzIozRLurMJUajiSLe9dp9f.0qJT5ri"  # TOKEN, by bcrypt
_CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_AUTH = "auth: {{htpasswd: {{realm: test, path: {path}}}}}\n"


def program() -> str:
    found = shutil.which("docker-registry")
    if found is None:
        raise NoEngine("there is no docker-registry: apt-get install docker-registry")
    return found


@contextmanager
def registry(directory: Path, *, token: str = "") -> Iterator[str]:
    """A docker-registry on this computer: its HOST:PORT. With a token only who bears it may."""
    port = free_port()
    config = directory / "registry.yml"
    text = _CONFIG.format(root=directory / "blobs", port=port)
    if token:
        (directory / "htpasswd").write_text(f"{_HASHED}\n")
        text += _AUTH.format(path=directory / "htpasswd")
    config.write_text(text)
    with (directory / "registry.log").open("w") as log:
        process = subprocess.Popen([program(), "serve", str(config)], stdout=log, stderr=log)
    try:
        until("the registry listens", lambda: _listens(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@dataclass
class Answering:
    """A registry that answers everything with one status, and counts how often."""

    address: str = ""
    asked: int = 0


@contextmanager
def answering(status: int) -> Iterator[Answering]:
    told = Answering()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked += 1
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the name that is called

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with _serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        told.address = address
        yield told


@contextmanager
def silent() -> Iterator[str]:
    """A registry that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@dataclass
class Cutting:
    address: str = ""
    cuts_left: int = 1


@contextmanager
def cutting(behind: str, *, after_bytes: int = 20_000) -> Iterator[Cutting]:
    """A way to a registry that breaks once in the middle of a layer."""
    host, _, port = behind.partition(":")
    told = Cutting()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(port))) as there:
                back = threading.Thread(target=_pump, args=(there, self.request), daemon=True)
                back.start()
                self._forward(there)

        def _forward(self, there: socket.socket) -> None:
            sent, is_layer = 0, False
            while data := self.request.recv(16384):
                is_layer = is_layer or data.startswith(b"PATCH")
                sent += len(data) if is_layer else 0
                if is_layer and sent > after_bytes and told.cuts_left:
                    told.cuts_left -= 1
                    self.request.shutdown(socket.SHUT_RDWR)
                    return
                there.sendall(data)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with _serving(server) as address:
        told.address = address
        yield told


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(16384):
            sink.sendall(data)
    except OSError:
        return


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
