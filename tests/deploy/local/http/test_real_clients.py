"""Answers have the shapes that real clients decode: Go is strict about the types of fields.

The types are transcribed from Fly.io's own client library (superfly/fly-go), as
far as its commands read them; a field that Go would not fill may be missing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec
import pytest

from tests.deploy.local.world import World, config, world

pytestmark = pytest.mark.anyio

T = TypeVar("T")


class AppOrganization(msgspec.Struct):
    name: str
    slug: str


class App(msgspec.Struct):
    id: str
    name: str
    status: str
    organization: AppOrganization
    network: str
    machine_count: int
    volume_count: int


class ExitEvent(msgspec.Struct):
    exited_at: datetime
    exit_code: int
    oom_killed: bool
    requested_stop: bool
    restarting: bool


class EventRequest(msgspec.Struct):
    exit_event: ExitEvent | None = None
    restart_count: int = 0


class Event(msgspec.Struct):
    type: str
    status: str
    source: str
    timestamp: int
    request: EventRequest | None = None


class CheckStatus(msgspec.Struct):
    name: str
    status: str
    output: str
    updated_at: datetime


class ImageRef(msgspec.Struct):
    registry: str
    repository: str
    tag: str
    digest: str
    labels: dict[str, str] | None = None


class MachineConfig(msgspec.Struct):
    image: str
    env: dict[str, str]
    init: dict[str, Any]
    metadata: dict[str, str]
    services: list[dict[str, Any]] = []


class Machine(msgspec.Struct):
    id: str
    name: str
    state: str
    region: str
    image_ref: ImageRef
    instance_id: str
    version: str
    private_ip: str
    created_at: datetime
    updated_at: datetime
    config: MachineConfig
    events: list[Event]
    checks: list[CheckStatus]
    host_status: str
    cordoned: bool
    incomplete_config: MachineConfig | None = None
    nonce: str = ""


class LeaseData(msgspec.Struct):
    nonce: str
    expires_at: int
    owner: str
    description: str
    version: str


class Lease(msgspec.Struct):
    status: str
    data: LeaseData


class ListenSocket(msgspec.Struct):
    proto: str
    address: str


class ProcessStat(msgspec.Struct):
    pid: int
    stime: int
    rtime: int
    command: str
    directory: str
    cpu: int
    rss: int
    listen_sockets: list[ListenSocket]


class Volume(msgspec.Struct):
    id: str
    name: str
    state: str
    size_gb: int
    region: str
    created_at: datetime
    attached_machine_id: str | None
    host_status: str


class Started(msgspec.Struct):
    previous_state: str


async def ask(w: World, kind: type[T], method: str, path: str, **request: Any) -> T:
    answer = await w.client.request(method, path, **request)
    assert answer.is_success, answer.text
    return msgspec.json.decode(answer.content, type=kind)


async def test_an_app_is_answered_alike_when_it_is_made_listed_and_read() -> None:
    async with world() as w:
        made = await ask(w, App, "POST", "/v1/apps", json={"name": "hello", "org_slug": "acme"})
        assert (made.name, made.organization.slug, made.status) == ("hello", "acme", "pending")
        await w.create()
        read = await ask(w, App, "GET", "/v1/apps/hello")
        assert (read.id, read.status, read.machine_count) == (made.id, "deployed", 1)
        listed = msgspec.convert((await w.client.get("/v1/apps")).json()["apps"], list[App])
        assert listed == [read]


async def test_a_machine_is_decoded_in_every_state() -> None:
    async with world() as w:
        seen = []
        for image, state in (
            ("ok", "started"),
            ("exit0", "stopped"),
            ("missing", "failed"),
            ("bad", "started"),
        ):
            made = await w.launch(config=config(image))
            await w.reach(made["id"], state)
            path = f"/v1/apps/hello/machines/{made['id']}"
            seen.append(await ask(w, Machine, "GET", path))
        listed = await ask(w, list[Machine], "GET", "/v1/apps/hello/machines")
        assert [machine.id for machine in listed] == [machine.id for machine in seen]
        assert {machine.host_status for machine in listed} == {"ok"}
        exits = [event for event in listed[1].events if event.type == "exit"]
        assert exits[0].request is not None
        assert exits[0].request.exit_event is not None


async def test_a_host_that_is_lost_hides_the_configuration_and_keeps_its_status() -> None:
    async with world() as w:
        made = await w.create()
        w.runtime.lose_host(made["id"])
        answer = (await w.get(made["id"])) | {"config": None}
        assert (answer["host_status"], answer["config"]) == ("unreachable", None)
        shown = {**answer, "config": answer["incomplete_config"]}
        assert msgspec.convert(shown, Machine).host_status == "unreachable"


async def test_writes_are_answered_as_clients_decode_them() -> None:
    async with world() as w:
        made = await ask(
            w,
            Machine,
            "POST",
            "/v1/apps/hello/machines",
            json={"config": config(), "skip_launch": True, "lease_ttl": 13},
        )
        assert made.nonce
        nonce = {"fly-machine-lease-nonce": made.nonce}
        path = f"/v1/apps/hello/machines/{made.id}"
        await ask(w, dict[str, Any], "GET", f"{path}/wait?state=stopped&timeout=5")
        assert (await ask(w, Started, "POST", f"{path}/start", headers=nonce)).previous_state
        await w.reach(made.id, "started")
        lease = await ask(w, Lease, "POST", f"{path}/lease", json={"ttl": 13}, headers=nonce)
        assert lease.data.nonce == made.nonce
        assert (await ask(w, Lease, "GET", f"{path}/lease")) == lease
        updated = await ask(w, Machine, "POST", path, json={"config": config()}, headers=nonce)
        assert updated.version == updated.instance_id != made.version
        await w.reach(made.id, "started")
        stop = {"signal": "SIGTERM", "timeout": "0s"}  # what Go makes of none
        process = w.runtime.running[made.id]
        await ask(w, dict[str, bool], "POST", f"{path}/stop", json=stop, headers=nonce)
        await w.reach(made.id, "stopped")
        assert process.signals == ["SIGTERM"]
        await ask(w, dict[str, bool], "DELETE", f"{path}/lease", headers=nonce)
        await ask(w, dict[str, bool], "DELETE", f"{path}?kill=true")


async def test_ps_has_the_sockets_that_the_app_listens_on() -> None:
    async with world() as w:
        made = await w.create()
        path = f"/v1/apps/hello/machines/{made['id']}/ps"
        (process,) = await ask(w, list[ProcessStat], "GET", path)
    assert process.listen_sockets == [ListenSocket("tcp", "0.0.0.0:8080")]


async def test_volumes_are_a_list_from_the_first_on_and_say_who_has_them() -> None:
    async with world() as w:
        await w.client.post("/v1/apps", json={"name": "hello"})
        path = "/v1/apps/hello/volumes"
        assert await ask(w, list[Volume], "GET", path) == []
        made = await ask(w, Volume, "POST", path, json={"name": "data", "size_gb": 1})
        assert (made.attached_machine_id, made.size_gb) == (None, 1)
        mounts = [{"volume": made.id, "path": "/data"}]
        machine = await w.create(config=config(mounts=mounts))
        (held,) = await ask(w, list[Volume], "GET", path)
        assert held.attached_machine_id == machine["id"]
        assert (await w.client.get("/v1/apps/none/volumes")).status_code == 404


async def test_an_error_says_why_in_the_key_that_clients_read() -> None:
    async with world() as w:
        for path in ("/v1/apps/none", "/v1/apps/none/machines/x", "/v1/nowhere"):
            answer = await w.client.get(path)
            assert answer.status_code == 404
            assert answer.json()["error"]
