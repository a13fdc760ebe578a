"""What a process and its children listen on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local.runtimes.listening import listening

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="there is no /proc")

CODE = """
import os, socket, sys
held = []
for host in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.create_server((host, 0), family=family)
    held.append(made)
    print(made.getsockname()[1], flush=True)
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def app(*argv: str) -> Iterator[tuple[int, list[int]]]:
    """The session of a process that listens, and its ports."""
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    lines = list(iter(process.stdout.readline, "ready\n"))
    yield process.pid, [int(line) for line in lines]
    process.communicate()


def test_the_sockets_of_both_families_are_found_and_no_others() -> None:
    with app(sys.executable, "-c", CODE, "127.0.0.1", "::1", "0.0.0.0") as (session, ports):  # noqa: S104
        assert set(listening(session)) == set(
            zip(("127.0.0.1", "::1", "0.0.0.0"), ports, strict=True)  # noqa: S104
        )


def test_what_a_child_listens_on_counts_too() -> None:
    with app("sh", "-c", '"$@" & wait', "sh", sys.executable, "-c", CODE) as (session, _):
        assert listening(session) == []
    shell = ("sh", "-c", '"$@" <&3 3<&- & wait', "sh", sys.executable, "-c", CODE, "127.0.0.1")
    with app("sh", "-c", 'exec 3<&0; exec "$@"', "sh", *shell) as (session, ports):
        assert listening(session) == [("127.0.0.1", ports[0])]


def test_a_session_without_processes_listens_on_nothing() -> None:
    with app(sys.executable, "-c", CODE, "127.0.0.1") as (session, _):
        pass
    assert listening(session) == []
