"""What the engine under the containers can do to a deploy: restart, and run out of disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from deploy.images.engine import Engine
from deploy.local.config import Config, convert
from deploy.local.runtime import Ended, Spec
from deploy.local.runtimes.container import Container
from deploy.local.runtimes.containers import ContainerRuntime
from tests.e2e.test_containers import QUICK, V1, V2, write
from tests.worlds import engines
from tests.worlds.outside import Project, finish, platform, until


@pytest.fixture(scope="module")
def own(engine: str) -> Iterator[engines.OwnEngine]:
    assert engine, "who has none can start none"
    try:
        with engines.own_engine(disk_mb=64) as mine:
            for image in (V1, V2):
                engines.make_image(mine.address, image)
            yield mine
    except engines.NoEngine as why:
        pytest.skip(str(why))


@pytest.fixture
def project(
    own: engines.OwnEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    monkeypatch.setenv("DOCKER_HOST", own.address)
    write(tmp_path)
    with platform(tmp_path, "--runtime", "docker") as address:
        yield Project(tmp_path, "shaken", address)


def test_an_engine_that_restarts_during_a_deploy_does_not_end_it(
    own: engines.OwnEngine, project: Project
) -> None:
    project.must("-i", V1, *QUICK)
    under_way = project.begin("-i", V2, "--deploy-retries", "8", *QUICK)
    until("the first machine is replaced", lambda: V2 in project.images())
    own.end()
    own.start()
    done = finish(under_way)
    assert done.code == 0, done
    assert project.images() == [V2, V2]
    until("both run", lambda: {m["state"] for m in project.machines()} == {"started"})
    events = [event.get("request", {}) for m in project.machines() for event in m["events"]]
    assert any("host" in request.get("error", "") for request in events)
    exits = [request["exit_event"] for request in events if "exit_event" in request]
    assert all(one["requested_stop"] for one in exits)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_an_engine_kills_as_it_ends_went_down_with_its_host(
    own: engines.OwnEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its door is closed while it is away, or held open, as by systemd."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    scripts = ("exec sleep 1000", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    for _ in ("closed", "held open"):
        ended: list[Ended] = []
        async with ContainerRuntime(Engine(own.address)) as runtime:
            assert await (await runtime.start(spec("exit 3"))).wait() == Ended(3)
            machines = [await runtime.start(spec(script)) for script in scripts]

            async def live(machine: Container, ended: list[Ended] = ended) -> None:
                ended.append(await machine.wait())

            async with anyio.create_task_group() as tasks:
                for machine in machines:
                    tasks.start_soon(live, machine)
                await to_thread.run_sync(own.end)
                await to_thread.run_sync(partial(own.start, held=True))
        assert [one.host_ended for one in ended] == [True, True]


def spec(script: str) -> Spec:
    raw = {"image": V1, "init": {"cmd": ["/bin/sh", "-c", script]}}
    config = convert(raw, Config, "config")
    return Spec("hello", "machine1", "app-1", "ams", "01VERSION", config, print)


def test_a_full_disk_is_exit_code_7_for_a_build(project: Project) -> None:
    engines.write_context(project.directory)
    (project.directory / "large").write_bytes(os.urandom(80 * 1024 * 1024))
    (project.directory / "Dockerfile").write_text('FROM scratch\nCOPY large /\nCMD ["x"]\n')
    done = project.deploy("--build", "--no-push")
    assert done.code == 7, done
    assert "no space left on device" in done.err
