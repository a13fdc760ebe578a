"""`rollout serve` with several processes that answer."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from rollout.serving import workers
from rollout.sources.text import Text
from tests.rollout.serving.service import (
    ANEW,
    HELLO,
    PATH,
    TEXT,
    Service,
    replace,
    running,
    under_way,
)


def workers_of(service: Service) -> list[int]:
    pid = service.process.pid
    return [int(child) for child in children(pid).read_text().split()]


def children(pid: int) -> Path:
    return Path(f"/proc/{pid}/task/{pid}/children")


needs_proc = pytest.mark.skipif(
    not children(os.getpid()).exists(), reason="finds the workers in Linux's /proc"
)


def ask(service: Service) -> object:
    return ANEW.post(f"{service.url}{PATH}/deploy-retries", json=HELLO).json()["value"]


@needs_proc
def test_all_processes_answer_and_serve_what_is_said_to_have_changed(file: Path) -> None:
    with running("--workers", "4", "--file", str(file)) as service:
        processes = [service.process.pid, *workers_of(service)]
        assert len(processes) == 4
        for percent in (0, 100, 0, 100, 0):
            seen = len(service.lines)
            replace(file, TEXT.replace("percent: 50", f"percent: {percent}", 1))
            service.until(lambda seen=seen: "has changed" in str(service.lines[seen:]))  # type: ignore[misc]  # bound now
            with ThreadPoolExecutor(16) as pool:
                answers = set(pool.map(lambda _: ask(service), range(64)))
            assert answers == {5 if percent else 0}
        # Each answers, while all others stand still.
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)
                assert ask(service) == 0, pid
                os.kill(pid, signal.SIGSTOP)
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)


@needs_proc
def test_a_broken_file_is_told_by_every_process(file: Path) -> None:
    with running("--workers", "3", "--file", str(file)) as service:
        replace(file, TEXT.replace("percent: 50", "percent: 101", 1))
        service.said("the flags from before still serve")
        problems = {ANEW.get(f"{service.url}/readyz").json().get("problem", "") for _ in range(30)}
        assert len(problems) == 1
        assert "101 is over 100" in problems.pop()


@needs_proc
def test_a_worker_that_is_killed_is_told_and_the_others_answer(file: Path) -> None:
    with running("--workers", "3", "--file", str(file)) as service:
        first, second = workers_of(service)
        os.kill(first, signal.SIGKILL)
        service.said(f"worker {first} has ended (-9); the others go on")
        assert {ask(service) for _ in range(20)} == {5}
        replace(file, TEXT.replace("percent: 50", "percent: 0", 1))
        service.said("has changed: deploy-retries")
        assert {ask(service) for _ in range(20)} == {0}
        assert workers_of(service) == [second]
        assert service.end() == 0
    assert not any("Traceback" in line for line in service.lines)


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_off_what_only_a_worker_holds(
    number: signal.Signals, file: Path
) -> None:
    with running("--workers", "2", "--file", str(file)) as service:
        (worker,) = workers_of(service)
        service.process.send_signal(signal.SIGSTOP)
        with under_way(service, 100):  # which the one that goes on has accepted
            service.process.send_signal(signal.SIGCONT)
            service.process.send_signal(number)
            service.said("stopping")
            time.sleep(0.5)  # in which the first process would have ended
            began = time.monotonic()
            service.process.send_signal(number)
            assert service.process.wait(8) == 0
            assert time.monotonic() - began < 5
            assert not Path(f"/proc/{worker}").exists()
    assert not any("Traceback" in line or "Aborted" in line for line in service.lines)


@needs_proc
def test_it_stops_in_the_middle_of_a_change(file: Path) -> None:
    with running("--workers", "2", "--file", str(file)) as service:
        (worker,) = workers_of(service)
        os.kill(worker, signal.SIGSTOP)
        replace(file, TEXT.replace("percent: 50", "percent: 0", 1))
        service.until(lambda: ask(service) == 0)  # it waits for the worker now, or soon
        time.sleep(0.2)
        service.process.send_signal(signal.SIGTERM)
        service.said("stopping")
        os.kill(worker, signal.SIGCONT)
        assert service.process.wait(20) == 0
    assert not any("Traceback" in line or "Error" in line for line in service.lines)


@needs_proc
def test_a_worker_that_takes_no_newer_text_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_TAKEN_WITHIN_S", 0.5)
    told: list[str] = []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(others.watch, told.append)
            await others.tell(Text(b"x" * 10_000_000, "more than a socket holds"))

    with workers.forked(2, lambda _: time.sleep(1000)) as others:
        anyio.run(main)
    assert ["has ended (-9)" in line for line in told] == [True, True]


@needs_proc
def test_no_worker_outlives_the_first_process(file: Path) -> None:
    with running("--workers", "4", "--file", str(file)) as service:
        workers = workers_of(service)
        service.process.kill()
        service.process.wait()
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not any("Traceback" in line for line in service.lines)
