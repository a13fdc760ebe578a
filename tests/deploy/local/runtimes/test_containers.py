"""Machines as containers of a real engine."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from deploy.errors import UsageProblem
from deploy.images.engine import Engine
from deploy.local.config import Config, convert
from deploy.local.runtime import CannotStart, Ended, Spec
from deploy.local.runtimes.container_config import container_config
from deploy.local.runtimes.containers import ContainerRuntime, reference
from deploy.local.runtimes.either import EitherRuntime
from deploy.local.runtimes.ownership import Owner
from deploy.local.runtimes.process import ProcessRuntime
from tests.worlds import engines, registries

pytestmark = pytest.mark.anyio

LINES: list[str] = []  # what machines have written, since a runtime was begun


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def spec(script: str = "", image: str = engines.IMAGE, **keys: Any) -> Spec:
    init = {"init": {"cmd": ["/bin/sh", "-c", script]}} if script else {}
    config = convert({"image": image, **init, **keys}, Config, "config")
    return Spec("hello", "machine1", "app-1", "ams", "01VERSION", config, LINES.append)


@asynccontextmanager
async def runtime(engine: str, state: Path | None = None) -> AsyncIterator[ContainerRuntime]:
    LINES.clear()
    async with ContainerRuntime(Engine(engine), state=state) as running:
        yield running


async def run(what: Spec, engine: str, state: Path | None = None) -> tuple[Ended, list[str]]:
    """How it ended, and what it wrote."""
    async with runtime(engine, state) as running:
        with anyio.fail_after(30):
            ended = await (await running.start(what)).wait()
        return ended, list(LINES)


async def test_a_machine_is_what_its_configuration_says(engine: str) -> None:
    """Its environment, its files, and the size of its guest."""
    secret = base64.b64encode(b"from fly.toml").decode()
    keys: dict[str, Any] = {
        "env": {"GREETING": "hi", "FLY_APP_NAME": "other"},
        "metadata": {"fly_process_group": "web"},
        "services": [{"internal_port": 8080}, {"internal_port": 9090}],
        "files": [{"guest_path": "/etc/deep/app.conf", "raw_value": secret}],
        "guest": {"cpus": 1, "memory_mb": 64},
    }
    script = "env; cat /etc/deep/app.conf; echo; cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    script += " /sys/fs/cgroup/memory.max 2>/dev/null; cat /etc/hostname"
    ended, lines = await run(spec(script, **keys), engine)
    seen = dict(line.partition("=")[::2] for line in lines)
    assert (seen["GREETING"], seen["FLY_APP_NAME"], seen["FLY_REGION"]) == ("hi", "hello", "ams")
    assert (seen["FLY_MACHINE_ID"], seen["FLY_PROCESS_GROUP"]) == ("machine1", "web")
    assert (seen["PORT"], seen["PORT_9090"]) == ("8080", "9090")
    assert {"from fly.toml", str(64 * 1024 * 1024), "machine1"} <= set(lines)
    assert ended.exit_code in (0, 1)  # of the one cgroup file that is not there


def test_init_replaces_its_part_of_the_images_command(engine: str) -> None:
    """As the engine understands it: nothing has to run for that."""
    image = f"{engines.REPOSITORY}:echo"
    engines.make_image(engine, image, entrypoint=("/bin/echo", "entrypoint"), cmd=("cmd",))

    def command(**init: list[str]) -> list[str]:
        with Owner() as owner:  # or others sweep what is nobody's
            body = container_config(spec(image=image, init=init), owner, "none", cpus=1)
            made = engines.call(engine, "POST", "/containers/create", json=body)["Id"]
            told = engines.call(engine, "GET", f"/containers/{made}/json")
            engines.call(engine, "DELETE", f"/containers/{made}")
        return [told["Path"], *told["Args"]]

    assert command() == ["/bin/echo", "entrypoint", "cmd"]
    assert command(cmd=["own"]) == ["/bin/echo", "entrypoint", "own"]
    assert command(entrypoint=["/bin/own"]) == ["/bin/own"]
    assert command(entrypoint=["/bin/own"], cmd=["cmd"]) == ["/bin/own", "cmd"]
    assert command(exec=["/bin/all", "of it"]) == ["/bin/all", "of it"]


async def test_too_much_memory_is_an_out_of_memory_kill(engine: str) -> None:
    script = "x=x; while :; do x=$x$x; done"
    ended, _ = await run(spec(script, guest={"memory_mb": 16}), engine)
    assert ended.oom_killed
    assert ended.exit_code in (1, 137)


async def test_a_volume_outlives_the_machine_but_not_the_platform(
    engine: str, tmp_path: Path
) -> None:
    keys: dict[str, Any] = {"mounts": [{"volume": "vol_1", "path": "/data"}]}
    async with runtime(engine) as running:
        await (await running.start(spec("echo kept > /data/it", **keys))).wait()
        await (await running.start(spec("cat /data/it", **keys))).wait()
        assert LINES == ["kept"]
    assert engines.ours(engine, tmp_path) == []


async def test_with_a_state_a_volume_is_there_again_for_the_next_platform(
    engine: str, tmp_path: Path
) -> None:
    keys: dict[str, Any] = {"mounts": [{"volume": "vol_1", "path": "/data"}]}
    state = anyio.Path(tmp_path / "kept")
    await state.mkdir()
    await run(spec("echo kept > /data/it", **keys), engine, Path(state))
    _, lines = await run(spec("cat /data/it", **keys), engine, Path(state))
    assert lines == ["kept"]
    assert len(engines.ours(engine, tmp_path)) == 1
    await state.rmdir()  # nobody goes on with it any more
    async with runtime(engine):
        pass
    assert engines.ours(engine, tmp_path) == []


async def test_an_image_that_is_nowhere_cannot_start(engine: str) -> None:
    async with runtime(engine) as running:
        with pytest.raises(CannotStart, match=r"could not pull image 127\.0\.0\.1:1/no:such: "):
            await running.start(spec(image="127.0.0.1:1/no:such"))


async def test_an_image_without_a_command_cannot_start(engine: str) -> None:
    for tag, files in (("mute", None), ("empty", {})):
        image = f"{engines.REPOSITORY}:{tag}"
        engines.make_image(engine, image, cmd=(), files=files)
        async with runtime(engine) as running:
            with pytest.raises(CannotStart, match="names no command"):
                await running.start(spec(image=image))


async def test_a_command_that_is_not_there_is_an_exit_with_its_own_words(engine: str) -> None:
    ended, lines = await run(spec(init={"exec": ["/no/such"]}), engine)
    assert ended.exit_code == 127
    assert "/no/such" in lines[-1]


async def test_an_image_for_another_architecture_says_so(engine: str) -> None:
    image = f"{engines.REPOSITORY}:s390x"
    engines.make_image(engine, image, architecture="s390x")
    _, lines = await run(spec("echo it may run all the same", image=image), engine)
    assert lines[0].startswith("the image is for s390x, and this engine is ")


@pytest.mark.parametrize(
    "keys",
    [
        {"image": "../containers/json?all=1"},
        {"image": "a b"},
        {"image": "UPPER/case:1"},
        {"files": [{"guest_path": "/x", "raw_value": "!"}]},
        {"files": [{"guest_path": "", "raw_value": "eA=="}]},
        {"mounts": [{"volume": "../x", "path": "/data"}]},
        {"mounts": [{"volume": "vol_1", "path": "data"}]},
        {"guest": {"cpus": -1}},
        {"guest": {"memory_mb": 10**30}},
    ],
    ids=str,
)
async def test_what_no_engine_can_run_is_refused_or_cannot_start(
    keys: dict[str, Any], engine: str
) -> None:
    async with runtime(engine) as running:
        what = spec("echo", **keys)
        if not running.objection(what.config):
            with anyio.fail_after(20), pytest.raises(CannotStart):
                await running.start(what)


async def test_without_an_engine_it_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="does not answer") as told:
        async with runtime(f"unix://{tmp_path}/none.sock"):
            pass
    assert "--runtime process" in told.value.hint


async def test_a_machine_waits_for_an_engine_that_is_away_and_then_cannot_start(
    engine: str, tmp_path: Path
) -> None:
    async with ContainerRuntime(Engine(engine), engine_back_s=1.0) as running:
        there = running.engine
        running.engine = Engine(f"unix://{tmp_path}/none.sock")
        with anyio.fail_after(20), pytest.raises(CannotStart, match="does not answer"):
            await running.start(spec("echo"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running.start, spec("echo here"))
            await anyio.sleep(0.1)
            running.engine = there


async def test_without_a_place_for_its_file_it_is_one_sentence(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = anyio.Path(tmp_path / "taken")
    await taken.write_text("a file")
    monkeypatch.setenv("XDG_STATE_HOME", str(taken))
    with pytest.raises(UsageProblem, match="containers cannot be kept track of"):
        async with runtime(engine):
            pass


async def test_of_two_platforms_each_removes_its_own(engine: str, tmp_path: Path) -> None:
    async with runtime(engine) as one:
        stays = await one.start(spec("exec sleep 100"))
        async with runtime(engine) as other:
            await other.start(spec("exec sleep 100"))
            assert len(engines.ours(engine, tmp_path)) == 4
        assert len(engines.ours(engine, tmp_path)) == 2
        assert stays.address(80) != ("", 80)
    assert engines.ours(engine, tmp_path) == []


async def test_what_a_dead_platform_left_is_swept_and_nothing_else(
    engine: str, tmp_path: Path
) -> None:
    def make(**labels: str) -> str:
        config = {"Image": engines.IMAGE, "Labels": labels}
        made: str = engines.call(engine, "POST", "/containers/create", json=config)["Id"]
        return made

    dead = {engines.LABEL: str(tmp_path / "dead.lock")}
    stay = [make(team="x"), make(**dead), make(**dead, **{"tidegate.host": "elsewhere"})]
    goes = make(**dead, **{"tidegate.host": socket.gethostname()})
    try:
        assert goes in engines.ours(engine, tmp_path)
        async with runtime(engine):
            pass
        everything = engines.call(engine, "GET", "/containers/json", params={"all": "1"})
        assert {c["Id"] for c in everything} >= set(stay)
        assert goes not in engines.ours(engine, tmp_path)
    finally:
        for container in stay:
            engines.call(engine, "DELETE", f"/containers/{container}", params={"force": "1"})


async def test_a_check_that_finds_nobody_says_where_the_app_listens(engine: str) -> None:
    check = {"type": "tcp", "port": 8080, "interval": "100ms"}
    async with runtime(engine) as running:
        what = spec("exec httpd -f -p 127.0.0.1:3000", checks={"up": check})
        machine = await running.start(what)
        told: list[str] = []
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(machine.wait)
                up = what.config.named_checks["up"]
                tasks.start_soon(machine.observe, up, lambda _, text: told.append(text))
                while not told or "3000" not in told[-1]:  # noqa: ASYNC110 - from outside
                    await anyio.sleep(0.02)
                tasks.cancel_scope.cancel()
    assert told[-1] == "connection refused: the app listens on 127.0.0.1:3000, the check asks 8080"


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("hello", ("hello", "latest")),
        ("hello:v1", ("hello", "v1")),
        ("localhost:5000/hello", ("localhost:5000/hello", "latest")),
        ("localhost:5000/hello:v1", ("localhost:5000/hello", "v1")),
        ("r.io/a@sha256:12", ("r.io/a", "sha256:12")),
    ],
)
def test_a_reference_is_a_name_and_a_tag_or_digest(image: str, wanted: tuple[str, str]) -> None:
    assert reference(image) == wanted


@pytest.mark.timeout(300)
@pytest.mark.skipif(
    "TIDEGATE_SOAK_S" not in os.environ, reason="half a minute: set TIDEGATE_SOAK_S"
)
async def test_fifty_containers_have_an_address_each_and_all_go(
    engine: str, tmp_path: Path
) -> None:
    addresses: list[tuple[str, int]] = []
    async with runtime(engine) as running:

        async def start() -> None:
            machine = await running.start(spec("exec sleep 1000", guest={"memory_mb": 16}))
            addresses.append(machine.address(8080))

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(start)
        assert len(set(addresses)) == 50
    assert engines.ours(engine, tmp_path) == []


async def test_a_registry_that_hangs_holds_up_neither_a_destroy_nor_the_end(
    engine: str,
) -> None:
    LINES.clear()
    with registries.silent() as address, anyio.fail_after(20):
        # A pull may take longer than an engine may be away.
        async with ContainerRuntime(Engine(engine), engine_back_s=0.1) as running:
            with anyio.move_on_after(0.5) as destroyed:
                await running.start(spec(image=f"{address}/hello:v1"))
            assert destroyed.cancelled_caught
            assert [f"pulling {address}/hello:v1"] == LINES


async def test_either_is_a_container_where_there_is_an_image_or_no_command(
    engine: str, tmp_path: Path
) -> None:
    where = {"exec": ["/bin/sh", "-c", "test -f /app && echo container || echo process"]}
    processes = ProcessRuntime(directory=tmp_path)
    LINES.clear()
    async with EitherRuntime(processes, ContainerRuntime(Engine(engine))) as running:
        for image in (engines.IMAGE, "nowhere:1"):
            await (await running.start(spec(image=image, init=where))).wait()
        assert LINES == ["container", "process"]
        mute = convert({"image": "nowhere:1"}, Config, "config")
        assert running.objection(mute) == ""
        assert "image is missing" in running.objection(Config())
        with pytest.raises(CannotStart, match="could not pull image nowhere:1"):
            await running.start(spec(image="nowhere:1"))
