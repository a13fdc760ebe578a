"""Leases: one holder at a time, in the real platform's envelope and words."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest

from tests.deploy.local.world import World, config, world

pytestmark = pytest.mark.anyio

NONCE = "fly-machine-lease-nonce"


async def test_a_lease_comes_in_an_envelope_and_can_be_read_with_its_nonce() -> None:
    async with world() as w:
        machine = await w.create()
        answer = await w.call(
            "POST", f"/{machine['id']}/lease", json={"ttl": 13, "description": "deploy 1 / run 2"}
        )
        assert answer.status_code == 201
        taken = answer.json()
        assert taken["status"] == "success"
        assert set(taken["data"]) == {"nonce", "expires_at", "owner", "description", "version"}
        assert taken["data"]["description"] == "deploy 1 / run 2"
        assert taken["data"]["version"] == machine["version"]
        assert 13 <= taken["data"]["expires_at"] - w.platform.clock() <= 14
        assert (await w.call("GET", f"/{machine['id']}/lease")).json() == taken


async def test_the_ttl_may_stand_in_the_query() -> None:
    async with world() as w:
        machine = await w.create()
        taken = await _take(w, machine["id"], query="?ttl=7")
        assert 7 <= taken["expires_at"] - w.platform.clock() <= 8


async def test_a_held_lease_refuses_everybody_else_in_the_words_of_the_real_platform() -> None:
    async with world() as w:
        machine = await w.create()
        await _take(w, machine["id"])
        answer = await w.call("POST", f"/{machine['id']}/lease", json={"ttl": 5})
        assert answer.status_code == 409
        assert re.fullmatch(
            rf"machine ID {machine['id']} lease currently held by anonymous, "
            r"expires at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
            answer.json()["error"],
        )


async def test_every_leased_write_needs_the_nonce() -> None:
    async with world() as w:
        machine = await w.create()
        lease = await _take(w, machine["id"])
        calls = [
            ("POST", "", {"config": config()}),
            ("POST", "/start", None),
            ("POST", "/stop", None),
            ("POST", "/restart", None),
            ("POST", "/suspend", None),
            ("POST", "/cordon", None),
            ("POST", "/uncordon", None),
            ("DELETE", "?force=true", None),
            ("DELETE", "/lease", None),
        ]
        for nonce in ({}, {NONCE: "wrong"}):
            for method, path, body in calls:
                answer = await w.call(method, f"/{machine['id']}{path}", json=body, headers=nonce)
                assert answer.status_code == 409, path
                assert "lease currently held by" in answer.json()["error"]
        for method, path, body in calls[:2]:
            headers = {NONCE: lease["nonce"]}
            answer = await w.call(method, f"/{machine['id']}{path}", json=body, headers=headers)
            assert "lease" not in answer.text


async def test_metadata_and_signals_need_no_nonce() -> None:
    async with world() as w:
        machine = await w.create()
        await _take(w, machine["id"])
        body = {"metadata": {"a": "1"}}
        answer = await w.call("PATCH", f"/{machine['id']}/metadata", json=body)
        assert answer.status_code == 204
        answer = await w.call("POST", f"/{machine['id']}/signal", json={"signal": "SIGUSR1"})
        assert answer.status_code == 200


async def test_a_refresh_keeps_the_nonce_and_the_description() -> None:
    async with world() as w:
        machine = await w.create()
        first = await _take(w, machine["id"], ttl=5, description="mine")
        answer = await w.call(
            "POST", f"/{machine['id']}/lease", json={"ttl": 60}, headers={NONCE: first["nonce"]}
        )
        second = answer.json()["data"]
        assert second["nonce"] == first["nonce"]
        assert second["description"] == "mine"
        assert second["expires_at"] > first["expires_at"]


async def test_a_released_lease_is_gone_and_releasing_it_again_says_so() -> None:
    async with world() as w:
        machine = await w.create()
        lease = await _take(w, machine["id"])
        headers = {NONCE: lease["nonce"]}
        assert (await w.call("DELETE", f"/{machine['id']}/lease", headers=headers)).is_success
        for method in ("DELETE", "GET", "POST"):
            answer = await w.call(method, f"/{machine['id']}/lease", headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (404, "lease not found")


async def test_a_lease_runs_out_by_itself() -> None:
    async with world() as w:
        machine = await w.create()
        await _take(w, machine["id"], ttl=1)
        with anyio.fail_after(4):
            while (await w.call("GET", f"/{machine['id']}/lease")).status_code != 404:  # noqa: ASYNC110 - from outside
                await anyio.sleep(0.05)
        await _take(w, machine["id"])


async def test_a_create_with_lease_ttl_answers_with_the_nonce() -> None:
    async with world() as w:
        created = await w.create(lease_ttl=10)
        lease = (await w.call("GET", f"/{created['id']}/lease")).json()["data"]
        assert created["nonce"] == lease["nonce"]
        assert "nonce" not in await w.get(created["id"])


async def test_include_leases_shows_the_holder_and_not_the_nonce() -> None:
    async with world() as w:
        created = await w.create(lease_ttl=10)
        shown = (await w.call("GET", "?include_leases=true")).json()[0]["lease"]
        assert set(shown) == {"description", "expires_at", "owner"}
        assert created["nonce"] not in str(shown)


@pytest.mark.parametrize("ttl", [-1, "10", 1.5, 10**9])
async def test_a_ttl_that_makes_no_sense_is_refused(ttl: object) -> None:
    async with world() as w:
        machine = await w.create()
        answer = await w.call("POST", f"/{machine['id']}/lease", json={"ttl": ttl})
        assert answer.status_code == 400


async def test_the_owner_is_known_by_its_token_which_does_not_show() -> None:
    async with world() as w:
        machine = await w.create()
        for token, other in (("secret-a", "secret-b"), ("secret-b", "secret-a")):
            headers = {"authorization": f"Bearer {token}"}
            answer = await w.call("POST", f"/{machine['id']}/lease", headers=headers)
            lease = answer.json()["data"]
            assert token not in answer.text
            refused = await w.call(
                "POST", f"/{machine['id']}/lease", headers={"authorization": f"Bearer {other}"}
            )
            assert lease["owner"] in refused.json()["error"]
            headers[NONCE] = lease["nonce"]
            await w.call("DELETE", f"/{machine['id']}/lease", headers=headers)


async def _take(
    w: World, machine_id: str, *, query: str = "", ttl: int | None = None, description: str = ""
) -> dict[str, Any]:
    body = {"ttl": ttl, "description": description}
    answer = await w.call("POST", f"/{machine_id}/lease{query}", json=body)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data
