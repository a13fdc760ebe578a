"""A running `rollout serve`, its flags, and where they are asked for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

TEXT = """\
version: 1
flags:
  deploy-retries: {bucket_by: app, percent: 50, inside: 5, outside: 0, owner: me}
  theme: {bucket_by: user, percent: 50, inside: new, outside: old, always_inside: {org: [acme]}}
  fast: {bucket_by: app, enabled: false, percent: 50, inside: true, outside: false}
"""
PATH = "/ofrep/v1/evaluate/flags"
HELLO = {"context": {"targetingKey": "hello"}}

ANEW = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))
"""With a connection for every request, which any of the processes may accept."""


class Service:
    """A running `rollout serve`; `lines` is what it has said."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rollout", "serve", "--port", "0", "--poll", "0.05", *arguments],
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in os.environ if not name.startswith("ROLLOUT")},
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.until(lambda: bool(self.lines))
        self.url = self.lines[0].split()[-1]

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < deadline, self.lines
            assert self.process.poll() is None, self.lines
            time.sleep(0.01)

    def said(self, text: str) -> None:
        self.until(lambda: any(text in line for line in self.lines))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.close()
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr
        self.process.stderr.close()


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Service]:
    service = Service(*arguments)
    try:
        yield service
    finally:
        service.close()


def replace(path: Path, text: str) -> None:
    """As editors and git do it: at once."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


@contextlib.contextmanager
def under_way(service: Service, length: int) -> Iterator[socket.socket]:
    """A connection whose request has been begun: the service waits for `length` bytes of body."""
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        head = f"POST {PATH}/deploy-retries HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        yield connection
