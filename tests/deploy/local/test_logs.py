from __future__ import annotations

import itertools

import anyio
import pytest

from deploy.local.logs import LINES_KEPT, MACHINES_KEPT, Logs

pytestmark = pytest.mark.anyio


def logs(said: list[str] | None = None) -> Logs:
    times = itertools.count(1)
    return Logs(lambda: float(next(times)), (said if said is not None else []).append)


async def test_the_newest_lines_of_each_machine_are_kept() -> None:
    kept = logs()
    write = kept.writer("hello", "m1", "one")
    for number in range(LINES_KEPT + 500):
        write(str(number))
    newest = [line.line for line in kept.tail(["m1"], 10 * LINES_KEPT)]
    assert newest == [str(number) for number in range(500, LINES_KEPT + 500)]
    assert [line.line for line in kept.tail(["m1"], 2)] == newest[-2:]


async def test_the_machines_that_wrote_first_are_forgotten_first() -> None:
    kept = logs()
    for number in range(MACHINES_KEPT + 1):
        kept.writer("hello", f"m{number}", "")("hi")
    assert kept.tail(["m0"], 1) == []
    assert len(kept.tail(["m1"], 1)) == 1


async def test_lines_of_several_machines_are_in_the_order_in_which_they_came() -> None:
    said: list[str] = []
    kept = logs(said)
    one, two = kept.writer("hello", "m1", "one"), kept.writer("hello", "m2", "two")
    for write, line in ((one, "a"), (two, "b"), (one, "c")):
        write(line)
    found = kept.tail(["m2", "m1"], 10)
    assert [(line.machine, line.at, line.line) for line in found] == [
        ("m1", 1.0, "a"),
        ("m2", 2.0, "b"),
        ("m1", 3.0, "c"),
    ]
    assert said == ["hello/one | a", "hello/two | b", "hello/one | c"]


async def test_who_follows_gets_each_line_once() -> None:
    kept, seen = logs(), list[str]()
    write = kept.writer("hello", "m1", "one")
    for line in "abc":
        write(line)

    async def follow() -> None:
        async for line in kept.follow(lambda: ["m1"], 2):
            seen.append(line.line)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        assert seen == ["b", "c"]
        write("d")
        write("e")
        await anyio.wait_all_tasks_blocked()
        assert seen == ["b", "c", "d", "e"]
        tasks.cancel_scope.cancel()
