"""What a platform promises of its machines, whatever these are: each sentence on all runtimes."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.images.engine import Engine
from deploy.local.engine import Platform
from deploy.local.http import api
from deploy.local.runtime import Clock, Runtime
from deploy.local.runtimes.containers import ContainerRuntime
from deploy.local.runtimes.process import ProcessRuntime
from tests.deploy.local.world import QUICKLY, Served, client_of
from tests.worlds import engines
from tests.worlds.simulated.runtime import SimulatedRuntime, simulated_clock

pytestmark = pytest.mark.anyio

OK = "the app serves"
SCRIPTS = {
    "exit0": "echo over",
    "exit1": "echo over; exit 1",
    "deaf": "trap '' INT TERM; while :; do sleep 0.1; done",
    "sleeping": "echo asleep; exec sleep 1000",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _Simulated(SimulatedRuntime):
    async def __aenter__(self) -> _Simulated:
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Nothing is left of what was never there."""


@dataclass
class Kind:
    """How a runtime is made, and what a machine of a behaviour is configured as."""

    name: str
    make: Callable[[], AbstractAsyncContextManager[Runtime]]
    keys: Callable[[str], Mapping[str, Any]]
    clock: Clock = time.time

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[Served]:
        async with (
            self.make() as runtime,
            Platform(runtime=runtime, clock=self.clock) as platform,
            client_of(api.app(platform, token="")) as client,
        ):
            yield Served(platform, client)

    def config(self, behaviour: str = OK, **keys: Any) -> dict[str, Any]:
        metadata = {"fly_process_group": "app"}
        serves = {"services": [SERVICE]} if behaviour == OK else {}
        restart = {"policy": "no"}
        return {"metadata": metadata, "restart": restart, **serves, **self.keys(behaviour), **keys}


SERVICE = {
    "internal_port": 8080,
    "ports": [{"port": 8099, "handlers": ["http"]}],
    "checks": [{"type": "http", "path": "/", "interval": "200ms", "timeout": "2s"}],
}


@pytest.fixture(params=["processes", "containers", "simulated"])
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kind:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if request.param == "processes":
        return Kind("processes", lambda: ProcessRuntime(directory=tmp_path), _process)
    if request.param == "containers":
        address = request.getfixturevalue("engine")
        return Kind("containers", lambda: ContainerRuntime(Engine(address)), _container)
    return Kind("simulated", lambda: _Simulated(1, QUICKLY), _simulated, simulated_clock)


def _process(behaviour: str) -> Mapping[str, Any]:
    code = (
        "import os, http.server as h;"
        "h.test(h.SimpleHTTPRequestHandler, port=int(os.environ['PORT']))"
    )
    server = [sys.executable, "-c", code]
    command = server if behaviour == OK else ["sh", "-c", SCRIPTS.get(behaviour, "")]
    return {"image": "hello:v1", "init": {"cmd": command}}


def _container(behaviour: str) -> Mapping[str, Any]:
    command = {"init": {"cmd": ["/bin/sh", "-c", SCRIPTS.get(behaviour, "")]}}
    return {"image": engines.IMAGE, **({} if behaviour == OK else command)}


def _simulated(behaviour: str) -> Mapping[str, Any]:
    return {"image": {OK: "ok", "sleeping": "ok"}.get(behaviour, behaviour)}


def exits(machine: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [e["request"]["exit_event"] for e in machine["events"] if e["type"] == "exit"]


async def test_machines_of_one_internal_port_run_pass_their_checks_and_take_traffic(
    kind: Kind,
) -> None:
    async with kind.platform() as w:
        both = [await w.launch(config=kind.config()) for _ in range(2)]
        for made in both:
            seen = await w.until(made["id"], lambda m: m["checks"][0]["status"] == "passing")
            assert seen["state"] == "started"
            assert w.platform.machine("hello", made["id"]).takes_traffic


async def test_an_exit_is_recorded_with_its_code_and_the_policy_no_leaves_it(kind: Kind) -> None:
    async with kind.platform() as w:
        made = await w.launch(config=kind.config("exit1"))
        stopped = await w.reach(made["id"], "stopped")
    assert [(e["exit_code"], e["oom_killed"]) for e in exits(stopped)] == [(1, False)]


async def test_a_bad_exit_is_restarted_as_often_as_the_policy_says(kind: Kind) -> None:
    async with kind.platform() as w:
        restart = {"policy": "on-failure", "max_retries": 1}
        made = await w.launch(config=kind.config("exit1", restart=restart))
        stopped = await w.reach(made["id"], "stopped")
    assert [e["restarting"] for e in exits(stopped)] == [False, True]


async def test_a_stop_sends_its_signal_and_is_heard(kind: Kind) -> None:
    async with kind.platform() as w:
        stop = {"signal": "SIGTERM", "timeout": "10s"}
        made = await w.launch(config=kind.config("sleeping", stop_config=stop))
        await w.reach(made["id"], "started")
        began_s = time.monotonic()
        await w.call("POST", f"/{made['id']}/stop")
        stopped = await w.reach(made["id"], "stopped")
    assert time.monotonic() - began_s < 8
    assert exits(stopped)[0]["requested_stop"] is True
    assert exits(stopped)[0]["exit_code"] in (0, 143)


async def test_who_does_not_hear_is_killed_after_the_timeout(kind: Kind) -> None:
    async with kind.platform() as w:
        made = await w.launch(config=kind.config("deaf", stop_config={"timeout": "200ms"}))
        await w.reach(made["id"], "started")
        await w.call("POST", f"/{made['id']}/stop")
        stopped = await w.reach(made["id"], "stopped")
    assert exits(stopped)[0]["exit_code"] == 137


async def test_a_suspended_machine_goes_on_where_it_stood(kind: Kind) -> None:
    async with kind.platform() as w:
        made = await w.launch(config=kind.config("sleeping"))
        await w.reach(made["id"], "started")
        process = w.platform.machine("hello", made["id"]).process
        await w.call("POST", f"/{made['id']}/suspend")
        await w.reach(made["id"], "suspended")
        await w.call("POST", f"/{made['id']}/start")
        await w.reach(made["id"], "started")
        assert w.platform.machine("hello", made["id"]).process is process


async def test_an_update_is_a_new_life_and_the_old_one_ends(kind: Kind) -> None:
    async with kind.platform() as w:
        made = await w.launch(config=kind.config("sleeping"))
        await w.reach(made["id"], "started")
        answer = await w.call("POST", f"/{made['id']}", json={"config": kind.config()})
        assert answer.status_code == 200, answer.text
        new = await w.until(made["id"], lambda m: m["checks"] and m["state"] == "started")
        assert new["version"] != made["version"]
        assert exits(new)[0]["requested_stop"] is True


async def test_auto_destroy_ends_a_machine_with_its_process(kind: Kind) -> None:
    async with kind.platform() as w:
        made = await w.launch(config=kind.config("exit0", auto_destroy=True))
        gone = await w.reach(made["id"], "destroyed")
    assert [(e["exit_code"], e["oom_killed"]) for e in exits(gone)] == [(0, False)]


async def test_a_machine_is_destroyed_by_force_in_whatever_it_is_at(kind: Kind) -> None:
    async with kind.platform() as w:
        made = [await w.launch(config=kind.config("deaf")) for _ in range(2)]
        await w.reach(made[0]["id"], "started")
        for machine in made:
            await w.call("DELETE", f"/{machine['id']}?force=true")
        for machine in made:
            await w.reach(machine["id"], "destroyed")


async def test_what_a_machine_writes_is_in_its_log(kind: Kind) -> None:
    if kind.name == "simulated":
        pytest.skip("a simulated machine writes nothing")
    async with kind.platform() as w:
        made = await w.launch(config=kind.config("exit1"))
        await w.reach(made["id"], "stopped")
        answer = await w.client.get(f"/local/v1/apps/hello/logs?machine={made['id']}")
    assert '"line":"over"' in answer.text.replace(": ", ":")
