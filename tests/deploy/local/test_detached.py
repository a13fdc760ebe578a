"""`deploy local up --detach` and `deploy local down`, as a person uses them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.worlds.served import eventually

CONFIG = {"init": {"cmd": ["sh", "-c", "echo from the machine; exec sleep 1000"]}}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A state directory of its own; what still runs at the end is ended."""
    yield tmp_path
    for file in (tmp_path / "tidegate" / "local").glob("*.pid"):
        _local(tmp_path, "down", "--port", file.stem)


def _local(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"XDG_STATE_HOME": str(home)}
    command = [sys.executable, "-m", "deploy.local", *words]
    return subprocess.run(
        command, check=False, cwd=home, capture_output=True, text=True, timeout=60, env=environ
    )


def _up(home: Path, *options: str) -> tuple[str, Path]:
    """The address of a platform that goes on, and its log."""
    begun = _local(home, "up", "--detach", "--port", "0", *options)
    assert begun.returncode == 0, begun.stderr
    url = re.search(r"http://\S+", begun.stdout)
    log = re.search(r"its log is (\S+)", begun.stdout)
    assert url is not None
    assert log is not None
    return url[0], Path(log[1])


def test_it_goes_on_writes_its_log_and_ends_with_its_machines(home: Path) -> None:
    url, log = _up(home)
    made = httpx.post(f"{url}/v1/apps/hello/machines", json={"config": CONFIG}).json()
    machine = f"{url}/v1/apps/hello/machines/{made['id']}"
    eventually(lambda: httpx.get(machine).json()["state"] == "started")
    (process,) = httpx.get(f"{machine}/ps").json()
    eventually(lambda: "from the machine" in log.read_text())
    ended = _local(home, "down")
    assert ended.returncode == 0
    assert ended.stdout == f"the local platform on port {url.rpartition(':')[2]} has ended\n"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    eventually(lambda: not _runs(process["pid"]))
    assert "Traceback" not in log.read_text()


def test_a_log_of_ones_own_is_added_to(home: Path) -> None:
    mine = home / "mine.log"
    mine.write_text("before\n")
    _, log = _up(home, "--log", str(mine))
    assert log == mine
    assert mine.read_text().startswith("before\nthe local platform listens on")


def test_one_of_several_has_to_be_named(home: Path) -> None:
    ports = sorted(_up(home)[0].rpartition(":")[2] for _ in range(2))
    refused = _local(home, "down")
    assert refused.returncode == 2
    assert all(port in refused.stderr for port in ports)
    assert _local(home, "down", "--port", ports[0]).returncode == 0
    assert _local(home, "down").returncode == 0  # the one that is left


def test_without_one_there_is_nothing_to_end(home: Path) -> None:
    refused = _local(home, "down")
    assert (refused.returncode, "--detach" in refused.stderr) == (2, True)


def test_one_that_was_killed_is_not_taken_for_a_living_one(home: Path) -> None:
    url, _ = _up(home)
    (file,) = (home / "tidegate" / "local").glob("*.pid")
    os.kill(int(file.read_text()), signal.SIGKILL)
    eventually(lambda: _local(home, "down").returncode == 2)
    again = _local(home, "up", "--detach", "--port", url.rpartition(":")[2])
    assert again.returncode == 0, again.stderr


def test_a_port_in_use_is_said_by_the_command_itself(home: Path) -> None:
    url, _ = _up(home)
    refused = _local(home, "up", "--detach", "--port", url.rpartition(":")[2])
    assert refused.returncode == 2
    assert "Address already in use" in refused.stderr


def test_a_log_that_cannot_be_written_is_said_by_the_command_itself(home: Path) -> None:
    refused = _local(home, "up", "--detach", "--port", "0", "--log", str(home / "none" / "log"))
    assert refused.returncode == 2
    assert "--log" in refused.stderr


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
