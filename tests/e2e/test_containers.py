"""Deploys onto containers, seen from outside: strategies under traffic, and what is killed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from examples.demo import traffic
from tests.faults.death import Moment, kill_at
from tests.worlds import engines
from tests.worlds.outside import Project, platform, running_platform, until
from tests.worlds.traffic import replace_under_traffic

V1, V2, SICK = (f"{engines.REPOSITORY}:{tag}" for tag in ("v1", "v2", "sick"))
QUICK = ("--min-healthy", "500ms")
FLY_TOML = """
kill_timeout = 5

[deploy]
  wait_timeout = "15s"

[[services]]
  internal_port = 8080
  protocol = "tcp"

  [[services.ports]]
    port = 8091
    handlers = ["http"]

  [[services.http_checks]]
    path = "/health"
    grace_period = "50ms"
    interval = "250ms"
    timeout = "2s"
"""


@pytest.fixture(scope="module")
def images(engine: str) -> str:
    for image in (V1, V2, SICK):
        engines.make_image(engine, image)
    return engine


@pytest.fixture(scope="module")
def address(images: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("containers")
    write(directory)
    with platform(directory, "--runtime", "docker") as found:
        yield found
    assert engines.ours(images, directory) == []


@pytest.fixture
def project(address: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Project]:
    write(tmp_path)
    name = re.sub(r"[^a-z]", "", request.node.name)[-20:]
    mine = Project(tmp_path, f"app{name}x", address)
    yield mine
    mine.remove()


def write(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "fly.toml").write_text(FLY_TOML)


def test_no_request_fails_while_a_strategy_replaces_every_container(project: Project) -> None:
    strategies = ("rolling", "canary", "bluegreen")
    replace_under_traffic(project, V1, V2, *QUICK, strategies=strategies, retries="2")


def test_immediate_replaces_every_container_at_once_and_a_sick_release_goes_back(
    project: Project,
) -> None:
    project.must("-i", V1, *QUICK)
    project.must("-i", V2, "--strategy", "immediate")
    assert project.images() == [V2, V2]
    until("it serves", lambda: traffic.ask(*project.entrance())[0] == V2)

    with traffic.steady(*project.entrance()) as tally:
        done = project.deploy("-i", SICK, "--deploy-retries", "1", "--wait-timeout", "2s")
    assert done.code == 1, done
    assert project.images() == [V2, V2]
    assert (tally.failed, set(tally.by_image)) == (0, {V2})


def test_an_image_that_cannot_be_pulled_is_the_apps_failure(project: Project) -> None:
    project.must("-i", V1, *QUICK)
    words = ("--deploy-retries", "3", "--output", "json")
    done = project.deploy("-i", "127.0.0.1:1/no:such", *words)
    assert done.code == 1, done
    assert "could not pull image 127.0.0.1:1/no:such" in done.report["message"]
    assert done.report["retries_used"] == 0
    assert project.images() == [V1, V1]


def test_a_killed_deploy_is_finished_from_elsewhere_and_no_request_fails(project: Project) -> None:
    project.must("-i", V1, *QUICK)
    elsewhere = replace(project, directory=project.directory / "elsewhere")
    write(elsewhere.directory)
    with traffic.steady(*project.entrance()) as tally:
        words = ("-i", V2, "--deploy-retries", "2", "--lease-timeout", "5s")
        kill_at(project, Moment("checking"), *words)
        elsewhere.must("resume", "--deploy-retries", "2", "--lease-timeout", "5s", *QUICK)
    assert project.images() == [V2, V2]
    assert (tally.failed, tally.first_failure) == (0, "")


def test_a_killed_platform_leaves_containers_that_the_next_start_sweeps(
    images: str, tmp_path: Path
) -> None:
    write(tmp_path)
    words = ("--runtime", "docker", "--state", str(tmp_path / "kept"))
    with running_platform(tmp_path, *words) as (process, address):
        Project(tmp_path, "killed", address).must("-i", V1, *QUICK)
        process.kill()
        process.wait()
    left = engines.ours(images, tmp_path)
    assert len(left) == 3  # two containers and their network
    with running_platform(tmp_path, *words) as (_, address):
        again = Project(tmp_path, "killed", address)
        until("it serves", lambda: traffic.ask(*again.entrance())[0] == V1)
        now = engines.ours(images, tmp_path)
        assert not set(now) & set(left)
        again.must("-i", V2, *QUICK)
    assert engines.ours(images, tmp_path) == []
    shutil.rmtree(tmp_path / "kept")


def test_a_machine_check_in_a_container_reaches_the_one_that_it_tries(project: Project) -> None:
    asks = "/bin/busybox wget -q -O - http://[$FLY_TEST_MACHINE_IP]:8080/ | /bin/busybox grep "
    check = f"""
  [[services.machine_checks]]
    command = ["/bin/sh", "-c", "{asks} {V1}"]
"""
    file = project.directory / "fly.toml"
    file.write_text(file.read_text() + check)
    done = project.must("-i", V1, *QUICK)
    assert "machine-check-" in done.out
    assert project.images() == [V1] * 2
