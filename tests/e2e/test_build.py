"""`deploy --build` from outside: built, pushed to a real registry, and deployed by digest."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.demo import traffic
from tests.e2e.test_containers import FLY_TOML, QUICK, write
from tests.worlds import engines, registries
from tests.worlds.outside import BIN, Project, clean_environ, finish, platform, until

SHIM = """#!/bin/sh
echo "$@" >> {log}
env >> {log}
exec {docker} "$@"
"""
_numbers = itertools.count(1)
DIGEST = re.compile(r"127\.0\.0\.1:\d+/\w+@sha256:[0-9a-f]{64}")


@pytest.fixture(scope="module")
def registry(docker_registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert docker_registry
    directory = tmp_path_factory.mktemp("registry")
    with registries.registry(directory, token=registries.TOKEN) as address:
        yield address


@pytest.fixture(scope="module")
def address(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert engine
    directory = tmp_path_factory.mktemp("platform")
    write(directory)
    with platform(directory, "--runtime", "docker") as found:
        yield found


@pytest.fixture
def project(address: str, tmp_path: Path) -> Iterator[Project]:
    """Deployed from a directory with a Dockerfile, onto containers of the same engine."""
    engines.write_context(tmp_path)
    (tmp_path / "fly.toml").write_text(FLY_TOML.replace("[deploy]", "[build]\n[deploy]"))
    token = {"FLY_API_TOKEN": registries.TOKEN}
    mine = Project(tmp_path, f"built{next(_numbers)}x", address, token)
    yield mine
    mine.remove()


def test_what_is_built_is_pushed_deployed_by_digest_and_taken_back(
    project: Project, registry: str
) -> None:
    words = ("--build", "--registry", registry, "--output", "json", *QUICK)
    first = project.must(*words)
    image = first.report["image"]
    assert DIGEST.fullmatch(image), image
    assert project.images() == [image, image]
    assert f"pushed {image}" in first.err
    assert "Step" not in first.err, "the output of a build that went well is folded"

    again = project.must(*words)
    assert (again.report["result"], again.report["image"]) == ("unchanged", image)

    (project.directory / "app").write_text(engines.APP.replace("listening", "now listening"))
    with traffic.steady(*project.entrance()) as tally:
        second = project.must(*words, "--deploy-retries", "1")
        assert second.report["image"] != image
        assert project.images() == [second.report["image"]] * 2
        project.must("rollback", *QUICK)
    assert project.images() == [image, image]
    assert (tally.failed, tally.first_failure) == (0, "")


def test_a_build_that_fails_is_exit_code_7_before_anything_is_asked_of_the_platform(
    project: Project,
) -> None:
    (project.directory / "Dockerfile").write_text("FROM scratch\nCOPY missing /\n")
    done = project.deploy("--build", "--no-push", "--deploy-retries", "3")
    assert done.code == 7, done
    assert "COPY" in done.err, "the output of a build that failed is shown"
    assert "Error: the image could not be built" in done.err
    assert not is_there(project)


def test_a_registry_that_refuses_is_exit_code_7(project: Project, registry: str) -> None:
    other = f"{registries.TOKEN}2"
    done = project.deploy("--build", "--registry", registry, FLY_API_TOKEN=other)
    assert done.code == 7, done
    assert "the image was built, and 127.0.0.1" in done.err
    assert "FLY_API_TOKEN" in done.err
    assert other not in done.out + done.err


def test_what_is_built_and_not_pushed_runs_here(project: Project) -> None:
    done = project.must("--build", "--no-push", "--build-arg", "RELEASE=v2", *QUICK)
    assert re.search(r"built sha256:[0-9a-f]{64}", done.err)
    assert {image.partition(":")[0] for image in project.images()} == {"sha256"}


def test_fly_toml_says_how_to_build_and_build_only_deploys_nothing(project: Project) -> None:
    directory = project.directory
    text = (directory / "Dockerfile").read_text()
    (directory / "docker").mkdir()
    (directory / "docker" / "web").write_text(f"FROM scratch AS other\n{text}")
    (directory / "Dockerfile").unlink()
    section = '[build]\ndockerfile = "docker/web"\n[build.args]\nRELEASE = "of fly.toml"\n'
    toml = FLY_TOML.replace("[deploy]", f"{section}[deploy]")
    (directory / "fly.toml").write_text(toml.replace("[build]", '[build]\nbuild-target = "other"'))
    refused = project.deploy("--build-only")
    assert refused.code != 0, "nothing is in the target `other`"
    (directory / "fly.toml").write_text(toml)
    done = project.must("--build-only")
    image = done.err.split()[-3]
    about = engines.call(engines.find(), "GET", f"/images/{image}/json")
    assert "RELEASE=of fly.toml" in about["Config"]["Env"]
    assert not is_there(project)
    project.must("--no-push", *QUICK)  # no image is named, and fly.toml says how to build
    assert project.images() == [image, image]


def test_the_token_is_in_no_command_and_no_environment(project: Project, registry: str) -> None:
    shims = project.directory / "shims"
    shims.mkdir()
    log = project.directory / "seen"
    docker = subprocess.run(["which", "docker"], capture_output=True, text=True, check=True).stdout
    (shims / "docker").write_text(SHIM.format(log=log, docker=docker.strip()))
    (shims / "docker").chmod(0o755)
    path = f"{shims}:{clean_environ(project.directory)['PATH']}"
    done = project.deploy("--build-only", "--push", "--registry", registry, PATH=path)
    assert done.code == 0, done
    seen = log.read_text()
    assert "--tag" in seen
    assert registries.TOKEN not in seen + done.out + done.err


def test_without_an_engine_it_is_one_sentence_that_says_what_to_do(project: Project) -> None:
    done = project.deploy("--build", DOCKER_HOST="unix:///nowhere.sock")
    assert done.code == 7, done
    assert done.err.count("\n") == 2
    assert "no Docker engine answers at unix:///nowhere.sock" in done.err
    assert "--image" in done.err
    done = project.deploy("--build", PATH=str(BIN))
    assert (done.code, "there is no `docker` here" in done.err) == (7, True)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_build_and_nothing_is_deployed(project: Project, name: str) -> None:
    (project.directory / "Dockerfile").write_text(
        'FROM scratch\nCOPY busybox /bin/sleep\nRUN ["/bin/sleep", "100"]\n'
    )
    under_way = project.begin("--build", "--no-push")
    until("it is built", lambda: _children(under_way.pid) != [])
    under_way.send_signal(signal.Signals[name])
    done = finish(under_way)
    assert done.code == 130, done
    assert f"interrupted by {name} while the image was built" in done.err
    assert not is_there(project)


def is_there(project: Project) -> bool:
    return project.app in {app["name"] for app in project.get("/v1/apps")["apps"]}


def _children(pid: int) -> list[str]:
    """The builds that a process has begun."""
    listed = subprocess.run(
        ["ps", "-ww", "--ppid", str(pid), "-o", "args="],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in listed.stdout.splitlines() if " --iidfile " in line]
