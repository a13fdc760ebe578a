"""The apps of `tests.worlds.apps` do on real processes what their tags say."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from deploy.flytoml.appconfig import parse
from tests.worlds import apps
from tests.worlds.served import PATIENCE_S, Served, served

Seen = dict[str, Any]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("apps")
    apps.write(directory)
    with served(directory) as running:
        yield running


def watch(
    platform: Served, tag: str, is_over: Callable[[list[Seen]], object], **keys: Any
) -> list[Seen]:
    """Every change of the machine's state and checks, until it is over."""
    config = apps.config(tag, **keys)
    machine_id = platform.machines("POST", json={"config": config}).json()["id"]
    seen: list[Seen] = []
    deadline = time.monotonic() + PATIENCE_S
    while not seen or not is_over(seen):
        assert time.monotonic() < deadline, seen
        machine = platform.machines("GET", f"/{machine_id}").json()
        if not seen or _essence(machine) != _essence(seen[-1]):
            seen.append(machine)
        time.sleep(0.02)
    platform.machines("DELETE", f"/{machine_id}?force=true")
    return seen


def test_ok_passes(platform: Served) -> None:
    assert _statuses(watch(platform, "ok1", _ends("passing")))[-1] == "passing"


def test_late_passes_first_and_fails_ever_after(platform: Served) -> None:
    seen = watch(platform, "late1", lambda seen: _statuses(seen)[-2:] == ["passing", "critical"])
    assert seen[-1]["checks"][0]["output"].startswith("HTTP 503")


def test_flap_passes_and_fails_by_turns(platform: Served) -> None:
    def is_over(seen: list[Seen]) -> bool:
        return _statuses(seen).count("passing") >= 2

    assert "critical" in _statuses(watch(platform, "flap", is_over))


def test_crash_exits_3_after_a_check_has_passed(platform: Served) -> None:
    restart = {"policy": "on-failure", "max_retries": 1}
    seen = watch(platform, "crash1", lambda seen: seen[-1]["state"] == "stopped", restart=restart)
    exits = [e["request"]["exit_event"] for e in seen[-1]["events"] if e["type"] == "exit"]
    assert [(e["exit_code"], e["restarting"]) for e in exits] == [(3, False), (3, True)]
    log = httpx.get(f"{platform.url}/local/v1/apps/hello/machines/{seen[-1]['id']}/logs").json()
    assert sum("crashing" in line for line in log) == 2


def test_exitzero_exits_0_before_it_serves(platform: Served) -> None:
    seen = watch(platform, "exitzero", lambda seen: seen[-1]["state"] == "stopped")
    assert "passing" not in _statuses(seen)
    (exit_,) = [e for e in seen[-1]["events"] if e["type"] == "exit"]
    assert exit_["request"]["exit_event"]["exit_code"] == 0


def test_slow_is_critical_where_a_check_waits_for_two_seconds(platform: Served) -> None:
    late = "no answer within 2 s"
    seen = watch(platform, "slow", lambda seen: seen[-1]["checks"][0]["output"] == late)
    assert _statuses(seen)[-1] == "critical"


def test_wrongport_does_not_listen_where_it_is_asked(platform: Served) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", apps.WRONG_PORT))
        except OSError:
            pytest.skip(f"something listens on port {apps.WRONG_PORT} here")
    where = f"the app listens on 127.0.0.1:{apps.WRONG_PORT}, the check asks 8080"
    seen = watch(platform, "wrongport", lambda seen: where in seen[-1]["checks"][0]["output"])
    assert "passing" not in _statuses(seen)


def test_the_fly_toml_is_an_app_of_two_machines_with_a_check() -> None:
    (group,) = parse(apps.FLY_TOML.format(app=apps.APP, python="python")).groups
    (service,) = group.config["services"]
    (check,) = service["checks"]
    assert (check["interval"], check["grace_period"]) == ("250ms", "100ms")


def _ends(status: str) -> Callable[[list[Seen]], object]:
    return lambda seen: _statuses(seen)[-1:] == [status]


def _statuses(seen: list[Seen]) -> list[str]:
    return [machine["checks"][0]["status"] for machine in seen if machine["checks"]]


def _essence(machine: Seen) -> Any:
    checks = [(check["status"], check["output"]) for check in machine["checks"]]
    return machine["state"], checks, len(machine["events"])
