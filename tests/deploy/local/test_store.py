"""What a platform that is told to keep its state knows after its process has ended."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import UsageProblem
from deploy.local.store import FILE_NAME, SqliteStore
from tests.deploy.local.world import World, config, world
from tests.worlds.served import served, web

NONCE = "fly-machine-lease-nonce"
ON_BOTH = pytest.mark.anyio


@asynccontextmanager
async def kept(directory: Path) -> AsyncIterator[World]:
    """A platform with its state in a directory, from its start to its end."""
    with closing(SqliteStore(directory)) as store:
        async with world(store=store) as w:
            yield w


async def answers(w: World) -> dict[str, Any]:
    """All that a client can know, but for what comes and goes with processes."""
    found: dict[str, Any] = {"apps": (await w.client.get("/v1/apps")).json()["apps"]}
    for name in [app["name"] for app in found["apps"]]:
        path = f"/v1/apps/{name}/machines"
        found[f"{name}/volumes"] = (await w.client.get(f"/v1/apps/{name}/volumes")).json()
        for machine in (await w.client.get(f"{path}?include_deleted=true")).json():
            of = f"{path}/{machine['id']}"
            passing = ("state", "checks", "events", "updated_at")
            found[machine["id"]] = {k: v for k, v in machine.items() if k not in passing}
            found[f"{of} is there"] = machine["state"] != "destroyed"
            for part in ("versions", "lease"):
                found[f"{of}/{part}"] = (await w.client.get(f"{of}/{part}")).json()
    return found


@ON_BOTH
async def test_what_was_answered_is_known_after_a_crash_at_any_moment(tmp_path: Path) -> None:
    directory, copies = tmp_path / "state", tmp_path / "copies"
    async with kept(directory) as w:
        steps = 0

        async def step(method: str, path: str, **request: Any) -> Any:
            """One write; what the files hold right after its answer is what a crash leaves."""
            nonlocal steps
            steps += 1
            answer = await w.client.request(method, f"/v1/apps{path}", **request)
            assert answer.is_success, (method, path, answer.text)
            copy = copies / str(steps)
            shutil.copytree(directory, copy)
            known = await answers(w)
            async with kept(copy) as again:
                assert await answers(again) == known, (method, path)
            return answer.json() if answer.content else None

        await step("POST", "", json={"name": "hello", "org_slug": "acme", "network": "n"})
        await step("POST", "", json={"name": "other"})
        await step("POST", "/hello/volumes", json={"name": "data"})
        one = await step("POST", "/hello/machines", json={"name": "one", "config": config()})
        of = f"/hello/machines/{one['id']}"
        rest = {"config": config(), "skip_launch": True, "lease_ttl": 60}
        await step("POST", "/hello/machines", json=rest)
        await w.reach(one["id"], "started")
        lease = await step("POST", f"{of}/lease", json={"ttl": 60, "description": "mine"})
        nonce = {"headers": {NONCE: lease["data"]["nonce"]}}
        await step("POST", f"{of}/lease", json={"ttl": 90}, **nonce)
        await step("POST", of, json={"name": "uno", "config": config("ok:2", x=1)}, **nonce)
        await step("POST", f"{of}/metadata/k", json={"value": "v"})
        await w.reach(one["id"], "started")
        await step("POST", f"{of}/cordon", **nonce)
        await step("POST", f"{of}/stop", **nonce)
        await step("DELETE", f"{of}/lease", **nonce)
        await w.reach(one["id"], "stopped")
        await step("DELETE", of)
        await step("DELETE", "/other")
        assert steps == 14


@ON_BOTH
async def test_machines_go_where_they_were_going(tmp_path: Path) -> None:
    ids = {}
    async with kept(tmp_path) as w:
        for name, image, launch in (
            ("running", "ok", True),
            ("booting", "booting", True),
            ("at rest", "ok", False),
            ("failed", "missing", True),
            ("ended", "exit0", True),
            ("replaced", "lingering", True),
            ("restarted", "lingering", True),
            ("going", "lingering", True),
        ):
            made = await w.launch(config=config(image), skip_launch=not launch)
            ids[name] = made["id"]
        for name in ("running", "replaced", "restarted", "going"):
            await w.reach(ids[name], "started")
        await w.reach(ids["ended"], "stopped")
        await w.reach(ids["failed"], "failed")
        body = {"config": config(), "skip_launch": True}
        assert (await w.call("POST", f"/{ids['replaced']}", json=body)).is_success
        assert (await w.call("POST", f"/{ids['restarted']}/restart")).is_success
        assert (await w.call("DELETE", f"/{ids['going']}?force=true")).is_success
    async with kept(tmp_path) as w:
        for name, state in (
            ("running", "started"),
            ("booting", "starting"),
            ("at rest", "stopped"),
            ("failed", "failed"),
            ("ended", "stopped"),
            ("replaced", "stopped"),
            ("restarted", "started"),
            ("going", "destroyed"),
        ):
            await w.reach(ids[name], state)
        await w.until(ids["running"], lambda machine: machine["checks"][0]["status"] == "passing")
        made = await w.launch(config=config(), skip_launch=True)
        assert made["id"] not in ids.values()


@ON_BOTH
async def test_a_lease_is_still_in_force_and_runs_out_when_it_would_have(tmp_path: Path) -> None:
    async with kept(tmp_path) as w:
        machine = await w.create(lease_ttl=60)
        ends = (await w.call("GET", f"/{machine['id']}/lease")).json()["data"]["expires_at"]
    async with kept(tmp_path) as w:
        assert (await w.call("POST", f"/{machine['id']}/lease")).status_code == 409
        held = (await w.call("GET", f"/{machine['id']}/lease")).json()["data"]
        assert (held["nonce"], held["expires_at"]) == (machine["nonce"], ends)
        nonce = {NONCE: machine["nonce"]}
        assert (await w.call("DELETE", f"/{machine['id']}/lease", headers=nonce)).is_success


@ON_BOTH
async def test_a_write_that_cannot_be_kept_is_no_success_and_is_kept_later(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        async with world(store=store) as w:
            machine = await w.create()
            (pages,) = store._database.execute("PRAGMA page_count").fetchone()
            store._database.execute(f"PRAGMA max_page_count = {pages}")
            big = {"config": config(filler="x" * 100_000)}
            refused = await w.call("POST", f"/{machine['id']}", json=big)
            assert refused.status_code == 503
            assert "full" in refused.json()["error"]
            store._database.execute("PRAGMA max_page_count = 1000000")
            await w.reach(machine["id"], "started")
            assert (await w.call("POST", f"/{machine['id']}/cordon")).is_success
            known = await answers(w)
    async with kept(tmp_path) as w:
        assert await answers(w) == known


def test_two_platforms_do_not_share_a_directory(tmp_path: Path) -> None:
    with (
        closing(SqliteStore(tmp_path)),
        pytest.raises(UsageProblem, match="cannot keep state"),
    ):
        SqliteStore(tmp_path)
    SqliteStore(tmp_path).close()


def test_state_of_another_format_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageProblem, match="another version"):
        SqliteStore(tmp_path)


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageProblem, match="cannot keep state"):
        SqliteStore(tmp_path / "file" / "below")


def test_a_platform_that_was_killed_starts_its_machines_again(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    with served(tmp_path, *state) as platform:
        machine_id = platform.create(web(), name="one")
        (before,) = platform.machines("GET", f"/{machine_id}/ps").json()
        platform.process.send_signal(signal.SIGKILL)
        platform.process.wait(20)
    with served(tmp_path, *state) as platform:
        platform.passing(machine_id)
        (after,) = platform.machines("GET", f"/{machine_id}/ps").json()
        assert after["pid"] != before["pid"]
        assert platform.machines("GET", f"/{machine_id}").json()["name"] == "one"
    with served(tmp_path, *state) as platform:  # after an end that was asked for, too
        platform.passing(machine_id)
