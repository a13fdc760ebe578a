"""`rollout serve` as a process, asked by the real clients of several languages."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import (
    ErrorCode,
    FlagNotFoundError,
    GeneralError,
    OpenFeatureError,
    TargetingKeyMissingError,
    TypeMismatchError,
)

from rollout import Flags
from rollout.openfeature import RolloutProvider
from rollout.serving.serve import MOST_CONNECTIONS

TEXT = """\
version: 1
flags:
  deploy-retries: {bucket_by: app, percent: 50, inside: 5, outside: 0, owner: me}
  theme: {bucket_by: user, percent: 50, inside: new, outside: old, always_inside: {org: [acme]}}
  fast: {bucket_by: app, enabled: false, percent: 50, inside: true, outside: false}
"""
PATH = "/ofrep/v1/evaluate/flags"
HELLO = {"context": {"targetingKey": "hello"}}


class Service:
    """A running `rollout serve`; `lines` is what it has said."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rollout", "serve", "--port", "0", "--poll", "0.05", *arguments],
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in os.environ if not name.startswith("ROLLOUT")},
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.until(lambda: bool(self.lines))
        self.url = self.lines[0].split()[-1]

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < deadline, self.lines
            assert self.process.poll() is None, self.lines
            time.sleep(0.01)

    def said(self, text: str) -> None:
        self.until(lambda: any(text in line for line in self.lines))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.close()
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr
        self.process.stderr.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flags.yaml"
    path.write_text(TEXT)
    return path


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Service]:
    service = Service(*arguments)
    try:
        yield service
    finally:
        service.close()


def replace(path: Path, text: str) -> None:
    """As editors and git do it: at once."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


def test_the_python_client_gets_what_the_library_says(file: Path) -> None:
    flags = Flags.load(file)
    with running("--file", str(file)) as service:
        provider = OFREPProvider(service.url)
        for number in range(100):
            unit = f"app-{number}"
            context = EvaluationContext(unit, {"org": "other"})
            found = provider.resolve_integer_details("deploy-retries", -1, context)
            decision = flags.evaluate("deploy-retries", app=unit)
            assert (found.value, found.variant, found.reason) == (
                decision.value,
                decision.variant,
                decision.reason,
            )
            assert found.flag_metadata["bucket"] == decision.bucket
        details = provider.resolve_string_details(
            "theme", "x", EvaluationContext("hello", {"org": "acme"})
        )
        assert (details.value, details.reason) == ("new", "TARGETING_MATCH")
        off = provider.resolve_boolean_details("fast", True, EvaluationContext("hello"))
        assert (off.value, off.variant, off.reason) == (False, "outside", "STATIC")
        hello = EvaluationContext("hello")
        with pytest.raises(FlagNotFoundError) as unknown:
            provider.resolve_integer_details("missing", -1, hello)
        assert unknown.value.error_message == "there is no flag missing"
        with pytest.raises(TypeMismatchError):
            provider.resolve_boolean_details("deploy-retries", True, hello)
        with pytest.raises(TargetingKeyMissingError) as missing:
            provider.resolve_integer_details("deploy-retries", -1, EvaluationContext())
        assert missing.value.error_message == "the context has no app"
        with pytest.raises(OpenFeatureError) as wrong:
            provider.resolve_integer_details(
                "deploy-retries", -1, EvaluationContext("x", {"app": 7})
            )
        assert wrong.value.error_code is ErrorCode.INVALID_CONTEXT
        provider.session.close()


WINS = """\
version: 1
flags:
  off-number: {enabled: false, bucket_by: app, percent: 50, inside: 5, outside: 0}
  off-text: {enabled: false, bucket_by: app, percent: 50, inside: new, outside: old}
  off-switch: {enabled: false, bucket_by: app, percent: 100, inside: true, outside: false}
  everybody: {bucket_by: app, percent: 100, inside: true, outside: false}
  nobody: {bucket_by: app, percent: 0, inside: true, outside: false}
  half: {bucket_by: app, percent: 50, inside: 5, outside: 0}
  float: {bucket_by: app, percent: 100, inside: 0.5, outside: 1}
  object: {bucket_by: app, percent: 100, inside: {show: true, list: [1]}, outside: {}}
  listed:
    bucket_by: app
    percent: 0
    inside: new
    outside: old
    always_inside: {org: ["7", "true"]}
  colour:
    bucket_by: app
    variants:
      red: {weight: 0, value: "#f00"}
      blue: {weight: 100, value: "#00f"}
      grey: {weight: 0, value: "#ccc"}
"""
ASKED: list[tuple[str, Any, dict[str, Any], Any, str]] = [
    ("off-number", 7, {"targetingKey": "hello"}, 0, ""),
    ("off-number", 7, {}, 0, ""),
    ("off-text", "mine", {"targetingKey": "hello"}, "old", ""),
    ("off-switch", True, {"targetingKey": "hello"}, False, ""),
    ("everybody", False, {}, True, ""),
    ("everybody", False, {"targetingKey": ""}, True, ""),
    ("nobody", True, {}, False, ""),
    ("half", 7, {}, 7, "TARGETING_KEY_MISSING"),
    ("half", 7, {"targetingKey": ""}, 7, "TARGETING_KEY_MISSING"),
    ("float", 0.25, {"targetingKey": "x"}, 0.5, ""),
    ("object", {"a": "b"}, {"targetingKey": "x"}, {"show": True, "list": [1]}, ""),
    ("colour", "?", {"targetingKey": "x"}, "#00f", ""),
    ("listed", "?", {"targetingKey": "x", "org": 7}, "new", ""),
    ("listed", "?", {"targetingKey": "x", "org": True}, "new", ""),
    ("listed", "?", {"targetingKey": "x", "org": 8}, "old", ""),
    ("listed", "?", {"targetingKey": "x", "org": ["7"]}, "?", "INVALID_CONTEXT"),
]
"""Flag, the program's default, which differs; context, and the value with its error."""


def by_process(command: list[str], cwd: Path) -> list[dict[str, Any]]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def by_python(provider: Any) -> list[dict[str, Any]]:
    """What OpenFeature's Python client says with this provider."""
    kinds = {bool: "boolean", int: "integer", str: "string", float: "float", dict: "object"}
    api.set_provider_and_wait(provider)
    client, found = api.get_client(), []
    for flag, default, context, *_ in ASKED:
        others = {name: value for name, value in context.items() if name != "targetingKey"}
        who = EvaluationContext(context.get("targetingKey"), others)
        details = getattr(client, f"get_{kinds[type(default)]}_details")(flag, default, who)
        found.append({
            "value": details.value, "errorCode": details.error_code,
            "flagMetadata": details.flag_metadata,
        })  # fmt: skip
    api.shutdown()
    return found


def hold_to_the_file(found: list[dict[str, Any]]) -> None:
    for (flag, _, context, value, code), details in zip(ASKED, found, strict=True):
        assert details["value"] == value, (flag, context)
        assert (details.get("errorCode") or "") == code, (flag, context)
        if flag.startswith("off"):
            assert details["flagMetadata"]["off"] is True


@pytest.fixture
def wins(tmp_path: Path) -> Iterator[Service]:
    path = tmp_path / "wins.yaml"
    path.write_text(WINS)
    with running("--file", str(path)) as service:
        yield service


def test_the_value_in_the_file_wins_in_python_clients(wins: Service, tmp_path: Path) -> None:
    hold_to_the_file(by_python(RolloutProvider(tmp_path / "wins.yaml")))
    hold_to_the_file(by_python(OFREPProvider(wins.url)))


@pytest.mark.parametrize("kind", ["server", "web"])
def test_the_value_in_the_file_wins_in_javascript_clients(
    kind: str, wins: Service, node_modules: Path
) -> None:
    asks = json.dumps([ask[:3] for ask in ASKED])
    hold_to_the_file(by_process(["node", "asks.mjs", kind, wins.url, asks], node_modules))


@pytest.mark.timeout(600)
def test_the_value_in_the_file_wins_in_the_go_client(wins: Service, go_clients: Path) -> None:
    asks = [
        text
        for flag, default, context, *_ in ASKED
        for text in (flag, json.dumps(default), json.dumps(context))
    ]
    found = by_process([str(go_clients / "ofrep"), wins.url, *asks], go_clients)
    hold_to_the_file(found)


def test_the_python_client_understands_refusals(file: Path) -> None:
    with running("--file", str(file), "--token", "secret", "--rate", "0.01") as service:
        for headers, said in (
            ({}, "unauthorized"),
            ({"Authorization": "Bearer secret"}, "Rate limited, retry after: 100"),
        ):
            provider = OFREPProvider(service.url, headers_factory=lambda h=headers: h)  # type: ignore[misc]  # bound now
            with pytest.raises(OpenFeatureError) as caught:
                provider.resolve_integer_details("deploy-retries", -1, EvaluationContext("hello"))
            assert caught.value.error_message == said
            provider.session.close()
        with pytest.raises(GeneralError) as paused:
            provider.resolve_integer_details("deploy-retries", -1, EvaluationContext("hello"))
        assert "evaluation paused due to TooManyRequests" in str(paused.value.error_message)
        assert "secret" not in "".join(service.lines)


@pytest.mark.parametrize("program", ["server.mjs", "web.mjs"])
def test_the_javascript_clients_get_what_the_library_says(
    program: str, node_modules: Path, file: Path
) -> None:
    flags = Flags.load(file)
    contexts: list[dict[str, Any]] = [{"targetingKey": f"app-{number}"} for number in range(8)]
    contexts += [{"targetingKey": "x", "app": "app-7"}, {}]
    with running("--file", str(file), "--token", "secret") as service:
        done = subprocess.run(
            ["node", program, service.url, "secret", *map(json.dumps, contexts)],
            cwd=node_modules,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    *found, nobody, mismatched, missing = json.loads(done.stdout)
    for context, details in zip(contexts, found, strict=False):
        unit = context.get("app", context["targetingKey"])
        decision = flags.evaluate("deploy-retries", app=unit)
        assert (details["value"], details["variant"], details["reason"]) == (
            decision.value,
            decision.variant,
            decision.reason,
        )
        assert details["flagMetadata"]["bucket"] == decision.bucket
        assert details["flagMetadata"]["owner"] == "me"
    assert (nobody["value"], nobody["errorCode"]) == (-1, "TARGETING_KEY_MISSING")
    assert mismatched["value"] is True
    # The client for the web asks in the last context, which has no unit.
    expected = "TYPE_MISMATCH" if program == "server.mjs" else "TARGETING_KEY_MISSING"
    assert mismatched["errorCode"] == expected
    assert (missing["value"], missing["errorCode"]) == (-1, "FLAG_NOT_FOUND")


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


@contextlib.contextmanager
def under_way(service: Service, length: int) -> Iterator[socket.socket]:
    """A connection whose request has been begun: the service waits for `length` bytes of body."""
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        head = f"POST {PATH}/deploy-retries HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        yield connection


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


def test_beyond_a_number_of_connections_the_answer_is_503(file: Path) -> None:
    with running("--file", str(file)) as service, contextlib.ExitStack() as stack:
        port = int(service.url.rpartition(":")[2])
        for _ in range(MOST_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        with pytest.raises(AssertionError, match="503"):
            assert httpx.get(f"{service.url}/healthz").status_code == 200
        stack.close()
        service.until(lambda: httpx.get(f"{service.url}/healthz").status_code == 200)
    assert not any("Traceback" in line for line in service.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_under_way_is_answered_before_it_stops(
    number: signal.Signals, file: Path
) -> None:
    body = json.dumps(HELLO).encode()
    with running("--file", str(file)) as service:
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
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
