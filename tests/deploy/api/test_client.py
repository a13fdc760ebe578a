"""What the client sends, and how fast."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import anyio
import pytest

from deploy.api.client import MachinesClient
from deploy.errors import Meaning
from tests.contract.clocks import BACKENDS
from tests.deploy.api.server import MACHINE, TOKEN, Server, failing, ok, refused, talk, update

LEASE = {"status": "success", "data": {"nonce": "n1", "expires_at": 1}}

# -- what is sent ------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_anupdate_carries_the_version_the_nonce_and_the_whole_configuration(backend: str) -> None:
    server = Server(ok())
    machine = talk(server, update, backend=backend)
    ((_, request),) = server.asked
    assert machine.version == "v1"
    assert request.url.raw_path == b"/v1/apps/app%2F../machines/m1"
    assert request.headers["fly-machine-lease-nonce"] == "n1"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(request.content) == {
        "config": {"image": "y"},
        "skip_launch": True,
        "current_version": "v0",
    }


@pytest.mark.parametrize("config", [{}, {"metadata": {"a": "b"}}, {"image": ""}, {"image": None}])
def test_a_configuration_without_an_image_is_never_sent(config: dict[str, Any]) -> None:
    server = Server(ok())

    async def change(client: MachinesClient) -> None:
        await client.update("m1", config=config, current_version="", launch=True, nonce="n1")

    async def make(client: MachinesClient) -> None:
        await client.create(
            name="web-1", region="", config=config, launch=True, cordoned=False, lease_ttl_s=13
        )

    for say in (change, make):
        failure = refused(server, say)
        assert failure.meaning is Meaning.REJECTED
        assert "no image" in failure.message
    assert server.asked == []


def test_a_macaroon_goes_as_it_is() -> None:
    server = Server(ok([]))
    talk(server, lambda client: client.machines(), token="FlyV1 fm2_abc")  # noqa: S106 - made up
    assert server.asked[0][1].headers["authorization"] == "FlyV1 fm2_abc"


@pytest.mark.parametrize("verb", ["start", "stop", "cordon", "uncordon", "destroy"])
def test_every_write_that_can_carry_a_nonce_carries_it(verb: str) -> None:
    server = Server(ok({}))
    talk(server, lambda client: getattr(client, verb)("m1", nonce="n7"))
    ((_, request),) = server.asked
    assert request.headers["fly-machine-lease-nonce"] == "n7"
    if verb == "destroy":
        assert dict(request.url.params) == {"force": "true", "kill": "true"}


@pytest.mark.parametrize(("asked_s", "sent"), [(0.0, "1"), (7.9, "7"), (60.0, "60"), (1e6, "60")])
def test_a_wait_is_of_1_to_60_whole_seconds(asked_s: float, sent: str) -> None:
    server = Server(ok({"ok": True}))
    talk(server, lambda c: c.wait("m1", state="started", version="v1", timeout_s=asked_s))
    params = server.asked[0][1].url.params
    assert params["timeout"] == sent
    assert (params["version"], params["instance_id"], params["state"]) == ("v1", "v1", "started")


def test_a_list_follows_its_pages() -> None:
    pages = [
        ok([{**MACHINE, "id": "m1"}], **{"fly-next-cursor": "c2"}),
        ok([{**MACHINE, "id": "m2"}]),
    ]
    server = Server(*pages)
    machines = talk(server, lambda client: client.machines())
    assert [machine.id for machine in machines] == ["m1", "m2"]
    assert server.asked[1][1].url.params["cursor"] == "c2"


def test_a_lease_is_asked_for_in_the_body_and_in_the_query() -> None:
    server = Server(ok(LEASE))
    lease = talk(server, lambda c: c.acquire_lease("m1", ttl_s=13, description="d/r"))
    ((_, request),) = server.asked
    assert lease.nonce == "n1"
    assert request.url.params["ttl"] == "13"
    assert json.loads(request.content) == {"ttl": 13, "description": "d/r"}
    assert "fly-machine-lease-nonce" not in request.headers


def test_a_lease_that_is_gone_is_as_good_as_released_and_read_as_none() -> None:
    gone = Server(failing(404, "lease not found"))
    assert talk(gone, lambda c: c.release_lease("m1", nonce="n")) is None
    assert talk(gone, lambda c: c.read_lease("m1")) is None


# -- pace --------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_action_a_second_per_machine_and_none_slows_another(backend: str) -> None:
    server = Server(ok({}))

    async def say(client: MachinesClient) -> None:
        async def start(machine_id: str) -> None:
            await client.turn_to_write("start", machine_id)
            await client.start(machine_id, nonce="")

        async with anyio.create_task_group() as tasks:
            for machine_id in ("m1", "m1", "m1", "m2"):
                tasks.start_soon(start, machine_id)
            tasks.start_soon(partial(client.stop, "m1", nonce=""))

    talk(server, say, backend=backend)
    began = server.asked[0][0]
    told = [(round(at - began), request.url.path[-8:]) for at, request in server.asked]
    assert sorted(told) == [
        (0, "/m1/stop"),
        (0, "m1/start"),
        (0, "m2/start"),
        (1, "m1/start"),
        (2, "m1/start"),
    ]


def test_lists_and_creates_have_a_burst_of_three() -> None:
    server = Server(ok([]))

    async def say(client: MachinesClient) -> None:
        for _ in range(5):
            await client.machines()

    talk(server, say)
    began = server.asked[0][0]
    assert [round(at - began) for at, _ in server.asked] == [0, 0, 0, 1, 2]


def test_a_create_is_sent_the_moment_its_turn_has_come() -> None:
    server = Server(ok())

    async def say(client: MachinesClient) -> list[float]:
        turns = []
        for number in range(5):
            await client.turn_to_create()
            turns.append(anyio.current_time())
            await client.create(
                name=f"web-{number}",
                region="",
                config={"image": "x"},
                launch=True,
                cordoned=False,
                lease_ttl_s=13,
            )
        return turns

    turns = talk(server, say)
    assert turns == [at for at, _ in server.asked]
    assert [round(at - turns[0]) for at in turns] == [0, 0, 0, 1, 2]
