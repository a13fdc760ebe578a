"""Each habit of `tests.worlds.simulated.habits` as it shows on the wire."""

from __future__ import annotations

import gzip
from typing import Any

import anyio
import httpx
import pytest

from tests.deploy.local.world import World, config, world
from tests.worlds.simulated.habits import ODD_MACHINE, Habits

pytestmark = pytest.mark.anyio

NONCE = "fly-machine-lease-nonce"


async def test_without_habits_nothing_is_changed() -> None:
    async with world() as w:
        machine = await w.create(lease_ttl=13)
        assert await w.get(machine["id"]) == (await w.call("GET", "")).json()[0]
        assert set(await lease(w, machine)) >= {"nonce", "description"}


async def test_a_lease_that_is_read_hides_its_description() -> None:
    async with world(habits=Habits(lease_hides_description=True)) as w:
        machine = await w.create()
        taken = await w.call("POST", f"/{machine['id']}/lease", json={"description": "mine"})
        assert taken.json()["data"]["description"] == "mine"
        read = await lease(w, machine)
        assert "description" not in read
        assert read["nonce"] == taken.json()["data"]["nonce"]


async def test_a_create_ignores_lease_ttl() -> None:
    async with world(habits=Habits(create_ignores_lease_ttl=True)) as w:
        machine = await w.create(lease_ttl=13)
        assert "nonce" not in machine
        assert (await w.call("GET", f"/{machine['id']}/lease")).status_code == 404


@pytest.mark.parametrize("request_", [{"json": {"ttl": 60}}, {"params": {"ttl": 60}}])
async def test_leases_are_shorter_than_asked_for(request_: dict[str, Any]) -> None:
    async with world(habits=Habits(longest_lease_s=4)) as w:
        machine = await w.create(lease_ttl=60)
        assert (await lease(w, machine))["expires_at"] - w.platform.clock() <= 5
        nonce = {NONCE: machine["nonce"]}
        answer = await w.call("POST", f"/{machine['id']}/lease", headers=nonce, **request_)
        assert answer.json()["data"]["expires_at"] - w.platform.clock() <= 5


@pytest.mark.parametrize("status", [409, 412])
async def test_giving_a_lease_back_is_refused_once_and_it_stays_held(status: int) -> None:
    async with world(habits=Habits(refuses_release=(status,))) as w:
        machine = await w.create(lease_ttl=60)
        nonce = {NONCE: machine["nonce"]}
        statuses = []
        for _ in range(2):
            answer = await w.call("DELETE", f"/{machine['id']}/lease", headers=nonce)
            held = (await w.call("GET", f"/{machine['id']}/lease")).is_success
            statuses.append((answer.status_code, held))
        assert statuses == [(status, True), (200, False)]


async def test_a_refresh_is_refused_once_and_the_lease_is_as_it_was() -> None:
    async with world(habits=Habits(refuses_refresh=(409, 400))) as w:
        machine = await w.create(lease_ttl=60)
        before, nonce = await lease(w, machine), {NONCE: machine["nonce"]}
        statuses = []
        for _ in range(3):
            answer = await w.call("POST", f"/{machine['id']}/lease", headers=nonce)
            statuses.append(answer.status_code)
            assert (await lease(w, machine))["nonce"] == before["nonce"]
        assert statuses == [409, 400, 201]


async def test_a_list_lags_behind_what_a_read_shows() -> None:
    async with world(habits=Habits(list_lags_s=0.5)) as w:
        assert (await w.call("GET", "")).status_code == 404
        machine = await w.create(name="one")
        assert await listed(w) == []
        assert (await w.get(machine["id"]))["name"] == "one"
        await until(w, lambda found: found == [("one", "ok")])
        await w.call("POST", f"/{machine['id']}", json={"config": config("ok:2")})
        await w.reach(machine["id"], "started")
        assert await listed(w) == [("one", "ok")]
        await until(w, lambda found: found == [("one", "ok:2")])
        await w.call("DELETE", f"/{machine['id']}?force=true")
        await w.reach(machine["id"], "destroyed")
        assert await listed(w) == [("one", "ok:2")]
        await until(w, lambda found: found == [])


async def test_what_is_old_is_listed_although_nobody_has_asked_for_long() -> None:
    async with world(habits=Habits(list_lags_s=0.3)) as w:
        await w.create(name="one", skip_launch=True)
        await anyio.sleep(0.4)
        assert await listed(w) == [("one", "ok")]


async def test_a_list_is_wrongly_empty_a_number_of_times() -> None:
    async with world(habits=Habits(empty_lists=2, full_lists=1)) as w:
        machine = await w.create()
        assert [len(await listed(w)) for _ in range(5)] == [1, 0, 0, 1, 1]
        assert (await w.get(machine["id"]))["id"] == machine["id"]
        assert (await w.client.get("/v1/apps/hello")).json()["machine_count"] == 1


async def test_versions_come_without_the_configuration() -> None:
    async with world(habits=Habits(versions_without_config=True)) as w:
        machine = await w.create()
        versions = (await w.call("GET", f"/{machine['id']}/versions")).json()
        assert versions == [{"version": machine["version"]}]


async def test_another_tools_odd_machine_is_listed_and_can_be_read() -> None:
    async with world(habits=Habits(odd_machine=True)) as w:
        await w.create()
        found = (await w.call("GET", "")).json()[-1]
        assert found == ODD_MACHINE == await w.get(found["id"])
        assert found["config"]["metadata"]["n"] == 7
        assert found["events"][0]["timestamp"] % 1
        assert "." in found["id"]


async def test_unknown_keys_of_a_configuration_are_dropped() -> None:
    async with world(habits=Habits(drops_unknown_keys=True)) as w:
        machine = await w.create(config=config(x_unknown=1))
        assert "x_unknown" not in machine["config"]
        assert machine["config"]["services"]
        body = {"config": config("ok:2", x_unknown=2)}
        updated = (await w.call("POST", f"/{machine['id']}", json=body)).json()
        assert (updated["config"]["image"], updated["config"].get("x_unknown")) == ("ok:2", None)


async def test_a_machine_on_a_lost_host_can_only_be_destroyed_by_force() -> None:
    async with world(habits=Habits(lease_hides_description=True)) as w:
        machine, other = await w.create(), await w.create()
        w.inhabited.lose(machine["id"])
        seen = await w.get(machine["id"])
        assert (seen["host_status"], seen["config"]) == ("unreachable", None)
        assert seen["incomplete_config"]["image"] == "ok"
        statuses = [m["host_status"] for m in (await w.call("GET", "")).json()]
        assert statuses == ["unreachable", "ok"]
        for method, path, body in [
            ("POST", "/lease", {}),
            ("POST", "", {"config": config()}),
            ("POST", "/start", None),
            ("POST", "/stop", None),
            ("DELETE", "", None),
        ]:
            refused = await w.call(method, f"/{machine['id']}{path}", json=body)
            assert (refused.status_code, "host" in refused.json()["error"]) == (503, True)
        assert (await w.call("POST", f"/{other['id']}/lease")).status_code == 201
        assert (await w.call("DELETE", f"/{machine['id']}?force=true")).status_code == 200
        await w.reach(machine["id"], "destroyed")


async def test_a_lost_host_can_be_found_again() -> None:
    async with world(habits=Habits(unreachable=frozenset({"nobody"}))) as w:
        machine = await w.create()
        w.inhabited.lose(machine["id"])
        assert (await w.get(machine["id"]))["host_status"] == "unreachable"
        w.inhabited.find(machine["id"])
        assert (await w.call("POST", f"/{machine['id']}/lease")).status_code == 201


async def test_every_answer_leads_elsewhere() -> None:
    elsewhere = "https://login.example/?next=machines"
    async with world(habits=Habits(redirects_to=elsewhere)) as w:
        for path in ("/v1/apps/hello", "/v1/apps/hello/machines"):
            answer = await w.client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (307, elsewhere)


async def test_json_is_typed_as_something_else() -> None:
    async with world(habits=Habits(content_type="text/html")) as w:
        await w.create()
        answer = await w.call("GET", "")
        assert answer.headers["content-type"] == "text/html"
        assert len(answer.json()) == 1


async def test_a_list_is_as_long_as_wanted() -> None:
    async with world(habits=Habits(list_bytes=9 * 1024 * 1024)) as w:
        machine = await w.create()
        answer = await w.call("GET", "")
        assert len(answer.content) == 9 * 1024 * 1024
        assert answer.json()[0]["id"] == machine["id"]
        assert len((await w.call("GET", f"/{machine['id']}")).content) < 100_000


async def test_bodies_are_packed_without_being_asked_for() -> None:
    async with world(habits=Habits(packs="x-unknown")) as w:
        answer = await w.call("POST", "", json={"config": config()})
        assert answer.headers["content-encoding"] == "x-unknown"
        assert b"instance_id" in gzip.decompress(answer.content)


async def test_an_update_is_put_off_for_a_day() -> None:
    async with world(habits=Habits(paced=1)) as w:
        machine = await w.create()
        first = await update(w, machine)
        assert (first.status_code, first.headers["retry-after"]) == (429, "86400")
        assert (await w.get(machine["id"]))["version"] == machine["version"]
        assert (await update(w, machine)).status_code == 200


async def test_a_write_is_carried_out_and_its_connection_closed() -> None:
    async with world(habits=Habits(closes_every=1)) as w:
        with pytest.raises(ConnectionResetError):
            await w.call("POST", "", json={"name": "one", "config": config()})
        w.inhabited.closes_every = 3
        assert await listed(w) == [("one", "ok")]
        with pytest.raises(ConnectionResetError):
            await listed(w)


async def lease(w: World, machine: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = (await w.call("GET", f"/{machine['id']}/lease")).json()["data"]
    return data


async def update(w: World, machine: dict[str, Any]) -> httpx.Response:
    return await w.call("POST", f"/{machine['id']}", json={"config": config("ok:2")})


async def listed(w: World) -> list[tuple[str, str]]:
    return [(m["name"], m["config"]["image"]) for m in (await w.call("GET", "")).json()]


async def until(w: World, is_so: Any) -> None:
    with anyio.fail_after(5):
        while not is_so(await listed(w)):  # noqa: ASYNC110 - from outside
            await anyio.sleep(0.02)
