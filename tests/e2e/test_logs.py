"""`deploy logs` as a person sees it, on the local platform."""

from __future__ import annotations

import json
import os
import select
import signal
import time

from tests.worlds.outside import V1, Project, finish


def test_the_lines_of_all_machines_or_of_one_are_shown(
    project: Project,
) -> None:
    project.must("-i", V1)
    entries = [
        json.loads(line) for line in project.must("logs", "--output", "json").out.splitlines()
    ]
    assert {entry["name"] for entry in entries} == {"app-1", "app-2"}

    shown = project.must("logs", "app-2", "--lines", "1").out
    (line,) = shown.splitlines()
    assert line.startswith("app-2 | ")
    machine_id = next(entry["machine"] for entry in entries if entry["name"] == "app-2")
    assert project.must("logs", machine_id, "-n", "1").out == shown

    missing = project.deploy("logs", "web-9")
    assert missing.code == 2
    assert "has no machine web-9" in missing.err
    assert "app-1, app-2" in missing.err


def test_following_goes_on_as_lines_come_until_ctrl_c(project: Project) -> None:
    project.must("-i", V1)
    following = project.begin("logs", "--follow", "--lines", "1")
    try:
        assert following.stdout is not None
        first = _line(following.stdout.fileno())
        assert " | " in first
        project.must("-i", V1, "--force")  # its machines start again, and say so
        assert " | " in _line(following.stdout.fileno())
        following.send_signal(signal.SIGINT)
        assert finish(following).code == 130
    finally:
        following.kill()


def _line(stream: int) -> str:
    """What comes next, within half a minute."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([stream], [], [], 0.5)[0]:
            return os.read(stream, 65536).decode()
    raise AssertionError("nothing came")


def test_for_a_real_platform_the_exact_command_is_named(project: Project) -> None:
    elsewhere = {"FLY_FLAPS_BASE_URL": "https://machines.invalid", "FLY_API_TOKEN": "planted"}
    done = project.deploy("logs", "148e", **elsewhere)
    assert done.code == 2
    assert f"`fly logs --app {project.app} --machine 148e`" in done.err
