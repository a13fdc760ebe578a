"""The example as a machine runs it: a process of its own, asked over real sockets."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from deploy.flytoml.appconfig import parse

HELLO = Path(__file__).parents[2] / "examples" / "hello"


@contextmanager
def server(image: str = "hello:v1") -> Iterator[tuple[subprocess.Popen[str], int]]:
    env = {
        **os.environ,
        "PORT": "0",
        "SICK_TAGS": "v3",
        "FLY_IMAGE_REF": image,
        "FLY_MACHINE_ID": "m1",
        "FLY_PROCESS_GROUP": "app",
    }
    command = [sys.executable, str(HELLO / "server.py")]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().split()[-1])
        finally:
            process.kill()


@contextmanager
def connected(port: int) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        yield connection


def get(connection: http.client.HTTPConnection, path: str = "/") -> tuple[int, str]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_it_says_which_image_machine_and_group_answer() -> None:
    with server("registry:5000/hello:v2@sha256:0f") as (_, port), connected(port) as connection:
        hello = "image registry:5000/hello:v2@sha256:0f machine m1 group app\n"
        assert get(connection) == (200, hello)
        assert get(connection, "/healthz") == (200, "ok\n")
        assert get(connection, "/else")[0] == 404


@pytest.mark.parametrize(
    ("image", "status"),
    [("hello:v1", 200), ("hello:v3", 503), ("registry:5000/hello:v3@sha256:0f", 503), ("v3", 200)],
)
def test_an_image_with_a_sick_tag_fails_its_check_and_serves_all_the_same(
    image: str, status: int
) -> None:
    with server(image) as (_, port), connected(port) as connection:
        assert get(connection, "/healthz")[0] == status
        assert get(connection)[0] == 200


def test_a_stop_answers_everything_in_flight_and_ends_with_zero() -> None:
    with (
        ExitStack() as stack,
        server() as (process, port),
        connected(port) as idle,
        socket.create_connection(("127.0.0.1", port), timeout=10) as fresh,
    ):
        assert get(idle)[0] == 200
        slow = [stack.enter_context(connected(port)) for _ in range(8)]
        for connection in slow:
            connection.request("GET", "/slow")
        process.send_signal(signal.SIGTERM)
        fresh.sendall(b"GET / HTTP/1.1\r\nHost: hello\r\n\r\n")
        assert fresh.recv(1000).startswith(b"HTTP/1.1 200")
        assert [connection.getresponse().status for connection in slow] == [200] * 8
        assert process.wait(timeout=10) == 0
        with pytest.raises(ConnectionRefusedError), connected(port) as late:
            get(late)


def test_a_connection_that_never_asks_does_not_hold_up_a_stop() -> None:
    with server() as (process, port), socket.create_connection(("127.0.0.1", port)):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0


def test_its_fly_toml_is_one_checked_service_that_this_platform_can_run() -> None:
    config = parse((HELLO / "fly.toml").read_text())
    (group,) = config.groups
    assert config.app == "hello"
    assert config.deploy.strategy == "rolling"
    assert group.config["init"] == {"cmd": ["python3", "server.py"]}
    assert group.config["stop_config"] == {"timeout": "5s", "signal": "SIGTERM"}
    (service,) = group.config["services"]
    assert service["internal_port"] == 8080
    assert service["checks"][0]["path"] == "/healthz"
    assert group.config["env"]["SICK_TAGS"] == "v3"
