"""`deploy local up` as a process of its own, spoken to over real HTTP."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

PATIENCE_S = 20.0

WEB = """
import http.server, os, sys, time

RELEASE = os.environ["FLY_IMAGE_REF"]

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/sleep/"):
            time.sleep(float(self.path.rpartition("/")[2]))
        if self.path == "/die":
            os._exit(1)
        if self.path == "/half":
            self.send_response(200)
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
            self.wfile.flush()
            os._exit(1)
        self.answer(f"{RELEASE} {os.environ['FLY_MACHINE_ID']} {self.path}".encode())

    def do_POST(self):
        if "/sleep/" in self.path:
            time.sleep(float(self.path.rpartition("/")[2]))
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while (size := int(self.rfile.readline(), 16)) > 0:
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/die":
            os._exit(1)
        self.answer(str(len(body)).encode())

    do_PUT = do_POST

    def answer(self, body):
        self.send_response(503 if RELEASE.endswith("sick") and self.path == "/health" else 200)
        self.send_header("content-length", str(len(body)))
        for name in ("host", "x-forwarded-for", "x-custom"):
            self.send_header("seen-" + name, self.headers.get(name, ""))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.serve_forever()
"""

ECHO = """
import os, socketserver

class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(os.environ["FLY_MACHINE_ID"].encode() + b"\\n")
        while data := self.request.recv(4096):
            self.request.sendall(data)
        self.request.sendall(b"bye\\n")

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@dataclass
class Served:
    """A running platform; `lines` is what it has written so far."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def machines(
        self, method: str, path: str = "", *, app: str = "hello", **request: Any
    ) -> httpx.Response:
        url = f"{self.url}/v1/apps/{app}/machines{path}"
        return httpx.request(method, url, timeout=70, **request)

    def create(self, config: dict[str, Any], *, app: str = "hello", **request: Any) -> str:
        """The id of a new machine, once it runs and its checks pass."""
        answer = self.machines("POST", app=app, json={"config": config, **request})
        assert answer.status_code == 200, answer.text
        machine_id: str = answer.json()["id"]
        self.passing(machine_id, app=app)
        return machine_id

    def passing(self, machine_id: str, *, app: str = "hello") -> None:
        def serves() -> bool:
            machine = self.machines("GET", f"/{machine_id}", app=app).json()
            return machine["state"] == "started" and all(
                check["status"] == "passing" for check in machine["checks"]
            )

        eventually(serves)

    def service(self, *, app: str = "hello") -> str:
        """The address of the app's first service."""
        services = httpx.get(f"{self.url}/local/v1/apps/{app}/services").json()
        address: str = services[0]["address"]
        return address


@contextmanager
def served(directory: Path, *options: str) -> Iterator[Served]:
    """A platform on a free port, with WEB and ECHO at hand as web.py and echo.py."""
    (directory / "web.py").write_text(WEB)
    (directory / "echo.py").write_text(ECHO)
    command = [sys.executable, "-m", "deploy.local", "up", "--port", "0", *options]
    process = subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    platform = Served(process)
    reader = threading.Thread(target=_read, args=(platform,), daemon=True)
    reader.start()
    try:
        eventually(lambda: platform.lines and "FLY_API_TOKEN" in platform.lines[-1])
        listens = next(line for line in platform.lines if "platform listens on" in line)
        platform.url = listens.split()[-1]
        yield platform
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()
        reader.join(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


def web(image: str = "hello:v1", **keys: Any) -> dict[str, Any]:
    """The configuration of a machine that serves HTTP with web.py."""
    check = {"type": "http", "path": "/health", "interval": "1s", "timeout": "2s"}
    service = {
        "internal_port": 8080,
        "ports": [{"port": 80, "handlers": ["http"]}],
        "checks": [check],
    }
    init = {"cmd": [sys.executable, "web.py"]}
    return {"image": image, "init": init, "services": [service], **keys}


def eventually(is_so: Callable[[], object]) -> None:
    """Wait until it is so, as one waits for another process; fail after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be so"
        time.sleep(0.02)


def _read(platform: Served) -> None:
    if platform.process.stdout is not None:
        for line in platform.process.stdout:
            platform.lines.append(line.rstrip("\n"))
