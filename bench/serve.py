"""How many evaluations a second a server answers over OFREP, how fast, and in how much memory.

Every server is a process of its own, and so is wrk, which asks it on 16 connections.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from bench.definitions import KEY
from bench.memory import memory_kb
from bench.ours import FLAGS_TEXT, flags
from rollout.serving.export import to_flagd

HEADING = """\
# What serving a flag costs

Printed by `scripts/bench serve`: one flag over OFREP, wrk with
one thread and 16 kept connections, each server a process of its own that shares the
machine's processors with wrk. The memory is the most that was resident in all its processes,
looked at ten times a second; a page that they share counts once.

The aims for rollout serve on two processors: over 12,000 requests a second, p99 under 10 ms and
under 60 MB, also while its file changes every second.
"""

_PATH = f"/ofrep/v1/evaluate/flags/{KEY}"
_CONNECTIONS = 16
_ASK = """\
wrk.method = "POST"
wrk.body = '{"context": {"targetingKey": "hello"}}'
wrk.headers["Content-Type"] = "application/json"
"""
_FAILED = r"(?:Non-2xx[^:]*:|connect|read|write|timeout) ([0-9]+)"
_SCALES_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Contender(NamedTuple):
    """A server: what to call it, its command, and the file to change once a second, if any."""

    name: str
    command: Sequence[str]
    port: int
    changing: Path | None = None


class Found(NamedTuple):
    """What wrk and the system say: requests per second, milliseconds, megabytes."""

    per_s: float
    p50_ms: float
    p99_ms: float
    memory_mb: float
    failures: int


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench serve", description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="how long each is asked")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there as well")
    options = parser.parse_args(arguments)
    if not shutil.which("wrk"):
        sys.exit("wrk is not installed: on Debian and Ubuntu, apt install wrk")
    lines = [f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors", ""]
    lines.append("| server | requests/s | p50 ms | p99 ms | memory MB | failures |")
    lines.append("|---|---|---|---|---|---|")
    click.echo("\n".join(lines))
    with tempfile.TemporaryDirectory() as name:
        for contender in contenders(Path(name)):
            found = measure(contender, options.seconds, Path(name))
            numbers = f"{found.per_s:,.0f} | {found.p50_ms:.2f} | {found.p99_ms:.2f}"
            memory = f"{found.memory_mb:.0f} | {found.failures}"
            lines.append(f"| {contender.name} | {numbers} | {memory} |")
            click.echo(lines[-1])
    if options.out:
        options.out.write_text("\n".join([HEADING, *lines, ""]), "utf-8")


def contenders(directory: Path) -> Iterator[Contender]:
    """Ours, as it comes, with a file that changes, and as one process; the peers that are named."""
    path = directory / "flags.yaml"
    path.write_text(FLAGS_TEXT.format(key=KEY, percent=50))
    command = [sys.executable, "-m", "rollout", "serve", "--file", str(path), "--port"]
    for name, changing in (("", None), (", its file changes every second", path)):
        port = _free_port()
        yield Contender(f"rollout serve{name}", [*command, str(port)], port, changing)
    port = _free_port()
    yield Contender("rollout serve --workers 1", [*command, str(port), "--workers", "1"], port)
    if flagd := os.environ.get("FLAGD"):
        definition = directory / "flagd.json"
        definition.write_text(json.dumps(to_flagd(flags(50).values())))
        ports = [_free_port() for _ in range(4)]
        options = ("--ofrep-port", "--port", "--management-port", "--sync-port")
        chosen = [text for pair in zip(options, map(str, ports), strict=True) for text in pair]
        yield Contender("flagd", [flagd, "start", "--uri", f"file:{definition}", *chosen], ports[0])
    if relay := os.environ.get("GO_FEATURE_FLAG"):
        port = _free_port()
        theirs = {
            KEY: {"variations": {"a": 5, "b": 0}, "defaultRule": {"percentage": {"a": 50, "b": 50}}}
        }
        (directory / "relay.json").write_text(json.dumps(theirs))
        config = {
            "server": {"mode": "http", "port": port},
            "fileFormat": "json",
            "retrievers": [{"kind": "file", "path": str(directory / "relay.json")}],
        }
        (directory / "relay.yaml").write_text(json.dumps(config))
        yield Contender(
            "GO Feature Flag relay", [relay, "--config", str(directory / "relay.yaml")], port
        )


def measure(contender: Contender, seconds: int, directory: Path) -> Found:
    """Start the server, ask it for so long, and stop it."""
    script = directory / "ask.lua"
    script.write_text(_ASK)
    url = f"http://127.0.0.1:{contender.port}{_PATH}"
    asked = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}", "--latency", "-s", str(script), url]
    peak_kb = 0
    with (
        _running(contender) as process,
        _changing(contender.changing),
        subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as wrk,  # noqa: S603 -- wrk
    ):
        while wrk.poll() is None:
            peak_kb = max(peak_kb, memory_kb(process.pid))
            time.sleep(0.1)
        said = wrk.communicate()[0]
    if wrk.returncode:
        sys.exit(f"wrk ended with {wrk.returncode}")
    p50_ms, p99_ms = (_ms(*_read(rf"{share}%\s+([0-9.]+)(us|ms|s)", said)) for share in (50, 99))
    return Found(
        float(_read(r"Requests/sec:\s*([0-9.]+)", said)[0]),
        p50_ms,
        p99_ms,
        memory_mb=peak_kb / 1000,
        failures=sum(map(int, re.findall(_FAILED, said))),
    )


@contextmanager
def _running(contender: Contender) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(  # noqa: S603 -- our own command, or the binary that was named
        contender.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", contender.port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{contender.name} does not listen") from None
                time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _changing(path: Path | None) -> Iterator[None]:
    """Replace the file once a second by one with another percentage."""
    over = threading.Event()

    def change(path: Path) -> None:
        number = 0
        while not over.wait(1):
            number += 1
            other = path.with_suffix(".new")
            other.write_text(FLAGS_TEXT.format(key=KEY, percent=40 + number % 20))
            other.replace(path)

    thread = threading.Thread(target=change, args=[path]) if path else None
    if thread:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread:
            thread.join()


def _read(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"nothing in this says {pattern}:\n{text}")
    return match.groups()


def _ms(number: str, unit: str) -> float:
    return float(number) * _SCALES_MS[unit]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
