"""The OFREP service: what it answers, held against the protocol's own OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from starlette.types import ASGIApp

from rollout.live import Live
from rollout.serving import ofrep
from tests.rollout.strategies import units

TEXT = """\
version: 1
flags:
  deploy-retries:
    description: Retry deploys.
    owner: release-engineering
    expires: 2027-03-31
    bucket_by: app
    percent: 5
    inside: 5
    outside: 0
    always_inside: {org: [acme]}
  "off": {enabled: false, bucket_by: app, percent: 50, inside: new, outside: old}
  by-user: {bucket_by: user, percent: 99, inside: true, outside: false}
  everybody: {bucket_by: user, percent: 100, inside: true, outside: false}
"""
ONE = "/ofrep/v1/evaluate/flags/"
ALL = "/ofrep/v1/evaluate/flags"
HELLO = {"context": {"targetingKey": "hello"}}
DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "vectors/ofrep-openapi.yaml").read_text())


class Client:
    """Asks the application without a network."""

    def __init__(self, app: ASGIApp) -> None:
        self._transport = httpx.ASGITransport(app)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://x") as client:
                return await client.request(method, path, **options)

        return anyio.run(ask)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)


def relaxed(schema: Any) -> Any:
    """`oneOf` as `anyOf`: read strictly, no value fits the document, its own examples included,

    for `codeDefaultFlag` allows everything and an integer is a float as well.
    """
    if isinstance(schema, dict):
        return {"anyOf" if k == "oneOf" else k: relaxed(value) for k, value in schema.items()}
    return [relaxed(item) for item in schema] if isinstance(schema, list) else schema


SCHEMAS = relaxed(DOCUMENT["components"])


def check(route: str, response: Any) -> Any:
    """The body of an answer, after the document has agreed to status and body."""
    described = DOCUMENT["paths"][route]["post"]["responses"][str(response.status_code)]
    if "content" not in described:
        return response.json() if response.content else None
    schema = described["content"]["application/json"]["schema"]
    Draft202012Validator({"components": SCHEMAS, **schema}).validate(response.json())
    assert response.headers["content-type"] == "application/json"
    return response.json()


def check_one(response: Any) -> Any:
    return check(ONE + "{key}", response)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Live:
    path = tmp_path_factory.mktemp("flags") / "flags.yaml"
    path.write_text(TEXT)
    return Live(path)


@pytest.fixture(scope="module")
def client(live: Live) -> Client:
    return Client(ofrep.app(live))


def test_one_flag_is_evaluated(client: Client) -> None:
    answer = check_one(client.post(ONE + "deploy-retries", json=HELLO))
    assert answer == {
        "key": "deploy-retries",
        "value": 0,
        "reason": "SPLIT",
        "variant": "outside",
        "metadata": {
            "bucketBy": "app",
            "percent": 5.0,
            "bucket": 6343,
            "owner": "release-engineering",
            "expires": "2027-03-31",
            "description": "Retry deploys.",
        },
    }


@pytest.mark.parametrize(
    ("key", "context", "expected"),
    [
        ("deploy-retries", {"targetingKey": "hello"}, (0, "outside", "SPLIT")),
        ("deploy-retries", {"app": "hello"}, (0, "outside", "SPLIT")),
        ("deploy-retries", {"targetingKey": "x", "org": "acme"}, (5, "inside", "TARGETING_MATCH")),
        ("off", {"targetingKey": "x"}, ("old", "outside", "STATIC")),
        ("off", {}, ("old", "outside", "STATIC")),
        ("everybody", {}, (True, "inside", "STATIC")),
        ("everybody", {"user": "", "targetingKey": ""}, (True, "inside", "STATIC")),
        ("deploy-retries", {"app": "", "targetingKey": "hello"}, (0, "outside", "SPLIT")),
        ("by-user", {"targetingKey": "x", "user": "y"}, (True, "inside", "SPLIT")),
    ],
)
def test_value_variant_and_reason(
    key: str, context: dict[str, Any], expected: tuple[Any, str, str], client: Client
) -> None:
    answer = check_one(client.post(ONE + key, json={"context": context}))
    assert (answer["value"], answer["variant"], answer["reason"]) == expected


@given(unit=units)
def test_the_unit_named_by_the_flag_wins_over_the_targeting_key(unit: str, client: Client) -> None:
    asked = [{"targetingKey": unit}, {"app": unit}, {"app": unit, "targetingKey": "other"}]
    answers = [client.post(ONE + "deploy-retries", json={"context": ask}).json() for ask in asked]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", "PARSE_ERROR", "the body is not JSON"),
        (b"{", "PARSE_ERROR", "the body is not JSON"),
        (b"\xff", "PARSE_ERROR", "the body is not JSON"),
        (b"[" * 60_000, "PARSE_ERROR", "the body is not JSON"),
        (b'{"context":{"targetingKey":"\\ud800"}}', "PARSE_ERROR", "the body is not JSON"),
        (b"{}", "INVALID_CONTEXT", "the body must be an object with a context"),
        (b"[]", "INVALID_CONTEXT", "the body must be an object with a context"),
        (b'{"context":"hello"}', "INVALID_CONTEXT", "the body must be an object with a context"),
        (b'{"context":{}}', "TARGETING_KEY_MISSING", "the context has no app"),
        (b'{"context":{"targetingKey":""}}', "TARGETING_KEY_MISSING", "app is empty"),
        (b'{"context":{"app":null}}', "TARGETING_KEY_MISSING", "the context has no app"),
        (b'{"context":{"targetingKey":7}}', "INVALID_CONTEXT", "app is not text but int"),
        (b'{"context":{"app":["a"]}}', "INVALID_CONTEXT", "app is not text but list"),
    ],
)
def test_a_request_that_cannot_be_evaluated_is_400(
    body: bytes, code: str, said: str, client: Client
) -> None:
    response = client.post(ONE + "deploy-retries", content=body)
    answer = check_one(response)
    assert response.status_code == 400
    assert (answer["key"], answer["errorCode"]) == ("deploy-retries", code)
    assert said in answer["errorDetails"]


@pytest.mark.parametrize("key", ["missing", "", "a/b", "%2e%2e", "x" * 5000, "%ff"])
def test_a_flag_that_is_not_there_is_404(key: str, client: Client) -> None:
    response = client.post(ONE + key, json=HELLO)
    assert response.status_code == 404
    assert check_one(response)["errorCode"] == "FLAG_NOT_FOUND"


def test_all_flags_are_evaluated_in_one_request(client: Client) -> None:
    response = client.post(ALL, json=HELLO)
    answers = check(ALL, response)["flags"]
    assert [answer["key"] for answer in answers] == [
        "deploy-retries",
        "off",
        "by-user",
        "everybody",
    ]
    for answer in answers:
        assert answer == client.post(ONE + answer["key"], json=HELLO).json()
    # One flag that cannot be evaluated does not spoil the others.
    answers = check(ALL, client.post(ALL, json={"context": {"app": "hello"}}))["flags"]
    codes = [answer.get("errorCode") for answer in answers]
    assert codes == [None, None, "TARGETING_KEY_MISSING", None]
    assert client.post(ALL, json={}).status_code == 400


def test_what_has_not_changed_is_304(client: Client) -> None:
    first = client.post(ALL, json=HELLO)
    etag = first.headers["etag"]
    for header in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        again = client.post(ALL, json=HELLO, headers={"If-None-Match": header})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        check(ALL, again)
    for header in ("", '"x"', etag.strip('"')):
        again = client.post(ALL, json=HELLO, headers={"If-None-Match": header})
        assert again.content == first.content
    # The tag is over the body: another context has another.
    other = {"context": {"targetingKey": "x"}}
    assert client.post(ALL, json=other, headers={"If-None-Match": etag}).status_code == 200


def test_a_body_over_the_limit_is_413(client: Client) -> None:
    largest = b'{"context":{"targetingKey":"hello"}}'.ljust(ofrep.LARGEST_BODY_BYTES)
    assert client.post(ONE + "deploy-retries", content=largest).status_code == 200

    async def parts() -> AsyncIterator[bytes]:
        yield largest
        yield b" "

    for content in (largest + b" ", parts()):
        response = client.post(ONE + "deploy-retries", content=content)
        assert response.status_code == 413
        assert "65,536 bytes" in response.json()["errorDetails"]


def test_other_methods_and_places_are_refused_in_json(client: Client) -> None:
    for method, path, status in (("GET", ALL, 405), ("PUT", ONE + "x", 405), ("POST", "/x", 404)):
        response = client.request(method, path)
        assert response.status_code == status
        assert response.json()["errorDetails"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic schlüssel".encode()}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"Authorization": "Bearer schlüssel".encode()}, 200),
        ({"Authorization": "bearer  schlüssel".encode()}, 200),
        ({"X-API-Key": "schlüssel".encode()}, 200),
    ],
)
def test_with_a_token_only_those_who_know_it_may_ask(
    headers: dict[str, Any], status: int, live: Live
) -> None:
    client = Client(ofrep.app(live, token="schlüssel"))  # noqa: S106 -- no secret
    for path in (ONE + "deploy-retries", ONE + "missing", ALL):
        response = client.post(path, json=HELLO, headers=headers)
        assert (response.status_code == 401) is (status == 401)
        if status == 401:
            assert response.headers["www-authenticate"] == "Bearer"
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_too_many_requests_are_429_with_the_time_to_wait(live: Live) -> None:
    client = Client(ofrep.app(live, rate_per_s=0.1))
    assert client.post(ALL, json=HELLO).status_code == 200
    for path, route in ((ALL, ALL), (ONE + "deploy-retries", ONE + "{key}")):
        response = client.post(path, json=HELLO)
        assert response.status_code == 429
        assert response.headers["retry-after"] == "10"
        check(route, response)
    assert client.get("/healthz").status_code == 200


def test_pages_of_the_sites_allowed_may_ask(live: Live) -> None:
    client = Client(ofrep.app(live, origins=["https://app.example"]))
    allowed = client.post(ALL, json=HELLO, headers={"Origin": "https://app.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert "ETag" in allowed.headers["access-control-expose-headers"]
    other = client.post(ALL, json=HELLO, headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_readiness_says_what_is_served_and_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text(TEXT)
    live = Live(path)
    client = Client(ofrep.app(live))
    ready = {"status": "ready", "source": str(path), "flags": 4}
    assert client.get("/readyz").json() == ready
    path.write_text("version: 2\n")
    live.refresh()
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == ready | {"problem": f"{path}:1:1: flags is missing (and 1 more)"}
    assert client.post(ONE + "deploy-retries", json=HELLO).json()["value"] == 0


@given(st.binary(max_size=200))
def test_no_body_makes_it_fail(client: Client, body: bytes) -> None:
    for path, route in ((ONE + "deploy-retries", ONE + "{key}"), (ALL, ALL)):
        response = client.post(path, content=body)
        assert response.status_code in (200, 400)
        check(route, response)


@given(
    st.dictionaries(
        st.sampled_from(["targetingKey", "app", "org", "user", "self", "key", "", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)
def test_no_context_makes_it_fail(client: Client, context: dict[str, Any]) -> None:
    content = json.dumps({"context": context}).encode()
    for path, route in ((ONE + "deploy-retries", ONE + "{key}"), (ALL, ALL)):
        response = client.post(path, content=content)
        assert response.status_code in (200, 400)
        check(route, response)
