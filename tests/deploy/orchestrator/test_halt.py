from __future__ import annotations

import anyio
import pytest

from deploy.errors import AppFailed, DeadlinePassed, DeployError, Interrupted
from deploy.orchestrator.halt import Cut, Halt
from tests.contract.clocks import BACKENDS, run_on

FIRST, SECOND, SIGNAL = AppFailed("one"), DeadlinePassed("two"), Interrupted("SIGINT")


def test_the_first_reason_counts_but_for_a_final_one() -> None:
    halt = Halt()
    reasons: list[tuple[DeployError, bool]] = [
        (FIRST, False),
        (SECOND, False),
        (SIGNAL, True),
        (Interrupted("again"), True),
    ]
    kept = []
    for reason, final in reasons:
        halt.set(reason, final=final)
        kept.append(halt.reason)
    assert kept == [FIRST, FIRST, SIGNAL, SIGNAL]


def test_after_a_final_reason_there_is_no_going_on() -> None:
    halt = Halt()
    halt.set(FIRST)
    halt.clear()
    assert not halt.is_set
    halt.set(SIGNAL, final=True)
    halt.clear()
    assert halt.is_set


@pytest.mark.parametrize("backend", BACKENDS)
def test_waits_are_cut_and_what_is_outside_goes_on(backend: str) -> None:
    ends: list[str] = []

    async def wait(halt: Halt) -> None:
        try:
            with halt.cuts():
                await anyio.sleep(1000)
        except Cut:
            ends.append("cut")

    async def write() -> None:
        await anyio.sleep(10)
        ends.append("written")

    async def main() -> float:
        halt = Halt()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, halt)
            tasks.start_soon(wait, halt)
            tasks.start_soon(write)
            await anyio.sleep(1)
            halt.set(FIRST)
        with pytest.raises(Cut), halt.cuts():
            pytest.fail("a block of waiting begins after the halt")
        return anyio.current_time()

    run_on(backend, main)
    assert ends == ["cut", "cut", "written"]


def test_a_cancellation_from_outside_is_no_cut() -> None:
    async def main() -> bool:
        halt = Halt()
        with anyio.move_on_after(1) as scope, halt.cuts():
            await anyio.sleep(1000)
        return scope.cancelled_caught

    assert run_on("trio", main)
