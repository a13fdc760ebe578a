"""Machine checks on real processes: they reach the machine that they try, and it alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import apps
from tests.worlds.outside import Project, finish, platform, until

QUICK = ("--min-healthy", "200ms")
PROBE = """
import os, time, urllib.request
address = os.environ["FLY_TEST_MACHINE_IP"]
found = urllib.request.urlopen(f"http://[{address}]:8080/", timeout=5).read().decode()
print("found", found, flush=True)
if found.endswith("ok4"):
    time.sleep(1000)
raise SystemExit(0 if found.endswith("ok2") else 7)
"""
CHECK = """
  [[http_service.machine_checks]]
    command = ["{python}", "-E", "-S", "probe.py"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    apps.write(tmp_path, app="probed", more=CHECK.format(python=sys.executable))
    (tmp_path / "probe.py").write_text(PROBE)
    with platform(tmp_path) as address:
        yield Project(tmp_path, "probed", address)


def test_the_new_machine_is_tried_at_its_address_and_no_machine_is_left(
    project: Project,
) -> None:
    planned = project.must("plan", "-i", apps.image("ok2"))
    assert "and the group's machine checks pass" in planned.out
    done = project.must("-i", apps.image("ok2"), *QUICK)
    assert "machine-check-" in done.out
    assert project.images() == [apps.image("ok2")] * 2

    failed = project.deploy("-i", apps.image("ok3"), "--deploy-retries", "2", *QUICK)

    assert failed.code == 1, failed
    assert "failed: exit code 7; the app is as it was before" in failed.err
    assert "  found cases:ok3" in failed.err
    assert project.images() == [apps.image("ok2")] * 2
    assert len(project.machines()) == 2

    under_way = project.begin("-i", apps.image("ok4"), "--strategy", "canary", *QUICK)
    until("the canary is tried", lambda: any(map(_is_check, project.machines())))
    under_way.terminate()
    ended = finish(under_way)
    assert ended.code == 130, ended
    assert project.images() == [apps.image("ok2")] * 2


def _is_check(machine: dict[str, Any]) -> bool:
    return str(machine["name"]).startswith("machine-check-")
