"""A web server that says which release it is: the app that the demo deploys.

    GET /         the image, the machine and the process group that answer
    GET /healthz  200, or 503 when the image's tag is one of $SICK_TAGS
    GET /slow     the same as /, after half a second

It listens on $HOST (127.0.0.1) and $PORT (8080; 0 for any free one). SIGTERM
lets the requests in flight finish, and ends it with 0. Only the standard
library, so that any Python 3 can run it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SLOW_S = 0.5
FRESH_S = 0.25  # how long a new connection may take to send its request while we stop


def main() -> None:
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080"))
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # before there are other threads
    server = Server(address, Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    host, port = server.socket.getsockname()[:2]
    say(f"listening on {host} port {port}")
    signal.sigwait(STOP_SIGNALS)
    server.drain()
    say("stopped: every request was answered")


class Server(ThreadingMixIn, TCPServer):
    """One thread per connection; knows which connections wait for their next request."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)
        self.timeout = 0
        self.is_stopping = False
        self._backlog_is_empty = False
        self._waiting: dict[socket.socket, bool] = {}
        self._change = threading.Condition()

    def drain(self) -> None:
        """Answer what was sent so far, accept nothing more, and return when all is answered."""
        self.shutdown()
        while not self._backlog_is_empty:
            self.handle_request()
        with self._change:
            self.is_stopping = True
            self._hang_up_on_the_idle(but_not_fresh=True)
            self._change.wait_for(lambda: True not in self._waiting.values(), FRESH_S)
            self._hang_up_on_the_idle(but_not_fresh=False)
        self.server_close()

    def handle_timeout(self) -> None:
        self._backlog_is_empty = True

    def waits(self, connection: socket.socket, *, is_fresh: bool) -> None:
        """A connection waits for a request, its first one if it `is_fresh`."""
        with self._change:
            self._waiting[connection] = is_fresh
            if self.is_stopping and is_fresh:
                connection.settimeout(FRESH_S)
            elif self.is_stopping:
                hang_up(connection)

    def works(self, connection: socket.socket) -> None:
        with self._change:
            self._waiting.pop(connection, None)
            self._change.notify_all()

    def _hang_up_on_the_idle(self, *, but_not_fresh: bool) -> None:
        for connection, is_fresh in self._waiting.items():
            if not (but_not_fresh and is_fresh):
                hang_up(connection)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: Server
    is_fresh = True

    def handle_one_request(self) -> None:
        self.server.waits(self.connection, is_fresh=self.is_fresh)
        self.is_fresh = False
        try:
            super().handle_one_request()
        finally:
            self.server.works(self.connection)

    def parse_request(self) -> bool:
        self.server.works(self.connection)
        return super().parse_request()

    def do_GET(self) -> None:
        image = os.environ.get("FLY_IMAGE_REF", "hello:unknown")
        machine = os.environ.get("FLY_MACHINE_ID", "none")
        group = os.environ.get("FLY_PROCESS_GROUP", "app")
        hello = f"image {image} machine {machine} group {group}\n"
        if self.path == "/slow":
            time.sleep(SLOW_S)
        if self.path in ("/", "/slow"):
            self.answer(200, hello)
        elif self.path == "/healthz":
            is_sick = tag_of(image) in os.environ.get("SICK_TAGS", "").split(",")
            self.answer(503 if is_sick else 200, "sick\n" if is_sick else "ok\n")
        else:
            self.answer(404, "only /, /healthz and /slow are here\n")

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if self.server.is_stopping:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a demo under load would print a line for each request."""


def tag_of(image: str) -> str:
    """The tag of an image's name: "v1" of "registry:5000/hello:v1@sha256:0f"."""
    return image.split("@")[0].rsplit("/", 1)[-1].partition(":")[2]


def hang_up(connection: socket.socket) -> None:
    """No more requests from here; one that has arrived already is still read and answered."""
    with contextlib.suppress(OSError):  # the other side was faster
        connection.shutdown(socket.SHUT_RD)


def say(what: str) -> None:
    sys.stdout.write(f"hello: {what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
