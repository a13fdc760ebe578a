from __future__ import annotations

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.api.pace import Pace
from tests.contract.clocks import BACKENDS, run_on


def _times(backend: str, pace: Pace, turns: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """When each turn came: (seconds, subject), for turns asked for at these times."""
    came: list[tuple[float, str]] = []

    async def one(at: float, subject: str) -> None:
        await anyio.sleep(at)
        await pace.turn("update", subject)
        came.append((anyio.current_time() - began, subject))

    began = 0.0

    async def main() -> None:
        nonlocal began
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for at, subject in turns:
                tasks.start_soon(one, at, subject)

    run_on(backend, main)
    return sorted(came)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_machine_is_asked_once_a_second_and_does_not_slow_another(backend: str) -> None:
    asked = [(0.0, "a"), (0.0, "a"), (0.0, "a"), (0.0, "b"), (0.0, "c")]
    came = _times(backend, Pace(interval_s=1.0, burst=1), asked)
    assert [(round(at, 3), subject) for at, subject in came] == [
        (0.0, "a"),
        (0.0, "b"),
        (0.0, "c"),
        (1.0, "a"),
        (2.0, "a"),
    ]


def test_operations_on_one_machine_do_not_wait_for_each_other() -> None:
    async def main() -> float:
        pace = Pace(interval_s=1.0, burst=1)
        began = anyio.current_time()
        for operation in ("update", "start", "stop"):
            await pace.turn(operation, "a")
        return anyio.current_time() - began

    assert run_on("trio", main) == 0.0


def test_a_burst_goes_at_once_and_comes_back_with_time() -> None:
    came = _times("trio", Pace(interval_s=1.0, burst=3), [(0.0, "a")] * 5 + [(10.0, "a")] * 4)
    times = [round(at, 3) for at, _ in came]
    assert times == [0.0, 0.0, 0.0, 1.0, 2.0, 10.0, 10.0, 10.0, 11.0]


@settings(max_examples=40)
@given(
    st.lists(st.floats(0, 20).map(lambda at: round(at, 2)), min_size=1, max_size=15),
    st.integers(1, 4),
)
def test_no_second_ever_sees_more_than_the_burst_and_one(asked: list[float], burst: int) -> None:
    pace = Pace(interval_s=1.0, burst=burst)
    came = [at for at, _ in _times("trio", pace, [(at, "x") for at in asked])]
    for start in came:
        within = [at for at in came if start <= at < start + 1.0 - 1e-6]
        assert len(within) <= burst
