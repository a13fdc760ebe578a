"""The promise that everything hangs on: under its null the evidence has a mean of at most 1."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product
from math import exp, fsum, isclose, log

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rollout.bucketing import BUCKETS
from rollout.outcomes.coins import EVERYWHERE, Coin, toss
from rollout.outcomes.evidence import GOOD, HARM, Evidence, Mixture, affordable, two_sided

MIXTURES = {"harm": HARM, "good": GOOD, "sample": two_sided()}
thresholds = st.sampled_from([0, 1, 5_000, 10_000, 25_000, 50_000, 95_000, BUCKETS])
plans = st.lists(st.tuples(st.integers(0, 2), st.lists(thresholds, min_size=4, max_size=4)),
                 min_size=1, max_size=6)  # fmt: skip


@pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES)
@settings(max_examples=30)
@given(plan=plans)
@example([(0, [5_000] * 4), (0, [10_000, 50_000, 5_000, 0]), (1, [10_000, 5_000, 1, 95_000])])
def test_no_path_that_looks_back_makes_the_mean_differ_from_one(
    mixture: Mixture, plan: list[tuple[int, list[int]]]
) -> None:
    """All outcomes of three units, enumerated: who is where, exactly as likely as it is.

    The plan says who fails, and at which percentage: another one for each number of
    failures inside so far, as if somebody moved it for what was seen.
    """
    cuts = sorted({0, BUCKETS, *(at for _, choices in plan for at in choices)})
    places = [(low, Fraction(high - low, BUCKETS)) for low, high in pairwise(cuts)]
    means = []
    for combination in product(places, repeat=3):
        chance = Fraction(1)
        for _, share in combination:
            chance *= share
        evidence, bounds, seen = Evidence(mixture), [EVERYWHERE] * 3, 0
        for unit, choices in plan:
            threshold = choices[seen % 4]
            inside = combination[unit][0] < threshold
            coin, bounds[unit] = toss(bounds[unit], threshold, inside)
            seen += inside
            if coin:
                evidence.add(coin)
        means.append(float(chance) * exp(evidence.log_e))
    assert isclose(fsum(means), 1, rel_tol=1e-9)


@pytest.mark.parametrize("stage", [10_000, 50_000, 95_000])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@given(path=st.lists(st.integers(1, BUCKETS - 1), min_size=1, max_size=6))
@settings(max_examples=30)
def test_where_failures_rise_by_the_budget_or_more_advancing_is_no_better_than_a_bet(
    stage: int, share: float, path: list[int]
) -> None:
    """Deploys as units: every sequence of sides, at odds beyond what the budget allows."""
    mixture = affordable(stage, 0.25)
    odds = mixture.null * (1 + share)
    means = []
    for sides in product((True, False), repeat=len(path)):
        evidence, chance = Evidence(mixture), 1.0
        for threshold, inside in zip(path, sides, strict=True):
            evidence.add(Coin(threshold, BUCKETS, inside))
            q = odds * threshold / (odds * threshold + BUCKETS - threshold)
            chance *= q if inside else 1 - q
        means.append(chance * exp(evidence.log_e))
    assert fsum(means) <= 1 + 1e-9


@given(st.lists(st.tuples(st.integers(1, BUCKETS - 1), st.booleans()), max_size=30))
def test_evidence_in_log_space_is_the_product_that_the_definition_says(
    coins: list[tuple[int, bool]],
) -> None:
    evidence = Evidence(HARM)
    products = [1.0] * len(HARM.ratios)
    for threshold, inside in coins:
        evidence.add(Coin(threshold, BUCKETS, inside))
        p = threshold / BUCKETS
        for place, r in enumerate(HARM.ratios):
            q = r * p / (r * p + 1 - p)
            products[place] *= q / p if inside else (1 - q) / (1 - p)
    direct = fsum(exp(w) * value for w, value in zip(HARM.log_weights, products, strict=True))
    assert isclose(exp(evidence.log_e), direct, rel_tol=1e-9)


def test_the_mixtures_are_those_of_the_method() -> None:
    for mixture, low, high, points in (
        (HARM, 1.1, 6, 25), (GOOD, 0.2, 0.95, 25), (affordable(10_000, 0.25), 0.5, 3.5 / 1.1, 21),
    ):  # fmt: skip
        assert len(mixture.ratios) == points
        assert (mixture.ratios[0], mixture.ratios[-1]) == pytest.approx((low, high))
        steps = [log(b) - log(a) for a, b in pairwise(mixture.ratios)]
        assert max(steps) - min(steps) < 1e-12
        assert fsum(map(exp, mixture.log_weights)) == pytest.approx(1)
    assert affordable(10_000, 0.25).null == 3.5
    first, second = HARM.log_weights[:2]
    assert first - second == pytest.approx(
        (log(HARM.ratios[1]) ** 2 - log(HARM.ratios[0]) ** 2) / (2 * 0.8**2)
    )


def test_many_coins_neither_overflow_nor_vanish() -> None:
    evidence = Evidence(HARM)
    evidence.add(Coin(5_000, BUCKETS, True), 1_000_000)
    assert evidence.log_e > 1e6
    evidence = Evidence(HARM)
    evidence.add(Coin(5_000, BUCKETS, False), 1_000_000)
    assert evidence.log_e < -1e3
