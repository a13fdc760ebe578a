"""Traffic to real machines: nobody's request fails while machines come and go."""

from __future__ import annotations

import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from deploy.local.ports import FOR_SERVICES, moved_ports
from tests.worlds.served import Served, eventually, served, web


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("router")) as running:
        yield running


def test_a_port_below_1024_is_moved_to_the_same_port_for_the_same_app() -> None:
    first = [next(iter(moved_ports(app, port))) for app, port in (("a", 80), ("b", 80), ("a", 443))]
    assert first == [next(iter(moved_ports(a, p))) for a, p in (("a", 80), ("b", 80), ("a", 443))]
    assert len(set(first)) == 3
    assert all(port in FOR_SERVICES for port in first)


def test_requests_reach_every_machine_and_carry_what_they_came_with(platform: Served) -> None:
    ids = {platform.create(web(), app="spread") for _ in range(2)}
    address = platform.service(app="spread")
    services = httpx.get(f"{platform.url}/local/v1/apps/spread/services").json()
    assert services == [{"port": 80, "protocol": "http", "address": address, "moved": True}]
    assert any(f"port 80 is http://{address}" in line for line in platform.lines)
    with httpx.Client(base_url=f"http://{address}") as client:
        answers = [client.get("/a%20b/?q=1&q=2", headers={"x-custom": "one"}) for _ in range(6)]
        assert {answer.text.split()[1] for answer in answers} == ids
        assert answers[0].text.split()[2] == "/a%20b/?q=1&q=2"
        assert answers[0].headers["seen-host"] == address
        assert answers[0].headers["seen-x-custom"] == "one"
        assert answers[0].headers["seen-x-forwarded-for"] == "127.0.0.1"
        assert answers[0].headers["server"].startswith("BaseHTTP")
        assert len(answers[0].headers.get_list("date")) == 1


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_bodies_of_any_size_arrive(platform: Served, size: int) -> None:
    if "bodies" not in httpx.get(f"{platform.url}/v1/apps").text:
        platform.create(web(), app="bodies")
    url = f"http://{platform.service(app='bodies')}/"
    assert httpx.post(url, content=b"x" * size).text == str(size)
    chunks = (b"x" * 1000 for _ in range(size // 1000))
    assert httpx.put(url, content=chunks).text == str(size // 1000 * 1000)


def test_cordoned_stopped_and_sick_machines_get_nothing(platform: Served) -> None:
    ids = [platform.create(web(), app="choosy") for _ in range(3)]
    sick = platform.machines("POST", app="choosy", json={"config": web("hello:sick")}).json()["id"]
    platform.machines("POST", f"/{ids[0]}/cordon", app="choosy")
    platform.machines("POST", f"/{ids[1]}/stop", app="choosy")
    url = f"http://{platform.service(app='choosy')}/"
    assert {httpx.get(url).text.split()[1] for _ in range(8)} == {ids[2]}
    platform.machines("POST", f"/{ids[2]}/cordon", app="choosy")
    answer = httpx.get(url)
    assert answer.status_code == 503
    assert "no machine of app choosy" in answer.text
    platform.machines("POST", f"/{ids[0]}/uncordon", app="choosy")
    assert httpx.get(url).text.split()[1] == ids[0] != sick


def test_no_request_fails_while_every_machine_is_updated(platform: Served) -> None:
    ids = [platform.create(web(), app="rolling") for _ in range(2)]
    address = platform.service(app="rolling")
    stop, seen = threading.Event(), Counter[Any]()

    def ask(path: str) -> None:
        with httpx.Client(base_url=f"http://{address}", timeout=30) as client:
            while not stop.is_set():
                try:
                    answer = client.post(path, content=b"x") if "post" in path else client.get(path)
                    seen[answer.status_code, answer.text.split()[0]] += 1
                except httpx.HTTPError as error:
                    seen[repr(error)] += 1

    with ThreadPoolExecutor() as pool:
        for path in ("/", "/sleep/0.4", "/post", "/post/sleep/0.3"):
            pool.submit(ask, path)
        try:
            for machine_id in ids:
                before = platform.machines("GET", f"/{machine_id}", app="rolling").json()
                body = {"config": web("hello:v2"), "current_version": before["version"]}
                platform.machines("POST", f"/{machine_id}", app="rolling", json=body)
                platform.passing(machine_id, app="rolling")
            platform.machines("DELETE", f"/{ids[0]}?force=true", app="rolling")
            eventually(lambda: _state(platform, ids[0], app="rolling") == "destroyed")
        finally:
            stop.set()
    assert {kind[0] for kind in seen} == {200}, seen
    assert seen[200, "hello:v1"]
    assert seen[200, "hello:v2"]


def test_a_request_that_a_machine_dies_on_goes_to_another_if_it_may_be_repeated(
    platform: Served,
) -> None:
    policy = {"policy": "no"}
    ids = [platform.create(web(restart=policy), app="dying") for _ in range(2)]
    url = f"http://{platform.service(app='dying')}"
    assert httpx.post(f"{url}/die", content=b"x").status_code == 502
    eventually(lambda: [_state(platform, i, app="dying") for i in ids].count("stopped") == 1)
    assert httpx.get(f"{url}/die").status_code == 502
    assert httpx.get(f"{url}/").status_code == 503


def test_an_answer_that_breaks_off_breaks_off_for_the_client_too(platform: Served) -> None:
    platform.create(web(), app="halves")
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://{platform.service(app='halves')}/half")


def test_anything_else_than_http_goes_connection_by_connection(platform: Served) -> None:
    config = {
        "init": {"cmd": [sys.executable, "echo.py"]},
        "services": [
            {"internal_port": 5000, "ports": [{"port": 500}], "checks": [{"type": "tcp"}]}
        ],
    }
    ids = {platform.create(config, app="raw") for _ in range(2)}
    host, _, port = platform.service(app="raw").rpartition(":")
    met = set()
    for _ in range(2):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            stream = connection.makefile("rwb")
            met.add(stream.readline().decode().strip())
            stream.write(b"ping\n")
            stream.flush()
            assert stream.readline() == b"ping\n"
            connection.shutdown(socket.SHUT_WR)
            assert stream.readline() == b"bye\n"
            stream.close()
    assert met == ids
    for machine_id in ids:
        platform.machines("POST", f"/{machine_id}/cordon", app="raw")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        assert connection.recv(10) == b""


def test_the_same_port_of_two_apps_is_moved_for_the_second(platform: Served) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
    config = web()
    config["services"][0]["ports"] = [{"port": free, "handlers": ["http"]}]
    for app, moved in (("first", False), ("second", True)):
        platform.create(config, app=app)
        service = httpx.get(f"{platform.url}/local/v1/apps/{app}/services").json()[0]
        assert (service["port"], service["moved"]) == (free, moved)
        assert httpx.get(f"http://{service['address']}/").status_code == 200
    httpx.delete(f"{platform.url}/v1/apps/first")
    eventually(lambda: not _listens(free))


def _state(platform: Served, machine_id: str, *, app: str) -> str:
    return str(platform.machines("GET", f"/{machine_id}", app=app).json()["state"])


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_an_app_that_does_not_read_port_is_found_on_its_internal_port(platform: Served) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "import http.server, sys\n"
        "server = http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])),"
        " http.server.SimpleHTTPRequestHandler)\n"
        "server.serve_forever()"
    )
    config = web(init={"cmd": [sys.executable, "-c", code, str(port)]})
    service = config["services"][0] | {"internal_port": port}
    service["checks"] = [{"type": "http", "path": "/web.py", "interval": "1s"}]
    machine_id = platform.create({**config, "services": [service]}, app="fixed")
    assert httpx.get(f"http://{platform.service(app='fixed')}/web.py").is_success
    sockets = platform.machines("GET", f"/{machine_id}/ps", app="fixed").json()[0]
    assert sockets["listen_sockets"] == [{"proto": "tcp", "address": f"127.0.0.1:{port}"}]


@pytest.mark.skipif(sys.platform != "linux", reason="needs addresses beside 127.0.0.1")
def test_a_machine_that_tests_another_finds_its_internal_ports_at_its_private_address(
    platform: Served,
) -> None:
    ids = [platform.create(web(), app="tested") for _ in range(2)]
    addresses = [
        platform.machines("GET", f"/{each}", app="tested").json()["private_ip"] for each in ids
    ]
    assert len(set(addresses)) == 2
    url = f"http://[{addresses[1]}]:8080/"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)  # nobody tests it yet
    config = {
        "init": {"cmd": ["sleep", "1000"]},
        "env": {"FLY_TEST_MACHINE_IP": addresses[1]},
        "restart": {"policy": "no"},
    }
    testing = platform.machines("POST", app="tested", json={"config": config}).json()["id"]
    assert httpx.get(url).text.split()[1] == ids[1]
    assert httpx.get(url).text.split()[1] == ids[1]
    platform.machines("POST", f"/{testing}/stop", app="tested", json={"signal": "SIGKILL"})
    eventually(lambda: _state(platform, testing, app="tested") == "stopped")
    eventually(lambda: _refuses(url))
    assert _state(platform, ids[1], app="tested") == "started"


def _refuses(url: str) -> bool:
    try:
        httpx.get(url)
    except httpx.ConnectError:
        return True
    return False
