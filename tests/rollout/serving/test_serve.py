"""`rollout serve` as a process."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from rollout.serving.serve import MOST_CONNECTIONS
from tests.rollout.serving.service import ANEW, HELLO, PATH, TEXT, replace, running, under_way


def test_a_bump_is_served_without_dropping_a_request(file: Path) -> None:
    values: list[object] = []
    over = threading.Event()

    def ask(url: str) -> None:
        with httpx.Client() as client:
            while not over.is_set():
                response = client.post(f"{url}{PATH}/deploy-retries", json=HELLO)
                values.append(response.json()["value"] if response.is_success else response.text)

    with running("--file", str(file)) as service:
        threads = [threading.Thread(target=ask, args=[service.url]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for percent in (100, 0, 100):
            replace(file, TEXT.replace("percent: 50", f"percent: {percent}", 1))
            expected = 5 if percent else 0
            service.until(lambda wanted=expected: values[-1:] == [wanted])  # type: ignore[misc]  # bound now
        over.set()
        for thread in threads:
            thread.join()
        service.said(f"{file} has changed: deploy-retries")
    assert set(values) == {0, 5}


def test_a_broken_file_is_told_and_the_flags_from_before_serve(file: Path) -> None:
    with running("--file", str(file)) as service:
        replace(file, TEXT.replace("percent: 50", "percent: 101", 1))
        service.said(f"the flags from before still serve: {file}:3:")
        assert "101 is over 100" in httpx.get(f"{service.url}/readyz").json()["problem"]
        assert httpx.post(f"{service.url}{PATH}/deploy-retries", json=HELLO).json()["value"] == 5
        replace(file, TEXT)
        service.said(f"{file} is in order again")
        assert "problem" not in httpx.get(f"{service.url}/readyz").json()


def test_no_answer_on_a_connection_that_is_kept_waits_for_an_acknowledgement(
    file: Path,
) -> None:
    """Without TCP_NODELAY each would take 40 ms: the other side's delayed acknowledgement."""
    with running("--file", str(file)) as service, httpx.Client() as client:
        times = []
        for _ in range(60):
            began = time.perf_counter()
            assert client.post(f"{service.url}{PATH}/deploy-retries", json=HELLO).is_success
            times.append(time.perf_counter() - began)
    assert sorted(times)[len(times) // 2] < 0.03


def test_an_answer_leaves_in_one_piece(file: Path) -> None:
    """The head alone and then the body are two calls of the system: a fifth of a request's time."""
    with running("--file", str(file)) as service:
        port = int(service.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            for _ in range(50):
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert connection.recv(65536).endswith(b"}")
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert connection.recv(65536).endswith(b"}")
            assert connection.recv(65536) == b""


def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_traceback(file: Path) -> None:
    with running("--file", str(file)) as service:
        for _ in range(20):
            with under_way(service, 100) as connection:
                connection.sendall(b'{"context"')
        assert httpx.post(f"{service.url}{PATH}/deploy-retries", json=HELLO).is_success
    assert len(service.lines) <= 2, service.lines
    assert not any("Traceback" in line or "rror" in line for line in service.lines)


def test_who_sends_no_whole_request_is_cut_off(file: Path) -> None:
    with running("--file", str(file)) as service, contextlib.ExitStack() as stack:
        port = int(service.url.rpartition(":")[2])
        waiting: list[socket.socket] = []
        for begun in (b"", b"POST / HTT", b"POST / HTTP/1.1\r\nHost: x\r\nX-", None):
            if begun is None:
                connection = stack.enter_context(under_way(service, 100))
            else:
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                connection.sendall(begun)
            connection.settimeout(30)
            waiting.append(connection)
        assert [connection.recv(65536) for connection in waiting] == [b"", b"", b"", b""]
    assert not any("Traceback" in line for line in service.lines)


def answer(connection: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"}"):  # its head and its body may come apart
        found += connection.recv(65536) or b"{closed}"
    return found


@pytest.mark.parametrize(
    ("asked", "more", "least_s", "most_s"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"", 4.5, 9),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /hea", 9.5, 14),
        # Answered before its body has come.
        (b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", b"{}", 4.5, 9),
    ],
    ids=["nothing more is asked", "the next request is not whole", "an unread body came late"],
)
def test_a_connection_is_kept_for_a_time_only(
    asked: bytes, more: bytes, least_s: float, most_s: float, file: Path
) -> None:
    with running("--file", str(file)) as service:
        port = int(service.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            for _ in range(2):
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert answer(connection).startswith(b"HTTP/1.1 200 OK")
                time.sleep(3)  # twice this is longer than it waits for the next
            connection.sendall(asked)
            assert answer(connection).startswith(b"HTTP/1.1 ")
            connection.sendall(more)
            began = time.monotonic()
            assert connection.recv(65536) == b""
            assert least_s < time.monotonic() - began < most_s


def test_beyond_a_number_of_connections_the_answer_is_503(file: Path) -> None:
    arguments = ["--workers", "1", "--file", str(file)]
    with running(*arguments) as service, contextlib.ExitStack() as stack:
        port = int(service.url.rpartition(":")[2])
        for _ in range(MOST_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        with pytest.raises(AssertionError, match="503"):
            assert httpx.get(f"{service.url}/healthz").status_code == 200
        stack.close()
        service.until(lambda: httpx.get(f"{service.url}/healthz").status_code == 200)
    assert not any("Traceback" in line for line in service.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_request_under_way_is_answered_before_it_stops(
    workers: int, number: signal.Signals, file: Path
) -> None:
    body = json.dumps(HELLO).encode()
    with running("--workers", str(workers), "--file", str(file)) as service:
        with under_way(service, len(body)) as connection:
            service.process.send_signal(number)
            service.said("stopping")
            time.sleep(0.5)  # which a server that does not wait for it would not survive
            connection.sendall(body)
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert service.process.wait(20) == 0
    assert not any("Traceback" in line for line in service.lines)


def test_a_second_signal_does_not_wait(file: Path) -> None:
    with running("--file", str(file)) as service, under_way(service, 9):
        service.process.send_signal(signal.SIGTERM)
        service.said("stopping")
        began = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(8) == 0
        assert time.monotonic() - began < 5


def test_it_goes_on_when_nobody_reads_what_it_says(file: Path) -> None:
    with running("--file", str(file)) as service:
        quiet = subprocess.Popen(
            [sys.executable, "-m", "rollout", "serve", "--port", "0", "--poll", "0.05",
             "--file", str(file)],
            stderr=subprocess.PIPE,
        )  # fmt: skip
        assert quiet.stderr
        url = quiet.stderr.readline().decode().split()[-1]
        quiet.stderr.close()
        try:
            for percent in (0, 100):
                seen = len(service.lines)
                replace(file, TEXT.replace("percent: 50", f"percent: {percent}", 1))
                service.until(lambda seen=seen: "has changed" in str(service.lines[seen:]))  # type: ignore[misc]  # bound now
                wanted = 5 if percent else 0
                service.until(
                    lambda wanted=wanted: (  # type: ignore[misc]  # bound now
                        ANEW.post(f"{url}{PATH}/deploy-retries", json=HELLO).json()["value"]
                        == wanted
                    )
                )
        finally:
            quiet.terminate()
            assert quiet.wait(20) == 0


def test_many_flags_that_change_at_once_are_not_all_named(file: Path) -> None:
    flag = "  flag-{}: {{bucket_by: app, percent: {}, inside: 5, outside: 0}}\n"
    before, after = (
        "version: 1\nflags:\n" + "".join(flag.format(number, percent) for number in range(50))
        for percent in (5, 6)
    )
    replace(file, before)
    with running("--file", str(file)) as service:
        replace(file, after)
        service.said("flag-8, flag-9, ...")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "0"], "Invalid value for '--workers'"),
        (
            ["--workers", "2", "--rate", "5"],
            "Error: the requests of an address are counted in one process",
        ),
        (["--host", "0.0.0.0"], "Error: 0.0.0.0 can be reached by others\nHint: add --token"),  # noqa: S104 -- refused
        (["--host", "::"], "Error: :: can be reached by others"),
        (["--host", "192.0.2.1", "--token", "x"], "Error: cannot listen on 192.0.2.1, port 8016: "),
        (["--host", "no.such.host.invalid", "--token", "x"], "Error: cannot listen on no.such"),
        (["--file", "missing.yaml"], "Error: missing.yaml does not exist"),
        (["--rate", "-1"], "Invalid value for '--rate'"),
        (["--poll", "0"], "Invalid value for '--poll'"),
        (["--port", "70000"], "Invalid value for '--port'"),
    ],
)
def test_what_cannot_be_served_is_one_clear_line(
    arguments: list[str], said: str, file: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rollout", "serve", *arguments],
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_clear_line(file: Path) -> None:
    with running("--file", str(file)) as service:
        port = re.sub(r".*:", "", service.url)
        done = subprocess.run(
            [sys.executable, "-m", "rollout", "serve", "--file", str(file), "--port", port],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 2
    assert "port" in done.stderr
    assert "Address already in use" in done.stderr
