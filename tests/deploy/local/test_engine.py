"""The life of machines, as seen over the API."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.deploy.local.world import config, world

pytestmark = pytest.mark.anyio


async def test_a_created_machine_is_launched_and_its_checks_pass() -> None:
    async with world() as w:
        created = await w.create(name="app-1", region="ams")
        assert created["state"] == "creating"
        machine = await w.until(
            created["id"], lambda machine: machine["checks"][0]["status"] == "passing"
        )
    assert machine["name"] == "app-1"
    assert machine["region"] == "ams"
    assert machine["checks"][0]["name"] == "servicecheck-00-http-8080"
    assert machine["instance_id"] == machine["version"]
    assert len(machine["version"]) == 26
    assert machine["host_status"] == "ok"
    assert machine["image_ref"]["repository"] == "ok"
    assert machine["private_ip"].startswith("fdaa:")
    assert not machine["cordoned"]


async def test_a_machine_without_results_yet_does_not_pass() -> None:
    async with world() as w:
        machine = await w.create("ok", skip_launch=True)
        assert machine["checks"][0]["status"] == "warning"


async def test_skip_launch_brings_it_to_rest_stopped_until_it_is_started() -> None:
    async with world() as w:
        machine = await w.create(skip_launch=True)
        assert machine["state"] == "created"
        rested = await w.call("GET", f"/{machine['id']}/wait?state=stopped&timeout=1")
        assert rested.status_code == 200
        answer = await w.call("POST", f"/{machine['id']}/start")
        assert answer.json()["previous_state"] == "stopped"
        await w.reach(machine["id"], "started")


async def test_the_first_create_makes_the_app() -> None:
    async with world() as w:
        assert (await w.call("GET", "")).status_code == 404
        assert (await w.client.get("/v1/apps/hello")).status_code == 404
        await w.create()
        app = (await w.client.get("/v1/apps/hello")).json()
    assert app["organization"] == {"name": "Personal", "slug": "personal"}
    assert app["machine_count"] == 1


async def test_names_are_unique_among_the_living() -> None:
    async with world() as w:
        first = await w.create(name="app-1")
        answer = await w.call("POST", "", json={"name": "app-1", "config": config()})
        assert answer.status_code == 409
        assert answer.json()["error"] == (
            f"already_exists: unique machine name violation, machine ID {first['id']}"
        )
        await w.call("DELETE", f"/{first['id']}?force=true")
        await w.reach(first["id"], "destroyed")
        await w.create(name="app-1")


async def test_an_update_mints_a_version_and_replaces_the_whole_configuration() -> None:
    async with world() as w:
        old = await w.create(name="app-1")
        body = {"config": {"image": "ok:2", "env": {"A": "1"}, "custom": {"kept": [1, None]}}}
        answer = (await w.call("POST", f"/{old['id']}", json=body)).json()
        assert answer["state"] == "replacing"
        assert answer["version"] > old["version"]
        new = await w.reach(old["id"], "started")
    assert new["version"] == answer["version"]
    assert new["name"] == "app-1"
    assert new["config"]["image"] == "ok:2"
    assert new["config"]["custom"] == {"kept": [1, None]}
    assert "services" not in new["config"]
    assert new["config"]["metadata"] == {}


async def test_a_second_update_is_refused_while_the_first_replaces() -> None:
    async with world() as w:
        machine = await w.create("lingering")
        url = f"/{machine['id']}"
        assert (await w.call("POST", url, json={"config": config()})).status_code == 200
        for path in ("", "/stop", "/restart", "/suspend"):
            answer = await w.call("POST", url + path, json={"config": config()})
            assert answer.status_code == 409
            assert answer.json()["error"] == (
                "aborted: machine is replacing: concurrent update in progress"
            )
        refused = await w.call("POST", f"{url}/start")
        assert refused.status_code == 412
        assert refused.json()["error"] == (
            "failed_precondition: machine getting replaced, refusing to start"
        )
        await w.reach(machine["id"], "started")


async def test_an_update_that_names_another_version_changes_nothing() -> None:
    async with world() as w:
        machine = await w.create()
        body = {"config": config("ok:2"), "current_version": "01AAAAAAAAAAAAAAAAAAAAAAAA"}
        answer = await w.call("POST", f"/{machine['id']}", json=body)
        assert answer.status_code == 409
        assert "current_version" in answer.json()["error"]
        assert (await w.get(machine["id"]))["version"] == machine["version"]
        body["current_version"] = machine["version"]
        assert (await w.call("POST", f"/{machine['id']}", json=body)).status_code == 200


@pytest.mark.parametrize("before", ["created", "stopped", "started"])
async def test_an_update_with_skip_launch_ends_at_rest(before: str) -> None:
    async with world() as w:
        machine = await w.create(skip_launch=before == "created")
        if before == "stopped":
            await w.call("POST", f"/{machine['id']}/stop")
            await w.reach(machine["id"], "stopped")
        body = {"config": config("ok:2"), "skip_launch": True}
        await w.call("POST", f"/{machine['id']}", json=body)
        assert (await w.reach(machine["id"], "stopped"))["config"]["image"] == "ok:2"


async def test_an_update_starts_a_stopped_machine() -> None:
    async with world() as w:
        machine = await w.create()
        await w.call("POST", f"/{machine['id']}/stop")
        await w.reach(machine["id"], "stopped")
        await w.call("POST", f"/{machine['id']}", json={"config": config("ok:2")})
        await w.reach(machine["id"], "started")


async def test_an_update_discards_what_was_suspended() -> None:
    async with world() as w:
        machine = await w.create()
        await w.call("POST", f"/{machine['id']}/suspend")
        await w.reach(machine["id"], "suspended")
        body = {"config": config("ok:2"), "skip_launch": True}
        await w.call("POST", f"/{machine['id']}", json=body)
        await w.reach(machine["id"], "stopped")


async def test_a_suspended_machine_goes_on_where_it_stood() -> None:
    async with world() as w:
        machine = await w.create()
        await w.call("POST", f"/{machine['id']}/suspend")
        await w.reach(machine["id"], "suspended")
        process = w.runtime.running[machine["id"]]
        assert (await w.call("POST", f"/{machine['id']}/start")).json()["previous_state"] == (
            "suspended"
        )
        await w.reach(machine["id"], "started")
        assert w.runtime.running[machine["id"]] is process


async def test_stopping_sends_the_signal_of_the_configuration_or_of_the_request() -> None:
    async with world() as w:
        machine = await w.create(config=config(stop_config={"signal": "SIGTERM", "timeout": "1s"}))
        process = w.runtime.running[machine["id"]]
        await w.call("POST", f"/{machine['id']}/stop")
        stopped = await w.reach(machine["id"], "stopped")
        assert process.signals == ["SIGTERM"]
        assert _exits(stopped)[0]["requested_stop"] is True

        await w.call("POST", f"/{machine['id']}/start")
        await w.reach(machine["id"], "started")
        process = w.runtime.running[machine["id"]]
        await w.call("POST", f"/{machine['id']}/stop", json={"signal": 3, "timeout": "10s"})
        await w.reach(machine["id"], "stopped")
        assert process.signals == ["SIGQUIT"]


async def test_a_machine_that_does_not_hear_is_killed_after_its_timeout() -> None:
    async with world() as w:
        machine = await w.create(
            config={"image": "deaf", "stop_config": {"timeout": "50ms"}}, skip_launch=True
        )
        await w.call("POST", f"/{machine['id']}/start")
        await w.reach(machine["id"], "started")
        await w.call("POST", f"/{machine['id']}/stop")
        stopped = await w.reach(machine["id"], "stopped")
    assert _exits(stopped)[0]["exit_code"] == 137


async def test_a_bad_exit_is_restarted_as_often_as_the_policy_says() -> None:
    async with world() as w:
        restart = {"policy": "on-failure", "max_retries": 1}
        machine = await w.launch(config=config("exit1", restart=restart))
        stopped = await w.reach(machine["id"], "stopped")
    exits = _exits(stopped)
    assert [exit_event["exit_code"] for exit_event in exits] == [1, 1]
    assert [exit_event["restarting"] for exit_event in exits] == [False, True]
    assert not any(exit_event["requested_stop"] for exit_event in exits)
    counts = [e["request"]["restart_count"] for e in stopped["events"] if e["type"] == "exit"]
    assert counts == [1, 1]


@pytest.mark.parametrize(
    ("image", "policy"), [("exit1", "no"), ("exit0", "no"), ("exit0", "on-failure")]
)
async def test_an_exit_that_the_policy_leaves_alone_stops_the_machine(
    image: str, policy: str
) -> None:
    async with world() as w:
        machine = await w.launch(config=config(image, restart={"policy": policy}))
        stopped = await w.reach(machine["id"], "stopped")
    assert len(_exits(stopped)) == 1


async def test_the_policy_always_restarts_a_clean_exit_too() -> None:
    async with world() as w:
        machine = await w.launch(config=config("exit0", restart={"policy": "always"}))
        await w.until(machine["id"], lambda machine: len(_exits(machine)) >= 2)


async def test_auto_destroy_ends_a_machine_with_its_process() -> None:
    async with world() as w:
        machine = await w.launch(config=config("exit0", auto_destroy=True))
        await w.reach(machine["id"], "destroyed")


async def test_a_machine_that_cannot_come_to_life_has_failed() -> None:
    async with world() as w:
        machine = await w.launch(config=config("missing"))
        failed = await w.reach(machine["id"], "failed")
    assert failed["events"][0]["request"]["error"] == "image not found"


async def test_a_machine_that_still_boots_can_be_stopped_updated_and_destroyed() -> None:
    async with world() as w:
        ids = []
        for _ in range(3):
            ids.append((await w.launch(config=config("booting")))["id"])
            await w.reach(ids[-1], "starting")
        await w.call("POST", f"/{ids[0]}/stop")
        await w.call("POST", f"/{ids[1]}", json={"config": config("ok:2")})
        await w.call("DELETE", f"/{ids[2]}?kill=true")
        await w.reach(ids[0], "stopped")
        await w.reach(ids[1], "started")
        await w.reach(ids[2], "destroyed")


async def test_force_destroys_even_what_is_being_replaced() -> None:
    async with world() as w:
        machine = await w.create("lingering")
        await w.call("POST", f"/{machine['id']}", json={"config": config()})
        assert (await w.call("DELETE", f"/{machine['id']}?force=true")).status_code == 200
        await w.reach(machine["id"], "destroyed")
        assert w.runtime.running == {}


async def test_an_update_takes_over_from_a_stop() -> None:
    async with world() as w:
        machine = await w.create("lingering")
        await w.call("POST", f"/{machine['id']}/stop")
        assert (await w.get(machine["id"]))["state"] == "stopping"
        assert (await w.call("POST", f"/{machine['id']}/start")).status_code == 412
        answer = await w.call("POST", f"/{machine['id']}", json={"config": config("ok:2")})
        assert answer.status_code == 200
        again = await w.reach(machine["id"], "started")
        assert again["config"]["image"] == "ok:2"


async def test_a_restart_is_a_new_life_of_the_same_version() -> None:
    async with world() as w:
        machine = await w.create()
        process = w.runtime.running[machine["id"]]
        await w.call("POST", f"/{machine['id']}/restart?timeout=5s&signal=SIGTERM")
        again = await w.reach(machine["id"], "started")
        assert process.signals == ["SIGTERM"]
        assert w.runtime.running[machine["id"]] is not process
        assert again["version"] == machine["version"]


async def test_a_running_machine_is_destroyed_only_by_force() -> None:
    async with world() as w:
        machine = await w.create()
        refused = await w.call("DELETE", f"/{machine['id']}")
        assert refused.status_code == 412
        assert refused.json()["error"].startswith("failed_precondition: ")
        assert (await w.call("DELETE", f"/{machine['id']}?kill=true")).status_code == 200
        await w.reach(machine["id"], "destroyed")
        assert w.runtime.running == {}
        for verb in ("start", "stop", "cordon"):
            assert (await w.call("POST", f"/{machine['id']}/{verb}")).status_code == 404
        assert (await w.call("DELETE", f"/{machine['id']}")).status_code == 404


@pytest.mark.parametrize("signal", ["SIGUSR1", 10, "usr1"])
async def test_signals_are_named_or_numbered(signal: str | int) -> None:
    async with world() as w:
        machine = await w.create()
        process = w.runtime.running[machine["id"]]
        answer = await w.call("POST", f"/{machine['id']}/signal", json={"signal": signal})
        assert answer.status_code == 200
        assert process.signals == ["SIGUSR1"]


async def test_cordon_takes_a_machine_out_of_traffic_and_uncordon_brings_it_back() -> None:
    async with world() as w:
        created = await w.create()
        machine = w.platform.machine("hello", created["id"])
        await w.until(created["id"], lambda _: machine.takes_traffic)
        await w.call("POST", f"/{created['id']}/cordon")
        assert (await w.get(created["id"]))["cordoned"] is True
        assert not machine.takes_traffic
        await w.call("POST", f"/{created['id']}/uncordon")
        assert machine.takes_traffic


async def test_skip_service_registration_creates_it_cordoned() -> None:
    async with world() as w:
        machine = await w.create(skip_service_registration=True)
        assert (await w.get(machine["id"]))["cordoned"] is True


async def test_failing_checks_are_critical_and_take_no_traffic() -> None:
    async with world() as w:
        created = await w.create("bad")
        await w.until(created["id"], lambda m: m["checks"][0]["status"] == "critical")
        assert not w.platform.machine("hello", created["id"]).takes_traffic


async def test_a_result_of_the_version_before_is_not_taken_for_the_new_ones() -> None:
    async with world() as w:
        machine = await w.create("late")
        await w.call("POST", f"/{machine['id']}", json={"config": config("silent")})
        while (seen := await w.get(machine["id"]))["state"] != "started":
            assert seen["checks"][0]["status"] == "warning"
            await anyio.sleep(0.02)


async def test_versions_are_newest_first_with_what_was_sent() -> None:
    async with world() as w:
        machine = await w.create()
        body = {"config": {"image": "ok:2"}}
        updated = (await w.call("POST", f"/{machine['id']}", json=body)).json()
        versions = (await w.call("GET", f"/{machine['id']}/versions")).json()
        old = await w.call("GET", f"/{machine['id']}?version={machine['version']}")
    assert [known["version"] for known in versions] == [updated["version"], machine["version"]]
    assert versions[0]["user_config"] == {"image": "ok:2"}
    assert versions[1]["user_config"] == config()
    assert old.json()["state"] == "replaced"
    assert old.json()["config"]["image"] == "ok"


async def test_events_are_newest_first_and_can_be_limited() -> None:
    async with world() as w:
        machine = await w.create()
        events = (await w.call("GET", f"/{machine['id']}/events")).json()
        times = [event["timestamp"] for event in events]
        assert times == sorted(times, reverse=True)
        assert (events[0]["type"], events[0]["status"]) == ("start", "started")
        assert (events[-1]["type"], events[-1]["status"]) == ("launch", "created")
        limited = (await w.call("GET", f"/{machine['id']}/events?limit=1")).json()
        assert limited == events[:1]


async def test_a_lost_host_shows_no_configuration_and_takes_no_writes() -> None:
    async with world() as w:
        machine = await w.create()
        w.runtime.lose_host(machine["id"])
        seen = await w.get(machine["id"])
        assert seen["host_status"] == "unreachable"
        assert seen["config"] is None
        assert seen["incomplete_config"]["image"] == "ok"
        refused = await w.call("POST", f"/{machine['id']}", json={"config": config()})
        assert refused.status_code == 503
        w.runtime.find_host(machine["id"])
        assert (await w.get(machine["id"]))["config"]["image"] == "ok"


async def test_deleting_an_app_ends_its_machines() -> None:
    async with world() as w:
        await w.create()
        assert (await w.client.delete("/v1/apps/hello")).status_code == 202
        assert (await w.client.get("/v1/apps/hello")).status_code == 404
        with anyio.fail_after(5):
            while w.runtime.running:  # noqa: ASYNC110 - as a user would, from outside
                await anyio.sleep(0.005)


async def test_an_error_of_the_caller_leaves_the_platform_as_it_is() -> None:
    async def fail() -> None:
        async with world() as w:
            await w.create()
            raise KeyError

    with pytest.raises(KeyError):
        await fail()


async def test_leaving_the_platform_ends_every_machine() -> None:
    async with world() as w:
        await w.create()
        runtime = w.runtime
        assert runtime.running
    assert not runtime.running


def _exits(machine: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        event["request"]["exit_event"] for event in machine["events"] if event["type"] == "exit"
    ]
