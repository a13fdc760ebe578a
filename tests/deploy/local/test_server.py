"""`deploy local up` from the outside: how it begins, and that nothing is left when it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.hiccups import Hiccups
from tests.worlds.served import eventually, served, web

LINGERING: dict[str, Any] = {
    "init": {"cmd": ["sh", "-c", "sleep 1000 & sleep 1001 & echo $$; wait"]}
}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_every_process_ends_with_the_platform(tmp_path: Path, how: signal.Signals) -> None:
    with served(tmp_path) as platform:
        for _ in range(2):
            platform.create(LINGERING)
        groups = [
            platform.machines("GET", f"/{machine['id']}/ps").json()[0]["pid"]
            for machine in platform.machines("GET").json()
        ]
        assert all(_group(pgid) for pgid in groups)
        platform.process.send_signal(how)
        platform.process.wait(20)
        eventually(lambda: not any(_group(pgid) for pgid in groups))
        assert platform.process.returncode == (-9 if how == signal.SIGKILL else 0)
    assert "Traceback" not in "\n".join(platform.lines)


def test_ending_while_somebody_waits_is_quiet(tmp_path: Path) -> None:
    with served(tmp_path) as platform:
        machine_id = platform.create(web())
        with socket.create_connection(
            ("127.0.0.1", int(platform.url.rpartition(":")[2]))
        ) as waiting:
            path = f"/v1/apps/hello/machines/{machine_id}/wait?state=stopped"
            waiting.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            httpx.get(f"{platform.url}/v1/apps")
            platform.process.terminate()
            assert platform.process.wait(20) == 0
    said = "\n".join(platform.lines)
    assert "stopping the machines" in said
    assert "Error" not in said.replace("KeyboardInterrupt", "")


def test_a_second_ctrl_c_does_not_wait_for_machines_that_do_not_listen(tmp_path: Path) -> None:
    deaf = {"init": {"cmd": ["sh", "-c", "trap '' INT; echo deaf; while :; do sleep 1; done"]}}
    with served(tmp_path) as platform:
        platform.create({**deaf, "stop_config": {"timeout": "300s"}})
        eventually(lambda: any("deaf" in line for line in platform.lines))
        platform.process.send_signal(signal.SIGINT)
        eventually(lambda: any("once more" in line for line in platform.lines))
        platform.process.send_signal(signal.SIGINT)
        assert platform.process.wait(3) == 0


def test_it_says_where_it_listens_and_what_to_export(tmp_path: Path) -> None:
    with served(tmp_path) as platform:
        assert platform.lines[0] == f"the local platform listens on {platform.url}"
        assert f"  export FLY_FLAPS_BASE_URL={platform.url}" in platform.lines


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "0.0.0.0"), ("--token",)),  # noqa: S104 - it is refused
        (("--host", ""), ("--token",)),
        (("--host", "no.such.host.invalid", "--token", "t"), ("cannot listen",)),
        (("--host", "192.0.2.1", "--token", "t"), ("cannot listen",)),
        (("--hiccups", "1.5"), ("--hiccups",)),
        (("--port", "99999"), ("--port",)),
        (("--dir", "none"), ("--dir",)),
    ],
)
def test_what_cannot_be_served_is_refused_in_plain_words(
    tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    refused = _up(tmp_path, *options)
    assert refused.returncode == 2
    assert all(word in refused.stderr for word in words)
    assert "Traceback" not in refused.stderr


def test_a_port_in_use_is_one_line_and_a_hint(tmp_path: Path) -> None:
    with served(tmp_path) as platform:
        port = platform.url.rpartition(":")[2]
        refused = _up(tmp_path, "--port", port)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[0] == (
        f"Error: cannot listen on 127.0.0.1, port {port}: Address already in use"
    )


def test_a_lost_reply_is_a_broken_connection_on_the_wire(tmp_path: Path) -> None:
    seed = next(seed for seed in range(1000) if _first_strike(seed) == "reply lost")
    with served(tmp_path, "--hiccups", "0.9", "--seed", str(seed)) as platform:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            platform.machines("POST", json={"name": "one", "config": LINGERING})
        assert [m["name"] for m in platform.machines("GET").json()] == ["one"]
    assert f"hiccups strike 90% of all writes, seed {seed}" in platform.lines
    assert "Traceback" not in "\n".join(platform.lines)


def test_a_machine_without_a_command_is_refused_with_what_to_add(tmp_path: Path) -> None:
    with served(tmp_path) as platform:
        answer = platform.machines("POST", json={"config": {"image": "hello:v1"}})
    assert answer.status_code == 400
    assert "[processes]" in answer.json()["error"]


def test_the_log_of_a_machine_can_be_read(tmp_path: Path) -> None:
    with served(tmp_path) as platform:
        machine_id = platform.create({"init": {"cmd": ["sh", "-c", "echo hi; exec sleep 1000"]}})
        url = f"{platform.url}/local/v1/apps/hello/machines/{machine_id}/logs"
        eventually(lambda: httpx.get(url).json() == ["hi"])


def test_logs_are_followed_line_by_line_also_of_machines_that_come_later(tmp_path: Path) -> None:
    with served(tmp_path) as platform:
        first = platform.create({"init": {"cmd": ["sh", "-c", "echo a; echo b; exec sleep 1000"]}})
        url = f"{platform.url}/local/v1/apps/hello/logs"
        eventually(lambda: len(httpx.get(url).text.splitlines()) == 2)
        kept = [json.loads(line) for line in httpx.get(url).text.splitlines()]
        assert [(line["machine"], line["line"]) for line in kept] == [(first, "a"), (first, "b")]
        with httpx.stream("GET", url, params={"follow": True, "lines": 1}) as answer:
            lines = (json.loads(line) for line in answer.iter_lines())
            assert next(lines)["line"] == "b"
            echo = ["sh", "-c", "echo late; exec sleep 1000"]
            second = platform.create({"init": {"cmd": echo}}, name="two")
            late = next(lines)
            assert (late["machine"], late["name"], late["line"]) == (second, "two", "late")
        of_one = httpx.get(url, params={"machine": second}).text.splitlines()
        assert [json.loads(line)["line"] for line in of_one] == ["late"]
        assert httpx.get(url, params={"machine": "none"}).status_code == 404


def test_help_imports_no_server() -> None:
    code = (
        "import sys, deploy.local.cli\n"
        "heavy = {'starlette', 'uvicorn', 'httpx', 'rich', 'anyio', 'msgspec'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


def _up(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.local", "up", *options]
    return subprocess.run(
        command, check=False, cwd=directory, capture_output=True, text=True, timeout=30
    )


def _group(pgid: int) -> bool:
    """Whether any process of the group still runs."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat="], check=True, capture_output=True, text=True
    )
    rows = (line.split() for line in listed.stdout.splitlines())
    return any(row[0] == str(pgid) and not row[1].startswith("Z") for row in rows)


def _first_strike(seed: int) -> str:
    strike = Hiccups(rate=0.9, seed=seed).draw("hello", "/one", "create", 0)
    return strike.kind if strike else ""
