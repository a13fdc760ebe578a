from __future__ import annotations

import random
from math import log

import pytest

from rollout.outcomes.coins import Coin
from rollout.outcomes.evidence import HARM, Evidence, affordable
from rollout.outcomes.power import coins_needed

KILL, ADVANCE = log(100), log(20)


@pytest.mark.parametrize(
    ("threshold", "ratio", "half", "sure"),
    [(5_000, 2, 274, 711), (5_000, 3, 94, 233), (50_000, 1.5, 232, 590), (50_000, 3, 39, 82)],
)
def test_so_many_coins_kill(threshold: int, ratio: float, half: int, sure: int) -> None:
    assert coins_needed(HARM, KILL, threshold, ratio=ratio, power=0.5) == half
    assert coins_needed(HARM, KILL, threshold, ratio=ratio) == sure


@pytest.mark.parametrize(
    ("now", "stage", "half", "sure"),
    [(5_000, 10_000, 48, 132), (10_000, 25_000, 93, 302), (25_000, 50_000, 157, 518)],
)
def test_so_many_coins_advance_without_an_effect(
    now: int, stage: int, half: int, sure: int
) -> None:
    mixture = affordable(stage, 0.25)
    assert coins_needed(mixture, ADVANCE, now, power=0.5) == half
    assert coins_needed(mixture, ADVANCE, now) == sure


def test_the_numbers_hold_for_coins_that_are_thrown() -> None:
    rng, arrived, needed = random.Random(1), 0, coins_needed(HARM, KILL, 50_000, ratio=3)
    assert needed is not None
    for _ in range(400):
        evidence = Evidence(HARM)
        for _ in range(needed):
            evidence.add(Coin(50_000, 100_000, rng.random() < 0.75))
            if evidence.log_e >= KILL:
                arrived += 1
                break
    assert 0.92 < arrived / 400 < 0.98


def test_what_is_there_already_counts() -> None:
    evidence = Evidence(affordable(10_000, 0.25))
    evidence.add(Coin(5_000, 100_000, False), 30)
    fresh = coins_needed(evidence.mixture, ADVANCE, 5_000)
    rest = coins_needed(evidence.mixture, ADVANCE, 5_000, start=evidence.logs)
    assert fresh is not None
    assert rest is not None
    assert rest < fresh
    evidence.add(Coin(5_000, 100_000, False), 1000)
    assert coins_needed(evidence.mixture, ADVANCE, 5_000, start=evidence.logs) == 0


def test_what_no_number_of_coins_shows_has_none() -> None:
    assert coins_needed(HARM, KILL, 1_000, ratio=1.01) is None
