"""The local platform answers as it says it does, to anything, and to nobody else."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from deploy.local.engine import Platform
from deploy.local.http import api
from deploy.local.http.description import describe
from deploy.local.serving import HttpServer, address, listen
from tests.deploy.local.world import QUICKLY, config
from tests.worlds.simulated.runtime import SimulatedRuntime, simulated_clock

schema = schemathesis.openapi.from_dict(describe(api.OPERATIONS))


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The platform over HTTP with machines that are simulated: fuzz must not run commands."""
    listener = listen("127.0.0.1", 0)
    url = f"http://{address(listener)}"
    ending: list[HttpServer] = []
    begun = threading.Event()

    async def serve() -> None:
        async with Platform(runtime=SimulatedRuntime(1, QUICKLY), clock=simulated_clock) as it:
            ending.append(HttpServer(api.app(it), listener))
            begun.set()
            await ending[0].serve()

    thread = threading.Thread(target=anyio.run, args=(serve,))
    thread.start()
    assert begun.wait(20)
    yield url
    ending[0].end()
    thread.join()


@pytest.fixture(scope="module")
def machine_id(served: str) -> str:
    made = httpx.post(f"{served}/v1/apps/hello/machines", json={"config": config()})
    found: str = made.json()["id"]
    return found


@schema.parametrize()
@settings(
    max_examples=20,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_the_description_has(
    case: schemathesis.Case[Any], served: str, machine_id: str
) -> None:
    waits = case.operation.path.endswith("/wait")
    drawn = zlib.crc32(repr((case.query, case.body)).encode("utf-8", "surrogatepass"))
    if drawn % (10 if waits else 2) == 0 and case.method != "DELETE":
        for key, there in (("app", "hello"), ("machine", machine_id)):
            if key in (case.path_parameters or {}):
                case.path_parameters[key] = there
    if "follow" in case.query:
        case.query["follow"] = False  # it would never end
    asked = str(case.query.get("timeout", 60)) if waits else ""
    if asked.isdecimal() and 1 <= int(asked) <= 60:
        case.query["timeout"] = 1  # a second is long enough to wait for nothing
    # A configuration without a command fits the description, and is refused all the same.
    case.call_and_validate(base_url=served, excluded_checks=[positive_data_acceptance])


def test_the_description_is_served_and_has_every_operation(served: str) -> None:
    document = httpx.get(f"{served}/local/openapi.json").json()

    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    assert described == {(row.method, row.path) for row in api.OPERATIONS}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("[::1]:4280", 200),
        ("evil.example", 400),
        ("evil.example:4280", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost@evil.example", 400),
        ("127.0.0.1:4280:evil.example", 400),
        ("", 400),
        ("0.0.0.0", 400),  # noqa: S104 - it is refused
    ],
)
def test_a_foreign_host_header_is_refused(served: str, host: str, status: int) -> None:
    assert _status(served, "GET /v1/apps HTTP/1.1", f"host: {host}") == status


def test_a_web_page_is_refused(served: str) -> None:
    answer = httpx.get(f"{served}/v1/apps", headers={"origin": "http://localhost:4280"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/../../../etc/passwd",
        "/v1/../../etc/passwd",
        "/v1/apps/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/apps/hello/machines/..%2f..%2f..%2fetc%2fpasswd",
        "/local/v1/apps/hello/machines/%2e%2e/logs",
        "/v1/apps/%00",
        "/v1/apps/%ff%fe",
        "//etc/passwd",
        "/v1/apps/" + "a" * 50_000,
    ],
)
def test_a_path_outside_its_tree_leads_nowhere(served: str, path: str) -> None:
    assert _status(served, f"GET {path} HTTP/1.1", "host: localhost") in (400, 404, 414)


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", ".", "A", "a" * 64, "é", "a\n"])
def test_an_app_is_never_named_after_a_path(served: str, name: str) -> None:
    assert httpx.post(f"{served}/v1/apps", json={"name": name}).status_code == 400


def test_a_body_over_the_limit_is_refused_without_being_kept(served: str) -> None:
    url, over = f"{served}/v1/apps", api.BODY_LIMIT_BYTES + 1
    assert httpx.post(url, content=b" " * over).status_code == 413

    def in_chunks() -> Iterator[bytes]:
        yield from [b" " * 65536] * (over // 65536 + 1)

    assert httpx.post(url, content=in_chunks()).status_code == 413
    assert _status(
        served,
        "POST /v1/apps HTTP/1.1",
        "host: localhost",
        "content-length: 9999999999999999999999",
    ) in (400, 413)


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"nul", b'"\\ud800"', b"1e999999", b"{}{}"],
)
def test_a_body_that_is_no_json_is_refused(served: str, body: bytes) -> None:
    assert httpx.post(f"{served}/v1/apps", content=body).status_code == 400


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1"])  # noqa: S104 - refused
def test_nobody_else_may_reach_it_without_a_token(host: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "up", "--port", "0", "--host", host],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert "--token" in done.stderr


def _status(served: str, *lines: str) -> int:
    """The status of an answer to these very bytes."""
    host, _, port = served.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "connection: close", "", ""]).encode())
        return int(connection.makefile("rb").readline().split()[1])
