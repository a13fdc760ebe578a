"""A deploy from outside: the commands as processes, the platform over HTTP, files on disk.

Nothing here imports the program: what a test sees is what a person would see.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LIMIT_S = 60.0
V1, V2, SICK, HELD = "hello:v1", "hello:v2", "hello:v3", "hello:held"

# The example's server, sick as v3, and as `held` until the file $GO exists.
SERVER = """
import os
import server

class Handler(server.Handler):
    def do_GET(self):
        held = os.environ["FLY_IMAGE_REF"].endswith(":held")
        if held and self.path == "/healthz" and not os.path.exists(os.environ["GO"]):
            self.answer(503, "held")
        else:
            super().do_GET()

server.Handler = Handler
server.main()
"""
# It names no app: FLY_APP does.
FLY_TOML = """
kill_timeout = 5

[processes]
  app = "{python} -E -S held.py"

[env]
  SICK_TAGS = "v3"

[deploy]
  wait_timeout = "20s"

[[services]]
  internal_port = 8080
  protocol = "tcp"
  processes = ["app"]

  [[services.ports]]
    port = 8090
    handlers = ["http"]

  [[services.http_checks]]
    path = "/healthz"
    grace_period = "50ms"
    interval = "250ms"
    timeout = "2s"
"""

_STEERS = re.compile(r"FLY_|ROLLOUT_|DEPLOY_|TIDEGATE_|GITHUB_|NO_COLOR|FORCE_COLOR|PYTHON")
_ADDRESS = re.compile(r"listens on (http://\S+)")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Mapping[str, Any]:
        """The last line of `--output json`."""
        report: Mapping[str, Any] = json.loads(self.out.splitlines()[-1])
        return report


@dataclass
class Project:
    """The directory that somebody deploys from, one app on one platform."""

    directory: Path
    app: str
    address: str
    environ: dict[str, str] = field(default_factory=dict)

    def deploy(self, *words: str, **environ: str) -> Done:
        """Run `deploy` with these words to its end."""
        process = self.begin(*words, **environ)
        return finish(process)

    def begin(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start `deploy` with these words."""
        return subprocess.Popen(
            [str(BIN / "deploy"), *words],
            cwd=self.directory,
            env=clean_environ(self.directory) | self.steering | self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def steering(self) -> dict[str, str]:
        return {"FLY_FLAPS_BASE_URL": self.address, "FLY_APP": self.app}

    def must(self, *words: str) -> Done:
        done = self.deploy(*words)
        assert done.code == 0, done
        return done

    def hold(self) -> subprocess.Popen[str]:
        """A deploy of HELD that is under way: its first machine will not be healthy until `go`."""
        under_way = self.begin("-i", HELD, "-e", f"GO={self._go}", "--lease-timeout", "5s")
        until("the first machine is written to", lambda: HELD in self.images())
        return under_way

    def go(self) -> None:
        """Let HELD become healthy."""
        self._go.touch()

    @property
    def _go(self) -> Path:
        return self.directory / "go"

    def remove(self) -> None:
        """Destroy what this app and its siblings have, so that it costs later tests nothing."""
        for app in self.get("/v1/apps")["apps"]:
            if app["name"].startswith(self.app):
                found = replace(self, app=app["name"])
                for machine in found.machines():
                    path = f"/v1/apps/{found.app}/machines/{machine['id']}?force=true"
                    httpx.delete(self.address + path, headers=self.headers)

    def sibling(self, app: str) -> Project:
        """Another app in the same directory, on the same platform."""
        return replace(self, app=f"{self.app}-{app}")

    def machines(self) -> list[dict[str, Any]]:
        """The machines as the platform lists them, without those that are on their way out.

        A deploy ends when its last DELETE is answered, and not when that process has ended.
        """
        found: list[dict[str, Any]] = self.get(f"/v1/apps/{self.app}/machines")
        return [machine for machine in found if machine["state"] != "destroying"]

    def images(self) -> list[str]:
        return sorted(machine["config"]["image"] for machine in self.machines())

    def versions(self) -> list[tuple[str, str]]:
        """What any write to a machine's configuration would change."""
        return sorted((machine["id"], machine["instance_id"]) for machine in self.machines())

    def leases(self) -> list[str]:
        """Ids of the machines that are under lease."""
        return [m["id"] for m in self.machines() if self._lease(m["id"]).status_code == 200]

    def entrance(self) -> tuple[str, int]:
        """(host, port) where the router takes requests for the app."""
        (service,) = self.get(f"/local/v1/apps/{self.app}/services")
        host, _, port = service["address"].rpartition(":")
        return host, int(port)

    def get(self, path: str) -> Any:
        return httpx.get(self.address + path, headers=self.headers).raise_for_status().json()

    @property
    def headers(self) -> dict[str, str]:
        token = self.environ.get("FLY_API_TOKEN")
        return {"authorization": f"Bearer {token}"} if token else {}

    def _lease(self, machine_id: str) -> httpx.Response:
        path = f"/v1/apps/{self.app}/machines/{machine_id}/lease"
        return httpx.get(self.address + path, headers=self.headers)


def finish(process: subprocess.Popen[str]) -> Done:
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    return Done(process.returncode, out, err)


def until(what: str, holds: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait for a condition."""
    give_up = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up, f"not in {within_s:g} s: {what}"
        time.sleep(0.02)


def write_project(directory: Path) -> None:
    """The example's server and its fly.toml, in a directory of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "examples" / "hello" / "server.py", directory)
    (directory / "held.py").write_text(SERVER)
    (directory / "fly.toml").write_text(FLY_TOML.format(python=sys.executable))


@contextmanager
def platform(directory: Path, *options: str) -> Iterator[str]:
    """`deploy local up` in a directory with an app for as long as the block runs: its address."""
    with running_platform(directory, *options) as (_, address):
        yield address


@contextmanager
def running_platform(
    directory: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The same, and its process."""
    if not (directory / "fly.toml").exists():
        write_project(directory)
    log = directory / "platform.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(BIN / "deploy"), "local", "up", "--port", "0", *options],
            cwd=directory,
            env=clean_environ(directory),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until("it listens", lambda: bool(_ADDRESS.search(log.read_text())) or _ended(process))
        found = _ADDRESS.search(log.read_text())
        assert found is not None, log.read_text()
        yield process, found.group(1)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        finally:
            process.kill()


def clean_environ(directory: Path) -> dict[str, str]:
    """The environment without what steers a deploy, and with a home of its own."""
    home = str(directory / "home")
    kept = {key: value for key, value in os.environ.items() if not _STEERS.match(key)}
    return kept | {
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": str(ROOT),  # this checkout, whatever is installed
        "HOME": home,
        "XDG_STATE_HOME": home,
        "XDG_CACHE_HOME": home,
    }


def _ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None
