"""How long the local platform takes to start and to end machines, as processes and as containers.

`scripts/bench machines`. The app is the same in both: a static busybox that serves HTTP,
with a TCP check every 100 ms. All machines are asked for at once; they are there when the
platform says that each has started and passes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

IMAGE = "tidegate-bench:1"
_DOCKERFILE = "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\n"
_SERVE = ["sh", "-c", "exec busybox httpd -f -p $PORT"]
_LIMIT_S = 120
_COLUMNS = ("machines are", "machines", "all pass s", "ms a machine", "all gone s")


def main(arguments: Sequence[str]) -> None:
    """Print a table, and write it to a file where one is named."""
    asked = _parser().parse_args(arguments)
    busybox = shutil.which("busybox")
    if busybox is None:
        sys.exit("there is no busybox: apt-get install busybox-static")
    runtimes = ["process", *(["docker"] if _make_image(busybox) else [])]
    lines = [_line(_COLUMNS), _line("---" for _ in _COLUMNS)]
    for runtime in runtimes:
        taken = [_round(runtime, asked.machines) for _ in range(asked.rounds)]
        up_s, gone_s = (median(seconds) for seconds in zip(*taken, strict=True))
        name = {"process": "processes", "docker": "containers"}[runtime]
        numbers = (f"{up_s:.2f}", f"{up_s * 1000 / asked.machines:.0f}", f"{gone_s:.2f}")
        lines.append(_line((name, str(asked.machines), *numbers)))
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if asked.out:
        asked.out.write_text(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench machines", description=__doc__)
    parser.add_argument("--machines", type=int, default=20, metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    return parser


def _make_image(busybox: str) -> bool:
    """Whether there is an engine; it has the image then."""
    docker = shutil.which("docker")
    with tempfile.TemporaryDirectory() as name:
        context = Path(name)
        shutil.copy(busybox, context / "busybox")
        (context / "Dockerfile").write_text(_DOCKERFILE)
        command = [docker or "docker", "build", "--quiet", "--tag", IMAGE, name]
        built = docker is not None and subprocess.run(command, capture_output=True).returncode == 0  # noqa: S603, PLW1510 - ours
    if not built:
        sys.stdout.write("containers are left out: there is no Docker engine\n\n")
    return built


def _round(runtime: str, machines: int) -> tuple[float, float]:
    """Seconds until all pass, and until all are gone."""
    with _platform(runtime) as url, ThreadPoolExecutor(machines) as at_once:
        began = time.monotonic()
        ids = list(at_once.map(lambda _: _create(url), range(machines)))
        _until(lambda: _passing(url) == machines)
        passed = time.monotonic()
        list(at_once.map(lambda one: _call(url, "DELETE", f"/{one}?force=true"), ids))
        _until(lambda: not _call(url, "GET", ""))
        return passed - began, time.monotonic() - passed


@contextmanager
def _platform(runtime: str) -> Iterator[str]:
    command = [sys.executable, "-m", "deploy.local", "up", "--port", "0", "--runtime", runtime]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        try:
            yield next(iter(process.stdout or ())).split()[-1]
        finally:
            process.terminate()
            process.communicate()


def _create(url: str) -> str:
    service = {
        "internal_port": 8080,
        "ports": [{"port": 8080}],
        "checks": [{"type": "tcp", "interval": "100ms", "timeout": "2s"}],
    }
    config = {"image": IMAGE, "init": {"cmd": _SERVE}, "services": [service]}
    made: str = _call(url, "POST", "", {"config": config})["id"]
    return made


def _passing(url: str) -> int:
    return sum(
        machine["state"] == "started" and machine["checks"][0]["status"] == "passing"
        for machine in _call(url, "GET", "")
    )


def _call(url: str, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{url}/v1/apps/bench/machines{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
        return json.load(answer)


def _until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + _LIMIT_S
    while not holds():
        if time.monotonic() > give_up:
            sys.exit(f"it took over {_LIMIT_S} s")
        time.sleep(0.02)


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
