"""Apps that deploy: some often and most rarely, failures that come in clusters, bad hours.

One seed makes one fleet and all that befalls it. Nothing here knows of coins: it gives
deploys with their outcomes, from which the tables are made.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rollout.bucketing import BUCKETS

APPS: Final = 4000
DAY_S: Final = 86_400
FAILURE_RATE: Final = 0.041
"""Of all deploys so many fail where the path changes nothing."""

_BASE: Final = 0.0295  # of an average app in a quiet hour, which makes FAILURE_RATE of all
_DEPLOYS_A_DAY: Final = 1.0
_SPREAD: Final = 1.3  # of the logarithm of how often an app deploys
_FRAILTY: Final = 0.7  # shape of the gamma distribution of how prone an app is
_INCIDENTS_A_DAY: Final = 0.15
_INCIDENT_HOURS: Final = 2
_INCIDENT_TIMES: Final = 6.0
_AGAIN: Final = 0.6  # after a failure the app deploys once more, soon
_AGAIN_TIMES: Final = 4.0  # and is that much more likely to fail
_AGAIN_S: Final = 1200.0
_MOST_AGAIN: Final = 4


class Deploys(NamedTuple):
    """The deploys of a while in their order: when, of which app, its bucket, whether it failed."""

    at_s: NDArray[np.float64]
    app: NDArray[np.int64]
    bucket: NDArray[np.int64]
    failed: NDArray[np.bool_]


class Fleet:
    """4,000 apps under a seed; `ratio` is how much likelier a deploy inside fails."""

    def __init__(self, seed: int, ratio: float, *, by_deploy: bool, apps: int = APPS) -> None:
        self._rng = np.random.default_rng(seed)
        self._ratio = ratio
        self._by_deploy = by_deploy
        rates = self._rng.lognormal(0.0, _SPREAD, apps)
        self._rates = rates * (_DEPLOYS_A_DAY * apps / rates.sum())
        self._frailty = self._rng.gamma(_FRAILTY, 1 / _FRAILTY, apps)
        self.buckets = self._rng.integers(0, BUCKETS, apps)

    def deploys(self, begin_s: float, for_s: float, threshold: int) -> Deploys:
        """What is deployed from `begin_s` on, while the rollout stands at `threshold`."""
        rng = self._rng
        bad_hours = self._bad_hours(for_s)
        many = rng.poisson(self._rates * (for_s / DAY_S))
        app = np.repeat(np.arange(len(self._rates)), many)
        at_s = rng.uniform(0, for_s, len(app))
        waves, times = [], 1.0
        for _ in range(_MOST_AGAIN):
            waves.append(self._outcomes(app, at_s, threshold, bad_hours, times))
            again = waves[-1].failed & (rng.random(len(app)) < _AGAIN)
            app = app[again]
            at_s = at_s[again] + rng.exponential(_AGAIN_S, len(app))
            times = _AGAIN_TIMES
        columns = [np.concatenate(parts) for parts in zip(*waves, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        found = Deploys(*(column[order] for column in columns))
        return found._replace(at_s=found.at_s + begin_s)

    def _outcomes(
        self,
        app: NDArray[np.int64],
        at_s: NDArray[np.float64],
        threshold: int,
        bad_hours: NDArray[np.bool_],
        times: float,
    ) -> Deploys:
        bad = bad_hours[np.minimum(at_s // 3600, len(bad_hours) - 1).astype(int)]
        chance = _BASE * times * self._frailty[app]
        chance *= np.where(bad, _INCIDENT_TIMES, 1.0)
        bucket = self._rng.integers(0, BUCKETS, len(app)) if self._by_deploy else self.buckets[app]
        chance = np.where(bucket < threshold, chance * self._ratio, chance)
        failed = self._rng.random(len(app)) < np.minimum(chance, 0.9)
        return Deploys(at_s, app, bucket, failed)

    def _bad_hours(self, for_s: float) -> NDArray[np.bool_]:
        hours = np.zeros(max(1, round(for_s / 3600)), dtype=bool)
        for _ in range(self._rng.poisson(_INCIDENTS_A_DAY * for_s / DAY_S)):
            first = self._rng.integers(0, len(hours))
            hours[first : first + _INCIDENT_HOURS] = True
        return hours
