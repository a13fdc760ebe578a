"""Answers without end, or that grow when they are read, cost neither memory nor time."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest

from tests.worlds.outside import clean_environ, write_project

LIMIT_MB = 200
PATIENCE_S = 60.0
MEBI = 1024 * 1024

# Runs the command, then writes the most memory that it ever had. (What getrusage
# tells of a process begins with what its parent had when it started it.)
MEASURED = """
import atexit, re, resource, sys
from pathlib import Path

def tell():
    status = Path("/proc/self/status")
    if status.exists():
        peak_mb = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) / 1024
    else:
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak {peak_mb:.0f} MB", file=sys.stderr)

atexit.register(tell)
sys.argv[0] = "deploy"
from deploy.cli import main
main()
"""

Body = Callable[[], Iterable[bytes]]


def endless_text() -> Iterator[bytes]:
    for _ in range(1024):
        yield b"x" * MEBI


def many_machines() -> Iterator[bytes]:
    one = b'{"id":"148ed21c031789","state":"started","config":{"metadata":{}}},'
    yield b"["
    for _ in range(100):
        yield one * 10_000
    yield b"null]"


def small_values() -> Iterator[bytes]:
    """Three bytes each on the wire, some twenty times that in memory."""
    yield b'[{"id":"148ed21c031789","state":"started","config":{"x":['
    for _ in range(60):
        yield b"{}," * (MEBI // 3)
    yield b"0]}}]"


def small_machines() -> Iterator[bytes]:
    yield b"["
    for _ in range(60):
        yield b'{"id":"a","state":""},' * (MEBI // 22)
    yield b'{"id":"a","state":""}]'


def wide_text() -> Iterator[bytes]:
    """One character of four bytes makes all of a string four bytes wide."""
    yield b'[{"id":"148ed21c031789","state":"\xf0\x9f\x92\xa5'
    for _ in range(60):
        yield b"x" * MEBI
    yield b'"}]'


def deep_lists() -> Iterator[bytes]:
    yield b'[{"id":"a","state":"b","config":{"x":'
    yield b"[" * 100_000 + b"]" * 100_000
    yield b"}}]"


def deep_objects() -> Iterator[bytes]:
    yield b'{"a":' * 100_000 + b"1" + b"}" * 100_000


@cache
def zeros_zipped() -> bytes:
    """A gibibyte of zeros, without an end: after a full flush each piece packs as the last."""
    packer = zlib.compressobj(9, wbits=31)
    first, other = (
        packer.compress(bytes(MEBI)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    return first + other * 1023


def bomb() -> Iterator[bytes]:
    yield zeros_zipped()


def bomb_in_a_bomb() -> Iterator[bytes]:
    yield gzip.compress(zeros_zipped())


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (endless_text, ""),
        (many_machines, ""),
        (small_values, ""),
        (small_machines, ""),
        (wide_text, ""),
        (deep_lists, ""),
        (deep_objects, ""),
        (bomb, "gzip"),
        (bomb_in_a_bomb, "gzip, gzip"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.__name__,
)
def test_no_answer_takes_more_than_200_mb(body: Body, encoding: str, tmp_path: Path) -> None:
    refuse_to_take(200, body, encoding, tmp_path)


@pytest.mark.parametrize("body", [endless_text, small_values])
def test_no_refusal_takes_more_than_200_mb(body: Body, tmp_path: Path) -> None:
    refuse_to_take(400, body, "", tmp_path)


def refuse_to_take(status: int, body: Body, encoding: str, tmp_path: Path) -> None:
    """Deploy against a platform that answers all with that, and look at what it took."""
    write_project(tmp_path)
    words = ["--app", "hello", "--image", "hello:v1", "--deploy-retries", "0"]
    with server(status, body, encoding) as address:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *words],
            check=False,
            cwd=tmp_path,
            env=clean_environ(tmp_path) | {"FLY_FLAPS_BASE_URL": address},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    *said, peak = done.stderr.splitlines()
    assert int(peak.split()[1]) < LIMIT_MB, (said, peak)
    assert done.returncode in (1, 3, 4, 6), done
    assert any("list" in line for line in said), done
    assert "itself failed" not in done.stderr
    assert len(done.stderr) < 2000


@contextmanager
def server(status: int, body: Body, encoding: str) -> Iterator[str]:
    """Answers everything with that, chunked, for as long as somebody reads it."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    head = [f"HTTP/1.1 {status} Well", "transfer-encoding: chunked", "connection: close"]
    head += [f"content-encoding: {encoding}"] if encoding else []

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall("\r\n".join([*head, "", ""]).encode())
            for piece in body():
                if over.is_set():
                    return
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
