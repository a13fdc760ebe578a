"""A platform with simulated machines, called in process over its own API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
from starlette.types import ASGIApp

from deploy.local.engine import Platform
from deploy.local.hiccups import Hiccups
from deploy.local.http import api
from deploy.local.store import Store
from tests.worlds.simulated.habits import NO_HABITS, Habits, Inhabited, inhabit
from tests.worlds.simulated.runtime import Behaviour, SimulatedRuntime, simulated_clock

PATIENCE_S = 20
QUICK = (0.0, 0.01)
QUICKLY: Mapping[str, Behaviour] = {
    "ok": Behaviour(boot_s=QUICK, healthy_after_s=QUICK, stop_s=QUICK),
    "bad": Behaviour(boot_s=QUICK, healthy_after_s=QUICK, stop_s=QUICK, passes=False),
    "exit1": Behaviour(boot_s=QUICK, exit_after_s=QUICK, exit_code=1),
    "exit0": Behaviour(boot_s=QUICK, exit_after_s=QUICK),
    "lingering": Behaviour(boot_s=QUICK, healthy_after_s=QUICK, stop_s=(0.3, 0.3)),
    "deaf": Behaviour(boot_s=QUICK, healthy_after_s=QUICK, deaf=True),
    "booting": Behaviour(boot_s=(30.0, 30.0)),
    "late": Behaviour(boot_s=QUICK, healthy_after_s=(0.1, 0.1), stop_s=(0.3, 0.3)),
    "silent": Behaviour(boot_s=QUICK, healthy_after_s=None),
    "missing": Behaviour(boot_s=QUICK, cannot_start="image not found"),
}


def config(image: str = "ok", **keys: Any) -> dict[str, Any]:
    """A configuration of one HTTP service with a check; `keys` add to it."""
    service = {
        "internal_port": 8080,
        "ports": [{"port": 80, "handlers": ["http"]}],
        "checks": [{"type": "http", "path": "/health", "interval": "2s"}],
    }
    metadata = {"fly_platform_version": "v2", "fly_process_group": "app"}
    return {"image": image, "services": [service], "metadata": metadata, **keys}


@dataclass
class Served:
    """A platform over its own API, whatever its machines are."""

    platform: Platform
    client: httpx.AsyncClient

    async def create(self, image: str = "ok", **request: Any) -> dict[str, Any]:
        """A new machine, waited for until it runs (unless it is not to be launched)."""
        machine = await self.launch(**{"config": config(image), **request})
        if not request.get("skip_launch"):
            await self.reach(machine["id"], "started")
        return machine

    async def launch(self, **request: Any) -> dict[str, Any]:
        """A new machine as the create answered; nothing is waited for."""
        answer = await self.call("POST", "", json=request)
        assert answer.status_code == 200, answer.text
        machine: dict[str, Any] = answer.json()
        return machine

    async def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        """`path` is what follows /v1/apps/hello/machines."""
        return await self.client.request(method, f"/v1/apps/hello/machines{path}", **request)

    async def get(self, machine_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.call("GET", f"/{machine_id}")).json()
        return found

    async def reach(self, machine_id: str, state: str) -> dict[str, Any]:
        """The machine, once it is in a state; states that are never reached fail the test."""
        return await self.until(machine_id, lambda machine: machine["state"] == state)

    async def until(self, machine_id: str, is_so: Any) -> dict[str, Any]:
        with anyio.fail_after(PATIENCE_S):
            while not is_so(machine := await self.get(machine_id)):  # noqa: ASYNC110 - from outside
                await anyio.sleep(0.005)
        return machine


@dataclass
class World(Served):
    runtime: SimulatedRuntime
    inhabited: Inhabited


@asynccontextmanager
async def world(
    *,
    hiccups: Hiccups | None = None,
    token: str = "",
    seed: int = 1,
    habits: Habits = NO_HABITS,
    store: Store | None = None,
) -> AsyncIterator[World]:
    runtime = SimulatedRuntime(seed, QUICKLY)
    async with Platform(
        runtime=runtime, clock=simulated_clock, seed=seed, hiccups=hiccups, store=store
    ) as platform:
        application = api.app(platform, token=token)
        inhabited = inhabit(application, habits, platform.clock)
        async with client_of(application if habits == NO_HABITS else inhabited) as client:
            yield World(platform, client, runtime, inhabited)


def client_of(application: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=application)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4280")
