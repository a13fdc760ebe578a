"""Somebody who is told: a web server on this computer that keeps what it gets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LISTENS_WITHIN_S = 5.0


@dataclass(frozen=True)
class Got:
    """One request; the names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Listener:
    """`answers` are (status, body), the last one for all that come after."""

    address: str
    answers: list[tuple[int, bytes]]
    got: list[Got] = field(default_factory=list)


@contextmanager
def listening(*answers: tuple[int, bytes]) -> Iterator[Listener]:
    """A server that gives these answers, 200 without any."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            listener.got.append(Got(self.path, headers, body))
            number = min(len(listener.got), len(listener.answers)) - 1
            status, text = listener.answers[number]
            self.send_response(status)
            self.send_header("location", f"{listener.address}/elsewhere")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener = Listener(f"http://127.0.0.1:{server.server_port}", list(answers) or [(200, b"{}")])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        thread.join(LISTENS_WITHIN_S)
        server.server_close()
