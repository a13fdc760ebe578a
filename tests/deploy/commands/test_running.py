from __future__ import annotations

from deploy.commands.running import steady_clock


def test_a_run_over_a_jump_of_the_clock_takes_as_long_as_it_takes() -> None:
    wall_s, steady_s = iter([1_800_000_000.0]), iter([50.0, 51.0, 55.0])
    now = steady_clock(lambda: next(wall_s), lambda: next(steady_s))
    began_s = now()
    assert began_s == 1_800_000_001.0
    assert now() - began_s == 4.0
