"""One list for all who wait."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from deploy.api.machine import Fleet
from deploy.errors import CallFailed
from deploy.orchestrator.shared_list import SharedList
from tests.contract.clocks import BACKENDS
from tests.deploy.orchestrator.bench import Bench, on_bench
from tests.worlds.simulated.faults import Kind
from tests.worlds.stage import Hit

NOT_FOUND = Kind(name="not found", status=404, body='{"error":"machine not found"}')
backends = pytest.mark.parametrize("backend", BACKENDS)


@backends
def test_a_look_is_never_older_than_the_question(backend: str) -> None:
    async def story(bench: Bench) -> None:
        shared = SharedList(bench.tools)
        seen: list[Fleet] = []

        async def look() -> None:
            seen.append(await shared.latest())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            await anyio.sleep(0.001)  # the first list is under way
            created = bench.world.create("web-9", {"image": "x"})
            tasks.start_soon(look)
        assert created.id in seen[1].by_id
        assert len(bench.calls("list")) == 2

    on_bench(story, backend=backend)


@backends
def test_all_who_ask_while_a_list_is_under_way_share_the_next(backend: str) -> None:
    async def story(bench: Bench) -> None:
        shared = SharedList(bench.tools)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shared.latest)
            await anyio.sleep(0.001)
            for _ in range(50):
                tasks.start_soon(shared.latest)
        assert len(bench.calls("list")) == 2

    on_bench(story, backend=backend)


def test_lists_are_at_least_half_a_second_apart() -> None:
    async def story(bench: Bench) -> None:
        shared = SharedList(bench.tools)
        for _ in range(3):
            await shared.latest()
        sent = [call.sent_s for call in bench.calls("list")]
        assert [b - a >= 0.5 for a, b in pairwise(sent)] == [True, True]

    on_bench(story)


def test_a_list_that_fails_fails_only_who_asked_for_it() -> None:
    async def story(bench: Bench) -> None:
        shared = SharedList(bench.tools)
        with pytest.raises(CallFailed):
            await shared.latest()
        assert len(await shared.latest()) > 0

    on_bench(story, hits=[Hit("list", NOT_FOUND)])
