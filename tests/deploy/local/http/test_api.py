"""Who may ask, what cannot be read, and that no input is answered with a 500."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deploy.local.http.api import BODY_LIMIT_BYTES, OPERATIONS
from tests.deploy.local.world import config, world


@pytest.mark.anyio
async def test_every_answer_carries_a_request_id() -> None:
    async with world() as w:
        answers = [
            await w.client.get("/v1/apps"),
            await w.client.get("/v1/apps/none"),
            await w.client.get("/nowhere"),
            await w.client.put("/v1/apps"),
        ]
    assert [answer.status_code for answer in answers] == [200, 404, 404, 405]
    assert len({answer.headers["fly-request-id"] for answer in answers}) == 4
    assert all("error" in answer.json() for answer in answers[1:])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b" ", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"NaN", 400),
        (b'"\\ud800"', 400),
        (b"\xff", 400),
        (b"[" * 5000, 400),
        (b'{"config":' * 900 + b"1" + b"}" * 900, 400),
        (b" " * (BODY_LIMIT_BYTES + 1), 413),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(body: bytes, status: int) -> None:
    async with world() as w:
        machine = await w.create(skip_launch=True)
        for path in ("", f"/{machine['id']}"):
            answer = await w.call("POST", path, content=body)
            assert answer.status_code == status
            assert answer.json()["error"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"env": {"A": 1}}, "config.env"),
        ({"image": 5}, "config.image"),
        ({"services": [{"internal_port": "80"}]}, "config.services[0].internal_port"),
        ({"services": [{"internal_port": 70000}]}, "internal_port"),
        ({"checks": {"up": {"type": "udp"}}}, "'up'"),
        ({"checks": {"up": {"type": "http", "interval": "often"}}}, "interval"),
        ({"stop_config": {"signal": "SIGNONE"}}, "SIGNONE"),
        ({"stop_config": {"timeout": 5}}, "config.stop_config.timeout"),
        ({"restart": {"policy": "maybe"}}, "config.restart.policy"),
        ({"metadata": ["a"]}, "config.metadata"),
    ],
)
async def test_a_wrong_configuration_is_refused_by_its_place(
    wrong: dict[str, Any], place: str
) -> None:
    async with world() as w:
        answer = await w.call("POST", "", json={"config": config(**wrong)})
        assert answer.status_code == 400
        assert place in answer.json()["error"]
        assert w.platform.apps == {}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:4280", "localhost:4280", "[::1]:4280", "LOCALHOST"]
)
async def test_the_loopback_is_known_by_its_names(host: str) -> None:
    async with world() as w:
        assert (await w.client.get("/v1/apps", headers={"host": host})).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:4280", "", "evil:80:80"])
async def test_a_foreign_host_is_refused(host: str) -> None:
    async with world() as w:
        assert (await w.client.get("/v1/apps", headers={"host": host})).status_code == 400


@pytest.mark.anyio
async def test_a_web_page_cannot_run_commands_here() -> None:
    async with world() as w:
        headers = {"origin": "https://evil.example", "content-type": "text/plain"}
        answer = await w.call("POST", "", json={"config": config()}, headers=headers)
        assert answer.status_code == 403
        assert w.platform.apps == {}


@pytest.mark.anyio
async def test_with_a_token_every_request_must_bear_it() -> None:
    async with world(token="s3cret") as w:  # noqa: S106 - a test's own
        for given, status in {
            "": 401,
            "Bearer wrong": 401,
            "Bearer ": 401,
            "s3cre": 401,
            "Bearer s3cret": 200,
            "FlyV1 s3cret": 200,
        }.items():
            answer = await w.client.get("/v1/apps", headers={"authorization": given})
            assert answer.status_code == status, given
            assert "s3cret" not in answer.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *("config", "name", "region", "skip_launch", "lease_ttl", "current_version", "signal"),
        *("timeout", "ttl", "description", "metadata", "value", "app_name", "org_slug"),
    ]
)
CONFIG_KEYS = st.sampled_from(
    [
        *("image", "env", "init", "services", "checks", "restart", "stop_config", "metadata"),
        *("processes", "guest", "dns", "mounts", "auto_destroy"),
    ]
)
BODY = (
    JSON
    | st.dictionaries(KEYS, JSON, max_size=4)
    | st.builds(
        lambda config, rest: {"config": config, **rest},
        st.dictionaries(CONFIG_KEYS, JSON, max_size=3),
        st.dictionaries(KEYS, JSON, max_size=2),
    )
)
QUERY = st.dictionaries(
    st.sampled_from(
        ["limit", "cursor", "state", "version", "ttl", "force", "metadata.a", "signal"]
    ),
    st.text(max_size=6),
    max_size=3,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), BODY, QUERY), max_size=8))
@example([(OPERATIONS[5], {"config": {"stop_config": {}, "checks": {"a": {"port": 0}}}}, {})])
def test_no_input_is_answered_with_a_500(requests: list[tuple[Any, Any, dict[str, str]]]) -> None:
    async def ask() -> list[httpx.Response]:
        async with world() as w:
            machine = await w.create(skip_launch=True)
            answers = []
            for operation, body, query in requests:
                path = operation.path.format(app="hello", machine=machine["id"], key="k")
                content = json.dumps(body).encode()
                params = {**query, "timeout": "x"} if operation.path.endswith("/wait") else query
                answers.append(
                    await w.client.request(operation.method, path, content=content, params=params)
                )
            return answers

    for answer in anyio.run(ask):
        assert answer.status_code < 500, answer.text
