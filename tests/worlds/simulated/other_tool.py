"""Another tool that deploys the app, as flyctl does: no part of ours, and judged by no law.

It takes a lease of every machine at once, refreshes them every 4 s, rolls through the machines
that are there one by one, and gives the leases back. Metadata it copies forward, our stamps
among it, and writes a release id of its own. A lease that it cannot have, or a machine that does
not do well, ends it where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio
import httpx
import msgspec

from tests.worlds.simulated.story import APP, Run
from tests.worlds.simulated.transport import NONCE, Faults
from tests.worlds.simulated.world import ADDRESS, World

NAME = "theirs"
_TTL_S, _REFRESH_S = 13, 4.0
_TRIES = 4  # of anything that is answered 502 or 503
_LOOKS = 60  # at a machine, a second apart, until it is healthy
_GROUPS = ("web", "worker")


class _GivesUp(Exception):
    pass


async def deploy(world: World, image: str, faults: Faults) -> Run:
    """Deploy `image` beside what else goes on; what became of it is for the story's laws."""
    release = replace(world.scenario.release(NAME), image=image)
    now_s, before = anyio.current_time(), world.snapshot()
    told = Run(name=NAME, release=release, retries=0, started_s=now_s, before=before)
    world.story.others.append(told)
    transport = world.transport(NAME, faults)
    async with httpx.AsyncClient(base_url=f"{ADDRESS}/v1/apps/{APP}", transport=transport) as http:
        with suppress(_GivesUp):
            await _Deploy(http, image).run()
    told.ended_s, told.after = anyio.current_time(), world.snapshot()
    return told


class _Deploy:
    def __init__(self, http: httpx.AsyncClient, image: str) -> None:
        self._http = http
        self._image = image
        self._nonces: dict[str, str] = {}

    async def run(self) -> None:
        machines = [each for each in await self._ask("GET", "/machines") if _is_deployed(each)]
        numbers = [int(_metadata(each).get("fly_release_version") or 0) for each in machines]
        own = {"fly_release_id": NAME, "fly_release_version": str(1 + max(numbers, default=0))}
        try:
            async with anyio.create_task_group() as tasks:
                await self._lease_all([each["id"] for each in machines])
                tasks.start_soon(self._refresh)
                for machine in machines if len(self._nonces) == len(machines) else ():
                    await self._update(machine, own)
                tasks.cancel_scope.cancel()
        except* _GivesUp:
            pass
        for machine_id in self._nonces:
            with suppress(_GivesUp):
                await self._ask("DELETE", f"/machines/{machine_id}/lease", of=machine_id)

    async def _lease_all(self, machine_ids: Sequence[str]) -> None:
        async def one(machine_id: str) -> None:
            asked = {"ttl": _TTL_S, "description": f"another tool/{NAME}"}  # it says whose
            with suppress(_GivesUp):
                lease = await self._ask("POST", f"/machines/{machine_id}/lease", asked)
                self._nonces[machine_id] = lease["data"]["nonce"]

        async with anyio.create_task_group() as tasks:
            for machine_id in machine_ids:
                tasks.start_soon(one, machine_id)

    async def _refresh(self) -> None:
        while True:
            await anyio.sleep(_REFRESH_S)
            for machine_id in self._nonces:
                with suppress(_GivesUp):
                    place = f"/machines/{machine_id}/lease"
                    await self._ask("POST", place, {"ttl": _TTL_S}, of=machine_id)

    async def _update(self, machine: Mapping[str, Any], own: dict[str, str]) -> None:
        machine_id, runs = machine["id"], machine["state"] == "started"
        config = {**machine["config"], "image": self._image, "metadata": _metadata(machine) | own}
        asked = {"config": config, "skip_launch": not runs}
        await self._ask("POST", f"/machines/{machine_id}", asked, of=machine_id)
        if not runs:
            return
        for _ in range(_LOOKS):
            if _is_healthy(await self._ask("GET", f"/machines/{machine_id}")):
                return
            await anyio.sleep(1.0)
        raise _GivesUp

    async def _ask(self, method: str, path: str, body: Any = None, *, of: str = "") -> Any:
        """What is answered; `of` is the machine whose lease is held."""
        headers = {NONCE: self._nonces[of]} if of else {}
        for _ in range(_TRIES):
            try:
                answer = await self._http.request(method, path, json=body, headers=headers)
            except httpx.TransportError:
                raise _GivesUp from None
            if answer.status_code not in (502, 503):
                break
        if not answer.is_success:
            raise _GivesUp
        try:
            return msgspec.json.decode(answer.content) if answer.content else None
        except msgspec.DecodeError:
            raise _GivesUp from None


def _is_deployed(machine: Mapping[str, Any]) -> bool:
    return _metadata(machine).get("fly_process_group") in _GROUPS


def _metadata(machine: Mapping[str, Any]) -> dict[str, str]:
    return dict(machine["config"].get("metadata") or {})


def _is_healthy(machine: Any) -> bool:
    if not isinstance(machine, dict):
        raise _GivesUp
    checks = machine.get("checks") or ()
    return machine["state"] == "started" and all(one["status"] == "passing" for one in checks)
