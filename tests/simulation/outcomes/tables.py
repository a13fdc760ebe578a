"""`scripts/simulate outcomes`: how often the evidence is wrong, and how soon it is right.

Two tables, made with the coins, the evidence and the guard of the product: looked at every
day along a path that is given, and moved by the guard itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from math import log
from multiprocessing.pool import Pool
from statistics import mean, median
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rollout.bucketing import BUCKETS, Draw
from rollout.flag import Flag
from rollout.flag.guard import Event, Guard
from rollout.outcomes.coins import EVERYWHERE, Coin, toss
from rollout.outcomes.evidence import GOOD, HARM, Mixture
from rollout.outcomes.ledger import Ledger
from rollout.outcomes.observed import Cell, Failure, Observed, Unit
from rollout.outcomes.question import Question
from rollout.outcomes.verdict import decide
from rollout.wording import table
from tests.simulation.outcomes.fleet import DAY_S, FAILURE_RATE, Deploys, Fleet

PATH: Final = (5_000, 5_000, 10_000, 25_000, 25_000, 50_000, 50_000)
"""Thresholds by day; the last one stays."""
DAYS: Final = 21
GUARDED_DAYS: Final = 42
LOOK_S: Final = 6 * 3600.0
BAR: Final = log(20)  # alpha 5 %

EFFECTS: Final = {"no effect": 1.0, "4.1 % -> 2.8 %": 2.8 / 4.1, "1.5 x": 1.5, "3 x": 3.0}
DESIGNS: Final = ("intervals, unit app", "unit deploy", "failed deploys counted, unit app")


class Found(NamedTuple):
    """On which day the evidence for harm and for good first exceeded 20 to 1; None: never."""

    harm: float | None
    good: float | None


# -- the path is given -----------------------------------------------------------------------


def look(seed: int, ratio: float, design: str, days: int = DAYS) -> Found:
    """One fleet on the path, looked at after every coin."""
    by_deploy = design == "unit deploy"
    fleet = Fleet(seed, ratio, by_deploy=by_deploy)
    coins: list[Coin] = []
    times: list[float] = []
    bounds = dict.fromkeys(range(len(fleet.buckets)), EVERYWHERE)
    for day in range(days):
        threshold = PATH[min(day, len(PATH) - 1)]
        found = fleet.deploys(day * DAY_S, DAY_S, threshold)
        for at_s, app, bucket in _failures(found):
            if design == "intervals, unit app":
                coin, bounds[app] = toss(bounds[app], threshold, bucket < threshold)
            else:
                coin = Coin(threshold, BUCKETS, bucket < threshold)
            if coin is not None:
                coins.append(coin)
                times.append(at_s)
    return Found(first_day(coins, times, HARM), first_day(coins, times, GOOD))


def first_day(coins: Sequence[Coin], times: Sequence[float], mixture: Mixture) -> float | None:
    """When the evidence of these coins first exceeds 20 to 1, in days."""
    over = np.flatnonzero(log_evidence(coins, mixture) >= BAR)
    return times[over[0]] / DAY_S if len(over) else None


def log_evidence(coins: Sequence[Coin], mixture: Mixture) -> NDArray[np.float64]:
    """The natural logarithm of the evidence after each coin: Evidence.add, all at once."""
    if not coins:
        return np.empty(0)
    kinds = {coin: number for number, coin in enumerate(dict.fromkeys(coins))}
    steps = np.array([mixture.increments(coin) for coin in kinds])
    logs = np.cumsum(steps[[kinds[coin] for coin in coins]], axis=0) + mixture.log_weights
    top = logs.max(axis=1)
    result: NDArray[np.float64] = top + np.log(np.exp(logs - top[:, None]).sum(axis=1))
    return result


def _failures(found: Deploys) -> Iterator[tuple[float, int, int]]:
    columns = (found.at_s[found.failed], found.app[found.failed], found.bucket[found.failed])
    return zip(*(column.tolist() for column in columns), strict=True)


# -- the guard moves -------------------------------------------------------------------------


class Ended(NamedTuple):
    """When the guard killed, and when it reached its last stage, in days; None: never."""

    killed: float | None
    arrived: float | None


def guarded(seed: int, ratio: float, bucket_by: str, days: int = GUARDED_DAYS) -> Ended:
    """One fleet whose percentage the guard moves, four times a day if it sees fit."""
    fleet = Fleet(seed, ratio, by_deploy=bucket_by == "deploy")
    guard = Guard()
    ledger = Ledger(Question("f", bucket_by, Draw("f"), Event(), 0.0), guard)
    threshold = guard.stages[0]
    for step in range(int(days * DAY_S / LOOK_S)):
        begin_s = step * LOOK_S
        found = fleet.deploys(begin_s, LOOK_S, threshold)
        ledger.take(_observed(found, threshold, ledger))
        ledger.question = ledger.question._replace(now=begin_s + LOOK_S)
        verdict = decide(_flag(bucket_by, threshold), ledger)
        if verdict.kind == "kill":
            return Ended((begin_s + LOOK_S) / DAY_S, None)
        if verdict.to is not None:
            threshold = verdict.to
            if threshold == guard.stages[-1]:
                return Ended(None, (begin_s + LOOK_S) / DAY_S)
    return Ended(None, None)


def clocked(seed: int, ratio: float) -> Ended:
    """The same path every time, with the alarm that people wire up.

    It stops where on one day the failure rate inside is over twice that outside.
    """
    fleet = Fleet(seed, ratio, by_deploy=False)
    for day, threshold in enumerate((*PATH, 95_000)):
        found = fleet.deploys(day * DAY_S, DAY_S, threshold)
        inside = found.bucket < threshold
        rate, rate_outside = (found.failed[side].mean() for side in (inside, ~inside))
        if rate > 2 * rate_outside:
            return Ended(day + 1.0, None)
    return Ended(None, float(len(PATH) + 1))


def _flag(bucket_by: str, threshold: int) -> Flag:
    return Flag(key="f", bucket_by=bucket_by, inside=1, outside=0, rollout=threshold, salt="f")


def _observed(found: Deploys, threshold: int, ledger: Ledger) -> Observed:
    """Deploys as the reader of records would give them."""
    inside = found.bucket < threshold
    cells = {}
    for side, chosen in ((True, inside), (False, ~inside)):
        if (number := int(chosen.sum())) > 0:
            first, last = float(found.at_s[chosen][0]), float(found.at_s[chosen][-1])
            cells[threshold, side] = Cell(deploys=number, first=first, last=last, causes={})
    units = {}
    if not ledger.by_deploy:
        for app in dict.fromkeys(found.app.tolist()):
            if str(app) not in ledger.units:
                place = int(found.bucket[found.app == app][0])
                units[str(app)] = Unit(place, 0.0, "", threshold)
    failures = [
        Failure(at_s, str(at_s), str(app), threshold, bucket < threshold, True, False)
        for at_s, app, bucket in _failures(found)
    ]
    return Observed(failures, cells, units, left={})  # type: ignore[arg-type]  # nothing was left out


# -- the tables ------------------------------------------------------------------------------


def path_table(pool: Pool, runs: int, seed: int) -> Iterator[str]:
    """False alarms without an effect; how often and when an effect is found."""
    heads = ["design", "no effect: harm / good"]
    heads += [f"{name} found, day" for name in EFFECTS if name != "no effect"]
    rows = [heads]
    for design in DESIGNS:
        cells = [design]
        for name, ratio in EFFECTS.items():
            told = pool.map(partial(look, ratio=ratio, design=design), range(seed, seed + runs))
            if name == "no effect":
                cells.append(f"{_share(told, 'harm')} / {_share(told, 'good')}")
            else:
                side = "good" if ratio < 1 else "harm"
                days = [day for one in told if (day := getattr(one, side)) is not None]
                cells.append(f"{_share(told, side)}, {median(days):.1f}" if days else "never")
            if design == DESIGNS[-1]:
                cells += ["", "", ""]
                break
        rows.append(cells)
    return iter(table(rows))


def guard_table(pool: Pool, runs: int, seed: int) -> Iterator[str]:
    """What the guard does by itself, and what a clock with an alarm does."""
    rows = [["effect", "unit", "killed, day", "reached 95 %, day"]]
    for name, ratio in EFFECTS.items():
        for bucket_by in ("app", "deploy"):
            ends = pool.map(partial(guarded, ratio=ratio, bucket_by=bucket_by),
                            range(seed, seed + runs))  # fmt: skip
            rows.append([name, bucket_by, _when(ends, "killed"), _when(ends, "arrived")])
    for name, ratio in EFFECTS.items():
        ends = pool.map(partial(clocked, ratio=ratio), range(seed, seed + runs))
        rows.append([name, "a clock with an alarm", _when(ends, "killed"), _when(ends, "arrived")])
    return iter(table(rows))


def _share(told: Sequence[Found], side: str) -> str:
    return f"{mean(getattr(one, side) is not None for one in told):.3f}"


def _when(ends: Sequence[Ended], what: str) -> str:
    days = [day for one in ends if (day := getattr(one, what)) is not None]
    return f"{len(days) / len(ends):.2f}, {mean(days):.1f}" if days else "0.00"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/simulate outcomes", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, default=0, metavar="SEED")
    parser.add_argument("--runs", type=int, default=400, metavar="N", help="fleets in a cell")
    asked = parser.parse_args(arguments)
    begun_s = time.monotonic()
    _say([f"seed {asked.seed}, {asked.runs} fleets of 4,000 apps; {FAILURE_RATE:.1%} fail", ""])
    with Pool() as pool:
        _say([f"{DAYS} days, looked at after every failure, alpha 5 %:", ""])
        _say(path_table(pool, asked.runs, asked.seed))
        _say(["", f"The guard moves, {GUARDED_DAYS} days, {asked.runs // 4} fleets:", ""])
        _say(guard_table(pool, asked.runs // 4, asked.seed))
    _say(["", f"{time.monotonic() - begun_s:.0f} s"])
    return 0


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
