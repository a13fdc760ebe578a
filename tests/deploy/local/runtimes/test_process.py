"""Machines as real processes."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from deploy.local.config import Config, convert
from deploy.local.runtime import CannotStart, Ended, Spec
from deploy.local.runtimes.process import LocalProcess, ProcessRuntime, environment

pytestmark = pytest.mark.anyio


LINES: list[str] = []  # what machines have written, since a runtime was begun


def spec(*argv: str, name: str = "app-1", **keys: Any) -> Spec:
    config = convert({"image": "hello:v1", "init": {"cmd": argv}, **keys}, Config, "config")
    return Spec("hello", "machine1", name, "local", "01VERSION", config, LINES.append)


def python(code: str, **keys: Any) -> Spec:
    return spec(sys.executable, "-c", code, **keys)


@asynccontextmanager
async def runtime(directory: Path) -> AsyncIterator[ProcessRuntime]:
    LINES.clear()
    async with ProcessRuntime(directory=directory) as running:
        yield running


async def run(what: Spec, directory: Path) -> tuple[Ended, list[str]]:
    """How it ended, and what it wrote."""
    async with runtime(directory) as running:
        process = await running.start(what)
        with anyio.fail_after(20):
            ended = await process.wait()
        return ended, list(LINES)


async def test_a_machine_knows_who_it_is(tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "env": {"GREETING": "hi", "PORT": "1", "FLY_APP_NAME": "other"},
        "metadata": {"fly_process_group": "web"},
        "services": [{"internal_port": 8080}, {"internal_port": 9090}],
        "checks": {"up": {"type": "tcp", "port": 7070}},
    }
    code = "import os; [print(k, os.environ[k]) for k in sorted(os.environ)]"
    _, lines = await run(python(code, **keys), tmp_path)
    seen = dict(line.partition(" ")[::2] for line in lines)
    assert seen["GREETING"] == "hi"
    assert seen["FLY_APP_NAME"] == "hello"
    assert seen["FLY_MACHINE_ID"] == "machine1"
    assert seen["FLY_IMAGE_REF"] == "hello:v1"
    assert seen["FLY_PROCESS_GROUP"] == "web"
    assert seen["FLY_REGION"] == "local"
    assert seen["PORT"] == seen["PORT_8080"]
    ports = {seen["PORT_8080"], seen["PORT_9090"], seen["PORT_7070"]}
    assert len(ports) == 3
    assert all(int(port) >= 1024 for port in ports)


@pytest.mark.parametrize("name", ["FLY_API_TOKEN", "TIDEGATE_LOCAL_TOKEN"])
async def test_the_platforms_tokens_stay_out_of_machines(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "secret")
    assert name not in environment(spec("true"), {})
    _, lines = await run(spec("env"), tmp_path)
    assert "FLY_MACHINE_ID=machine1" in lines
    assert not any("secret" in line for line in lines)


async def test_a_machine_runs_in_the_directory_of_the_platform(tmp_path: Path) -> None:
    _, lines = await run(spec("pwd", "-P"), tmp_path)
    assert lines == [str(await anyio.Path(tmp_path).resolve())]


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("sh", "-c", "exit 3"), 3),
        (("sh", "-c", "kill -TERM $$"), 143),
        (("no-such-command",), 127),
        (("/",), 126),
    ],
)
async def test_an_exit_is_told_as_a_shell_would(
    argv: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    ended, _ = await run(spec(*argv), tmp_path)
    assert ended == Ended(code)


async def test_output_is_handed_on_in_order_and_plain(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "print('\\x1b[31mred\\x1b[0m\\x07')\n"
        "sys.stdout.flush(); print('to stderr', file=sys.stderr)\n"
        "print('x' * 100_000); sys.stdout.buffer.write(b'\\xff last'); "
    )
    _, lines = await run(python(code), tmp_path)
    assert lines[:2] == ["red", "to stderr"]
    assert "".join(lines[2:-1]) == "x" * 100_000
    assert lines[-1] == "\ufffd last"


async def test_the_end_of_a_machine_is_the_end_of_all_that_it_started(tmp_path: Path) -> None:
    what = spec("sh", "-c", "sleep 1000 & echo $!; exit 0")
    _, lines = await run(what, tmp_path)
    await gone(int(lines[0]))


async def test_a_signal_reaches_the_process_and_kill_ends_it(tmp_path: Path) -> None:
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard', flush=True))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.05)\n"
    )
    async with runtime(tmp_path) as running:
        process = await running.start(python(code))
        async with anyio.create_task_group() as tasks:
            ended: list[Ended] = []

            async def wait() -> None:
                ended.append(await process.wait())

            tasks.start_soon(wait)
            await wrote("ready")
            process.signal("SIGTERM")
            await wrote("heard")
            process.kill()
        assert ended == [Ended(137)]
        process.signal("SIGTERM")
        process.kill()


async def test_a_frozen_machine_does_nothing_until_it_is_thawed(tmp_path: Path) -> None:
    code = "import time\nwhile True: print(time.time(), flush=True); time.sleep(0.01)"
    async with runtime(tmp_path) as running, anyio.create_task_group() as tasks:
        process = await running.start(python(code))
        tasks.start_soon(process.wait)
        await more(process)
        process.freeze()
        await anyio.sleep(0.1)
        before = len(LINES)
        await anyio.sleep(0.2)
        assert len(LINES) == before
        process.thaw()
        await more(process)
        tasks.cancel_scope.cancel()


async def test_a_cancelled_wait_leaves_nothing_behind(tmp_path: Path) -> None:
    async with runtime(tmp_path) as running:
        process = await running.start(spec("sleep", "1000"))
        with anyio.move_on_after(0.05):
            await process.wait()
        await gone(process.pid)


async def test_a_machine_without_a_command_is_told_what_to_add(tmp_path: Path) -> None:
    async with runtime(tmp_path) as running:
        assert "[processes]" in running.objection(spec().config)
        assert running.objection(spec("A=1").config)
        assert running.objection(spec("true").config) == ""


async def test_a_missing_directory_is_a_machine_that_cannot_start(tmp_path: Path) -> None:
    async with runtime(tmp_path / "none") as running:
        with pytest.raises(CannotStart, match="none"):
            await running.start(spec("true"))


async def test_leaving_the_runtime_ends_what_nobody_waited_for(tmp_path: Path) -> None:
    async with runtime(tmp_path) as running:
        process = await running.start(spec("sleep", "1000"))
    with anyio.fail_after(10):
        assert await process.wait() == Ended(137)


async def test_another_reaper_takes_over_when_one_is_killed(tmp_path: Path) -> None:
    async with runtime(tmp_path) as running:
        first = await running.start(spec("sleep", "1000"))
        assert running._reaper._process is not None
        running._reaper._process.kill()
        running._reaper._process.wait()
        second = await running.start(spec("sleep", "1000"))
    with anyio.fail_after(10):
        assert await first.wait() == await second.wait() == Ended(137)


async def wrote(line: str) -> None:
    with anyio.fail_after(10):
        while line not in LINES:  # noqa: ASYNC110 - another process
            await anyio.sleep(0.01)


async def more(process: LocalProcess) -> None:
    """Wait until the machine has written a few lines more."""
    assert process.pid
    aim = len(LINES) + 3
    with anyio.fail_after(10):
        while len(LINES) < aim:  # noqa: ASYNC110 - another process
            await anyio.sleep(0.01)


async def gone(pid: int) -> None:
    """Wait until no such process runs; a zombie that nobody has reaped yet does not run."""
    with anyio.fail_after(10):
        while _runs(pid):  # noqa: ASYNC110 - another process
            await anyio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
