"""Apps, lists, waits and metadata: what the endpoints read and how they answer."""

from __future__ import annotations

import anyio
import pytest

from tests.deploy.local.world import config, world

pytestmark = pytest.mark.anyio


async def test_an_app_is_created_once_under_either_name_of_the_key() -> None:
    async with world() as w:
        first = await w.client.post("/v1/apps", json={"app_name": "one", "org_slug": "acme"})
        assert first.status_code == 201
        assert first.json() == (await w.client.get("/v1/apps/one")).json()
        assert (await w.client.post("/v1/apps", json={"name": "two"})).status_code == 201
        again = await w.client.post("/v1/apps", json={"app_name": "one"})
        assert (again.status_code, again.json()["status"]) == (422, "name_taken")
        listed = (await w.client.get("/v1/apps?org_slug=acme")).json()
        assert (listed["total_apps"], listed["apps"][0]["name"]) == (1, "one")
        assert listed["apps"][0]["organization"]["slug"] == "acme"
        assert (await w.client.get("/v1/apps/two")).json()["status"] == "pending"
        assert (await w.client.get("/v1/apps/one/machines")).json() == []


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "a" * 64, "-a", "ä"])
async def test_an_impossible_app_name_is_refused(name: str) -> None:
    async with world() as w:
        answer = await w.client.post("/v1/apps", json={"app_name": name})
        assert answer.status_code == 400


async def test_a_list_is_filtered_by_state_region_and_metadata() -> None:
    async with world() as w:
        one = await w.create(region="ams", skip_launch=True)
        await w.reach(one["id"], "stopped")
        metadata = {"fly_process_group": "worker", "k": "v"}
        two = await w.create(region="fra", config=config(metadata=metadata))
        expected = {
            "?state=stopped": [one],
            "?state=stopped,started": [one, two],
            "?state=stopped&state=started": [one, two],
            "?region=fra": [two],
            "?metadata.fly_process_group=worker": [two],
            "?metadata.fly_process_group=worker&metadata.k=other": [],
            "?state=failed": [],
        }
        for query, machines in expected.items():
            found = (await w.call("GET", query)).json()
            assert [m["id"] for m in found] == [m["id"] for m in machines], query


async def test_a_destroyed_machine_is_listed_only_when_asked_for() -> None:
    async with world() as w:
        machine = await w.create()
        await w.call("DELETE", f"/{machine['id']}?force=true")
        await w.reach(machine["id"], "destroyed")
        assert (await w.call("GET", "")).json() == []
        for query in ("?include_deleted=true", "?state=destroyed"):
            assert [m["id"] for m in (await w.call("GET", query)).json()] == [machine["id"]]


async def test_pages_hold_every_machine_once() -> None:
    async with world() as w:
        made = [(await w.create(skip_launch=True))["id"] for _ in range(5)]
        seen, cursor, pages = [], "", 0
        while True:
            answer = await w.call("GET", f"?limit=2{cursor}")
            seen += [machine["id"] for machine in answer.json()]
            pages += 1
            if "fly-next-cursor" not in answer.headers:
                break
            cursor = f"&cursor={answer.headers['fly-next-cursor']}"
    assert (seen, pages) == (made, 3)


@pytest.mark.parametrize(
    "query",
    ["?limit=0", "?limit=1001", "?limit=x", "?limit=2&cursor=nonsense", "?cursor=YWZ0ZXI6MQ=="],
)
async def test_a_page_that_cannot_be_is_refused(query: str) -> None:
    async with world() as w:
        await w.create(skip_launch=True)
        assert (await w.call("GET", query)).status_code == 400


async def test_a_wait_ends_when_one_of_its_states_is_reached() -> None:
    async with world() as w:
        machine = await w.create(skip_launch=True)
        for query in ("state=stopped,started", "state=stopped&state=started", ""):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(w.call, "POST", f"/{machine['id']}/start")
                answer = await w.call("GET", f"/{machine['id']}/wait?timeout=5&{query}")
            assert answer.status_code == 200
            assert (answer.json()["ok"], answer.json()["state"]) == (True, "started")


async def test_settled_is_any_state_at_rest() -> None:
    async with world() as w:
        machine = await w.create(skip_launch=True)
        answer = await w.call("GET", f"/{machine['id']}/wait?state=settled&timeout=1")
        assert answer.json()["state"] == "stopped"


async def test_a_wait_that_is_over_too_early_says_so_in_the_words_of_the_real_platform() -> None:
    async with world() as w:
        machine = await w.create()
        answer = await w.call("GET", f"/{machine['id']}/wait?state=stopped&timeout=1")
        assert answer.status_code == 408
        assert answer.json()["error"] == (
            "deadline_exceeded: machine failed to reach desired state, stopped, currently started"
        )


@pytest.mark.parametrize("key", ["version", "instance_id"])
async def test_a_wait_is_pinned_to_the_version_it_names(key: str) -> None:
    async with world() as w:
        machine = await w.create()
        body = {"config": config("ok:2")}
        new = (await w.call("POST", f"/{machine['id']}", json=body)).json()["version"]
        wait = f"/{machine['id']}/wait?state=started&timeout="
        assert (await w.call("GET", f"{wait}5&{key}={new}")).status_code == 200
        answer = await w.call("GET", f"{wait}1&{key}={machine['version']}")
        assert answer.status_code == 408
        assert answer.json()["error"].endswith("currently replaced")


@pytest.mark.parametrize(
    "query",
    ["timeout=0", "timeout=61", "timeout=1.5", "timeout=", "state=running", "state="],
)
async def test_a_wait_that_makes_no_sense_is_refused(query: str) -> None:
    async with world() as w:
        machine = await w.create()
        assert (await w.call("GET", f"/{machine['id']}/wait?{query}")).status_code == 400


async def test_a_wait_from_an_event_wants_news() -> None:
    async with world() as w:
        machine = await w.create()
        newest = (await w.get(machine["id"]))["events"][0]["id"]
        wait = f"/{machine['id']}/wait?state=started&timeout=1&from_event_id="
        assert (await w.call("GET", wait + newest)).status_code == 408
        assert (await w.call("GET", wait + "01AAAA")).status_code == 200


async def test_metadata_is_merged_and_mints_no_version() -> None:
    async with world() as w:
        machine = await w.create(config={"image": "ok", "metadata": {"a": "1", "b": "2", "c": "3"}})
        url = f"/{machine['id']}/metadata"
        for method in ("PATCH", "PUT"):
            body = {"metadata": {"b": None, "c": "", "d": method}}
            answer = await w.call(method, url, json=body)
            assert (answer.status_code, answer.content) == (204, b"")
            assert (await w.call("GET", url)).json() == {"a": "1", "d": method}
        assert (await w.call("POST", f"{url}/e", json={"value": "5"})).status_code == 204
        assert (await w.call("GET", f"{url}/e")).json() == {"value": "5"}
        assert (await w.call("DELETE", f"{url}/a")).status_code == 204
        assert (await w.call("GET", f"{url}/a")).status_code == 404
        seen = await w.get(machine["id"])
        assert seen["config"]["metadata"] == {"d": "PUT", "e": "5"}
        assert seen["version"] == machine["version"]
        versions = (await w.call("GET", f"/{machine['id']}/versions")).json()
        assert [v["user_config"]["metadata"] for v in versions] == [{"a": "1", "b": "2", "c": "3"}]


async def test_metadata_for_another_version_is_refused() -> None:
    async with world() as w:
        machine = await w.create()
        body = {"metadata": {"a": "1"}, "machine_version": "01AAAA"}
        refused = await w.call("PATCH", f"/{machine['id']}/metadata", json=body)
        assert refused.status_code == 412
        body["machine_version"] = machine["version"]
        assert (await w.call("PATCH", f"/{machine['id']}/metadata", json=body)).status_code == 204


async def test_ps_shows_the_process_of_a_running_machine_only() -> None:
    async with world() as w:
        machine = await w.create()
        assert len((await w.call("GET", f"/{machine['id']}/ps")).json()) == 1
        await w.call("POST", f"/{machine['id']}/stop")
        await w.reach(machine["id"], "stopped")
        assert (await w.call("GET", f"/{machine['id']}/ps")).json() == []
