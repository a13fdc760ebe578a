"""How many coins it takes: exactly, by the distribution of how many fell inside. Pure.

While the probability of a coin stays the same, evidence depends on two numbers only:
how many coins there were and how many fell inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rollout.outcomes.coins import Coin
from rollout.outcomes.evidence import Mixture

MOST: Final = 5000
"""Beyond so many coins nobody is told a number."""


def coins_needed(
    mixture: Mixture,
    log_bar: float,
    threshold: int,
    *,
    ratio: float = 1.0,
    power: float = 0.95,
    start: Sequence[float] | None = None,
) -> int | None:
    """So many coins at `threshold` of 100,000 bring the evidence to ln `log_bar`, with `power`.

    `ratio` is the true odds ratio, `start` the logarithms so far. None if it takes more than
    5,000 coins, or if no number of them does.
    """
    part, whole = threshold, 100_000
    heads = mixture.increments(Coin(part, whole, True))
    tails = mixture.increments(Coin(part, whole, False))
    first = list(start) if start is not None else [0.0] * len(heads)
    if mixture.log_e(first) >= log_bar:
        return 0
    odds = ratio * part / (ratio * part + whole - part)
    rises = mixture.ratios[-1] > mixture.null
    boundary = _Boundary(mixture, first, heads, tails, log_bar, rises)
    chances, reached = {0: 1.0}, 0.0
    for count in range(1, MOST + 1):
        chances = _one_more(chances, odds)
        edge = boundary.after(count)
        for inside in [k for k in chances if (k >= edge if rises else k <= edge)]:
            reached += chances.pop(inside)
        if reached >= power:
            return count
    return None


def _one_more(chances: dict[int, float], odds: float) -> dict[int, float]:
    """The distribution of how many fell inside after another coin; what is negligible goes."""
    after: dict[int, float] = {}
    for inside, chance in chances.items():
        if chance > 1e-15:
            after[inside] = after.get(inside, 0.0) + chance * (1 - odds)
            after[inside + 1] = after.get(inside + 1, 0.0) + chance * odds
    return after


class _Boundary:
    """How many of so many coins have to be inside for the bar to be reached.

    At least so many where evidence rises with those inside, else at most. The number
    never falls as coins are added, so that looking for it goes one way.
    """

    def __init__(
        self,
        mixture: Mixture,
        first: Sequence[float],
        heads: Sequence[float],
        tails: Sequence[float],
        log_bar: float,
        rises: bool,
    ) -> None:
        self._mixture, self._log_bar, self._rises = mixture, log_bar, rises
        self._parts = list(zip(first, heads, tails, strict=True))
        self._inside = 0 if rises else -1

    def after(self, count: int) -> int:
        """The number for `count` coins; more than `count` or -1 where none does."""
        if self._rises:
            while self._inside <= count and not self._reached(count, self._inside):
                self._inside += 1
        else:
            while self._inside < count and self._reached(count, self._inside + 1):
                self._inside += 1
        return self._inside

    def _reached(self, count: int, inside: int) -> bool:
        outside = count - inside
        logs = [base + inside * head + outside * tail for base, head, tail in self._parts]
        return self._mixture.log_e(logs) >= self._log_bar
