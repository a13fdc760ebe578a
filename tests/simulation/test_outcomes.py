"""A small part of `scripts/simulate outcomes`, with the same seeds every time."""

from __future__ import annotations

import random

import pytest

from rollout.bucketing import BUCKETS
from rollout.outcomes.coins import Coin
from rollout.outcomes.evidence import GOOD, HARM, Evidence
from tests.simulation.outcomes.fleet import DAY_S, FAILURE_RATE, Fleet
from tests.simulation.outcomes.tables import DESIGNS, guarded, log_evidence, look

APP, DEPLOY, COUNTED = DESIGNS


def test_the_fleet_fails_as_often_as_is_said_of_it() -> None:
    deploys = failed = 0
    for seed in range(6):
        fleet = Fleet(seed, 1.0, by_deploy=False)
        for day in range(10):
            found = fleet.deploys(day * DAY_S, DAY_S, 5_000)
            deploys += len(found.failed)
            failed += int(found.failed.sum())
    assert failed / deploys == pytest.approx(FAILURE_RATE, rel=0.1)


def test_evidence_all_at_once_is_evidence_coin_by_coin() -> None:
    rng = random.Random(1)
    coins = [Coin(rng.choice([5_000, 10_000]), BUCKETS, rng.random() < 0.1) for _ in range(200)]
    for mixture in (HARM, GOOD):
        evidence, one_by_one = Evidence(mixture), []
        for coin in coins:
            evidence.add(coin)
            one_by_one.append(evidence.log_e)
        assert log_evidence(coins, mixture).tolist() == pytest.approx(one_by_one)


@pytest.mark.parametrize("design", [APP, DEPLOY])
def test_without_an_effect_false_alarms_are_rare_and_with_one_it_is_found(design: str) -> None:
    without = [look(seed, 1.0, design, days=10) for seed in range(12)]
    assert sum(found.harm is not None for found in without) <= 1
    assert sum(found.good is not None for found in without) <= 1
    tripled = [look(seed, 3.0, design, days=6) for seed in range(4)]
    assert all(found.harm is not None and found.harm < 5 for found in tripled)


def test_counting_failed_deploys_of_apps_is_no_coin() -> None:
    """The design that must never be used raises false alarms: what the intervals are for."""
    without = [look(seed, 1.0, COUNTED, days=10) for seed in range(12)]
    assert sum(found.harm is not None or found.good is not None for found in without) >= 4


@pytest.mark.parametrize("bucket_by", ["app", "deploy"])
def test_the_guard_arrives_without_an_effect_and_kills_what_harms(bucket_by: str) -> None:
    fine = [guarded(seed, 1.0, bucket_by, days=30) for seed in range(4)]
    harmed = [guarded(seed, 3.0, bucket_by, days=10) for seed in range(4)]
    assert sum(end.arrived is not None for end in fine) >= 3
    assert all(end.killed is not None and end.killed < 8 for end in harmed)
