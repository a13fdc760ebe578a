"""Coins -> evidence: mixtures of likelihood ratios over the odds ratio, in log space. Pure.

With odds ratio r a coin that falls inside with probability p falls there with
r p / (r p + 1 - p). Each mixture is a nonnegative supermartingale under what it is
evidence against, so that it exceeds 1/alpha with probability at most alpha however often
one looks (Ville). Numbers are summed in one order, so that the same coins give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log, log1p
from typing import Final, NamedTuple

from rollout.bucketing import BUCKETS
from rollout.outcomes.coins import Coin


class Mixture(NamedTuple):
    """What evidence is for: `ratios` with the logarithms of their weights, against `null`."""

    ratios: tuple[float, ...]
    log_weights: tuple[float, ...]
    null: float = 1.0

    def increments(self, coin: Coin) -> list[float]:
        """ln((q_r/p_null)^z ((1-q_r)/(1-p_null))^(1-z)) for each ratio."""
        p = coin.part / coin.whole
        base = log1p(p * (self.null - 1)) - (log(self.null) if coin.inside else 0.0)
        if coin.inside:
            return [base + log(r) - log1p(p * (r - 1)) for r in self.ratios]
        return [base - log1p(p * (r - 1)) for r in self.ratios]

    def log_e(self, logs: Iterable[float]) -> float:
        """The natural logarithm of the evidence."""
        terms = [weight + value for weight, value in zip(self.log_weights, logs, strict=True)]
        top = max(terms)
        return top + log(sum([exp(term - top) for term in terms]))


def spread(low: float, high: float, points: int, scale: float, null: float = 1.0) -> Mixture:
    """Ratios evenly in ln r from `low` to `high`, weighted by exp(-(ln r / scale)^2 / 2)."""
    step = (log(high) - log(low)) / (points - 1)
    places = [log(low) + step * n for n in range(points)]
    weights = [exp(-((place / scale) ** 2) / 2) for place in places]
    total = sum(weights)
    return Mixture(
        tuple(map(exp, places)), tuple([log(weight / total) for weight in weights]), null
    )


HARM: Final = spread(1.1, 6, 25, 0.8)
"""Failures are more frequent inside."""
GOOD: Final = spread(0.2, 0.95, 25, 0.5)
"""Failures are rarer inside."""


def affordable(threshold: int, budget: float) -> Mixture:
    """With `threshold` of 100,000 inside the failures of all rise by less than `budget`."""
    null = 1 + budget * BUCKETS / threshold
    return spread(0.5, null / 1.1, 21, 0.35, null)


def two_sided() -> Mixture:
    """Inside is seen more often or less often than it should be: half of the weight each."""
    logs = [weight - log(2) for weight in HARM.log_weights]
    return Mixture((*(1 / r for r in HARM.ratios), *HARM.ratios), (*logs, *logs))


class Evidence:
    """The evidence of one mixture, coin by coin.

    `logs` holds a logarithm for each ratio, `peak` the largest evidence ever, as a natural
    logarithm; both make up its state.
    """

    def __init__(
        self, mixture: Mixture, logs: Iterable[float] | None = None, peak: float = 0.0
    ) -> None:
        self.mixture = mixture
        self.logs = [0.0] * len(mixture.ratios) if logs is None else list(logs)
        self.peak = peak
        self._known: dict[Coin, list[float]] = {}

    @property
    def log_e(self) -> float:
        """The evidence as it is, as a natural logarithm."""
        return self.mixture.log_e(self.logs)

    def add(self, coin: Coin, times: int = 1) -> None:
        """One more coin, or several that are alike."""
        steps = self._known.get(coin)
        if steps is None:
            steps = self._known[coin] = self.mixture.increments(coin)
        self.logs = [value + step * times for value, step in zip(self.logs, steps, strict=True)]

    def note_peak(self) -> None:
        """Remember the evidence if it is the largest so far."""
        self.peak = max(self.peak, self.log_e)
