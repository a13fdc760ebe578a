"""`python -m bench.simulated OPTIONS`: the local platform over machines that exist only in time.

Every call takes the same latency on top of the platform's own work. Boot and
check times are exact, so that what a deploy has to wait for is known. Counts
what it is asked for: `GET /bench` tells and forgets it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.flytoml.appconfig import parse
from deploy.local.config import Check, Config
from deploy.local.engine import Platform
from deploy.local.http import api
from deploy.local.requests import CreateMachine
from deploy.local.runtime import Address, Ended, HostStatus, Report, Spec
from deploy.local.serving import HttpServer, address, listen
from deploy.plan.configs import created_config
from deploy.plan.release import Release
from deploy.plan.stamps import slot_name

APP = "bench"
GROUP = "web"
FLY_TOML = """\
app = "bench"
[processes]
  web = "serve"
[http_service]
  internal_port = 8080
  processes = ["web"]
  [[http_service.checks]]
    path = "/health"
    interval = "1s"
"""

_MACHINE = r"/v1/apps/[^/]+/machines/[^/]+"
_OPERATIONS = tuple(
    (method, re.compile(path), name)
    for method, path, name in (
        ("GET", r"/v1/apps/[^/]+/machines", "list"),
        ("POST", r"/v1/apps/[^/]+/machines", "create"),
        ("GET", _MACHINE, "read"),
        ("POST", _MACHINE, "update"),
        ("DELETE", _MACHINE, "destroy"),
        ("GET", _MACHINE + "/lease", "read lease"),
        ("DELETE", _MACHINE + "/lease", "release"),
        ("GET", _MACHINE + "/wait", "wait"),
        ("POST", _MACHINE + "/(start|stop|cordon|uncordon)", "state"),
        ("(POST|DELETE)", _MACHINE + "/metadata/.*", "mark"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Times in seconds; `latency_s` is that of a whole call."""

    machines: int
    latency_s: float
    boot_s: float
    check_s: float


class _Runtime:
    """Machines that boot, pass their checks and stop when they are told, exactly in time."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def objection(self, config: Config) -> str:
        return "" if config.image else "config.image is missing"

    async def start(self, spec: Spec) -> _Process:  # noqa: ARG002 - all machines are alike
        await anyio.sleep(self._options.boot_s)
        return _Process(self._options.check_s)

    def log(self, machine_id: str) -> Sequence[str]:  # noqa: ARG002 - they say nothing
        return ()


class _Process:
    pid = 0
    host_status: HostStatus = "ok"

    def __init__(self, check_s: float) -> None:
        self._check_s = check_s
        self._over = anyio.Event()

    async def wait(self) -> Ended:
        await self._over.wait()
        return Ended(0)

    def signal(self, name: str) -> None:  # noqa: ARG002 - whatever it is
        self._over.set()

    def kill(self) -> None:
        self._over.set()

    def freeze(self) -> None:
        """They are never suspended here."""

    def thaw(self) -> None:
        """See `freeze`."""

    async def observe(self, check: Check, report: Report) -> None:  # noqa: ARG002 - it passes
        await anyio.sleep(self._check_s)
        report("passing", "Success")
        await anyio.sleep_forever()

    def address(self, internal_port: int) -> Address | None:  # noqa: ARG002 - nothing listens
        return None

    def listening(self) -> Sequence[Address]:
        return ()


class _Network:
    """Lets every call take its time, and counts it; `/bench` is the bench's own."""

    def __init__(self, application: ASGIApp, latency_s: float) -> None:
        self._application = application
        self._latency_s = latency_s
        self._calls: Counter[str] = Counter()
        self._first: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bench":
            await self._tell(send)
            return
        operation = _operation(scope)
        self._calls[operation] += 1
        now = time.time()
        self._first.setdefault("call", now)
        if operation in ("create", "update"):
            self._first.setdefault("write", now)
        await anyio.sleep(self._latency_s / 2)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                await anyio.sleep(self._latency_s / 2)
            await send(message)

        await self._application(scope, receive, answer)

    async def _tell(self, send: Send) -> None:
        body = json.dumps({"calls": self._calls, "first": self._first}).encode()
        self._calls, self._first = Counter(), {}
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _operation(scope: Scope) -> str:
    method, path = scope["method"], scope["path"]
    if method == "POST" and path.endswith("/lease"):
        has_nonce = any(key == b"fly-machine-lease-nonce" for key, _ in scope["headers"])
        return "refresh" if has_nonce else "acquire"
    for of, pattern, name in _OPERATIONS:
        if re.fullmatch(of, method) and pattern.fullmatch(path):
            return name
    return "other"


def _settle_in(platform: Platform, machines: int) -> None:
    """The fleet as an earlier deploy left it."""
    groups = parse(FLY_TOML).groups
    old = Release(app=APP, deploy_id="0base0000000base", image="bench:0", groups=groups)
    platform.create_app(APP)
    for slot in range(1, machines + 1):
        name = slot_name(GROUP, slot)
        request = msgspec.convert(
            {"name": name, "config": created_config(old, groups[0])}, CreateMachine
        )
        platform.create(APP, request, slot=f"setup/{name}", owner="setup")


async def serve(options: Options) -> None:
    """Until it is killed; says where it listens as soon as all machines are up."""
    async with (
        Platform(runtime=_Runtime(options)) as platform,
        anyio.create_task_group() as tasks,
    ):
        _settle_in(platform, options.machines)
        await anyio.sleep(options.boot_s + options.check_s + 1.0)
        listener = listen("127.0.0.1", 0)
        network = _Network(api.app(platform), options.latency_s)
        tasks.start_soon(HttpServer(network, listener).serve)
        sys.stdout.write(f"http://{address(listener)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(serve, msgspec.json.decode(sys.argv[1], type=Options))
