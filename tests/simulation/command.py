"""`scripts/simulate`: runs simulated deploys, and says which laws they break.

The seed is printed first; the same seed tells the same story, to the byte.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from multiprocessing import Pool
from typing import TypeVar

from tests.simulation.deaths import LEASE_S, Death, deaths, judge_death
from tests.simulation.enumeration import (
    FOREIGN,
    boughs,
    broken_fleets,
    describe,
    fleets,
    foreign_fleets,
    judge_bough,
)
from tests.simulation.laws import not_new, not_old
from tests.simulation.weather import (
    HICCUPS,
    Weather,
    draw,
    faults_of,
    live_through,
    shortest,
)
from tests.worlds.simulated.transport import Chaos
from tests.worlds.simulated.world import Run, Scenario, simulate

T = TypeVar("T")
R = TypeVar("R")

_TABLE_RETRIES = (0, 1, 3, 5)
_TABLE_RATES = (0.01, 0.05, 0.1, 0.2)
_BATCH = 200  # worlds between two looks at the clock
_SHOWN = 20  # broken runs that are told in full


def main() -> int:
    """0 when no law is broken, 1 otherwise."""
    asked = _arguments().parse_args()
    seed = secrets.randbelow(1_000_000_000) if asked.seed is None else asked.seed
    _say(f"seed {seed}")
    begun_s = time.monotonic()
    if asked.table:
        bad = _table(seed, asked.runs or 100)
    elif asked.explore is not None:
        bad = _explore(seed, asked.explore)
    elif asked.all:
        bad = _grid() + _all_deaths()
    elif asked.runs is not None:
        bad = _many(range(seed, seed + asked.runs))
    else:
        bad = _one(seed, is_verbose=asked.verbose)
    _say(f"{time.monotonic() - begun_s:.0f} s; {'no law is broken' if not bad else f'{bad} bad'}")
    return 1 if bad else 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, metavar="SEED")
    parser.add_argument("--runs", type=int, metavar="N", help="N seeds, from SEED on")
    parser.add_argument(
        "--explore", type=float, metavar="MINUTES", help="worlds that nobody has seen, one by one"
    )
    parser.add_argument("--all", action="store_true", help="the whole grid, and every death")
    parser.add_argument("--table", action="store_true", help="what retries are good for")
    parser.add_argument("--verbose", action="store_true", help="with SEED: the whole event log")
    return parser


# -- random worlds -----------------------------------------------------------------------


def _one(seed: int, *, is_verbose: bool) -> int:
    weather = draw(seed)
    _say(str(weather))
    story = live_through(weather)
    log = story.log()
    if is_verbose:
        _say(*log)
    digest = hashlib.sha256("\n".join(log).encode()).hexdigest()[:16]
    for run in story.runs:
        _say(f"{run.name}: {_ending(run)}, {run.ended_s - run.started_s:.1f} s")
    _say(f"{len(story.calls)} calls, event log {digest}")
    return _tell_faults(str(weather), faults_of(weather, story))


def _weathered(seed: int) -> tuple[int, str, str, list[str]]:
    weather = draw(seed)
    story = live_through(weather)
    return seed, str(weather), _ending(story.run), faults_of(weather, story)


def _many(seeds: Iterable[int]) -> int:
    outcomes: Counter[str] = Counter()
    bad = 0
    for seed, title, outcome, faults in _spread(_weathered, seeds):
        outcomes[outcome] += 1
        bad += _tell_faults(f"seed {seed}: {title}", faults, shown=bad < _SHOWN)
    _say_outcomes("worlds", outcomes)
    return bad


def _explore(seed: int, minutes: float) -> int:
    """Worlds from `seed` on until the time is over; what breaks a law in its shortest form."""
    until_s = time.monotonic() + minutes * 60
    outcomes: Counter[str] = Counter()
    bad = 0
    while time.monotonic() < until_s:
        for number, title, outcome, faults in _spread(_weathered, range(seed, seed + _BATCH)):
            outcomes[outcome] += 1
            if _tell_faults(f"seed {number}: {title}", faults):
                bad += 1
                short = shortest(draw(number), _breaks_a_law)
                _say(f"  shortest: {short}", f"  {short!r}")
        seed += _BATCH
    _say_outcomes("worlds", outcomes)
    return bad


def _breaks_a_law(weather: Weather) -> bool:
    return bool(faults_of(weather, live_through(weather)))


# -- the grid ----------------------------------------------------------------------------


def _grid() -> int:
    """Every call of every clean run, times every fault, once and twice in a row."""
    total: Counter[str] = Counter()
    bad = 0
    quiet = (*fleets(), *broken_fleets(), *foreign_fleets())
    judged = _spread(judge_bough, (bough for fleet in quiet for bough in boughs(fleet)), at_once=1)
    rulings = (ruling for of_bough in judged for ruling in of_bough)
    for fleet, of_fleet in groupby(rulings, lambda ruling: replace(ruling.scenario, rules=())):
        outcomes: Counter[str] = Counter()
        for ruling in of_fleet:
            outcomes[ruling.outcome] += 1
            bad += _tell_faults(ruling.title, ruling.faults, shown=bad < _SHOWN)
        _say_outcomes(describe(fleet).partition(" seed")[0], outcomes)
        total += outcomes
    _say_outcomes("the grid", total)
    return bad


def _all_deaths() -> int:
    """Before and after every call of the smaller clean runs, and every way to go on.

    And of those on a server that says little, with lists older than that run is long.
    """
    bad = 0
    old_lists = replace(FOREIGN, list_lags_s=9.0)
    mortal = [replace(fleet, lease_ttl_s=LEASE_S) for fleet in fleets() if fleet.machines < 4]
    mortal += [replace(fleet, habits=old_lists) for fleet in foreign_fleets()]
    ends = _spread(_died, (death for fleet in mortal for death in deaths(fleet)))
    for fleet, of_fleet in groupby(ends, lambda end: end[0].scenario):
        outcomes: Counter[str] = Counter()
        for death, outcome, faults in of_fleet:
            outcomes[f"{death.way}: {outcome}"] += 1
            bad += _tell_faults(str(death), faults, shown=bad < _SHOWN)
        _say_outcomes(f"{describe(fleet).partition(' seed')[0]}, death at every call", outcomes)
    return bad


def _died(death: Death) -> tuple[Death, str, tuple[str, ...]]:
    return death, *judge_death(death)


# -- the table ---------------------------------------------------------------------------


def _table(seed: int, runs: int) -> int:
    """Of `runs` deploys of 4 machines each: wholly new, wholly old, in between."""
    _say(f"{runs} rolling deploys of 4 machines for each; wholly new / wholly old / in between")
    _say("retries " + "".join(f"{f'{rate:.0%} of calls fail':>24}" for rate in _TABLE_RATES))
    for retries in _TABLE_RETRIES:
        row = f"{retries:>7} "
        for rate in _TABLE_RATES:
            asked = [(seed + number, retries, rate) for number in range(runs)]
            ends = Counter(_spread(_ended, asked))
            row += f"{' / '.join(f'{ends[end] / runs:.0%}' for end in ('new', 'old', '')):>24}"
        _say(row)
    return 0


def _ended(asked: tuple[int, int, float]) -> str:
    seed, retries, rate = asked
    story = simulate(Scenario(seed=seed, retries=retries, machines=4), Chaos(seed, rate, HICCUPS))
    if not any(not_new(story)):
        return "new"
    return "" if any(not_old(story)) else "old"


# -- helpers -----------------------------------------------------------------------------


def _spread(work: Callable[[T], R], items: Iterable[T], *, at_once: int = 8) -> Iterator[R]:
    """The results in the order of the items, worked out on every processor."""
    with Pool(os.cpu_count()) as pool:
        yield from pool.imap(work, items, chunksize=at_once)


def _ending(run: Run) -> str:
    if run.died:
        return "died"
    if run.had_nothing_to_do:
        return "nothing to do"
    if run.finished is None:
        return "no end"
    return f"exit {run.finished.exit_code} {run.finished.result}"


def _tell_faults(title: str, faults: Iterable[str], *, shown: bool = True) -> int:
    broken = list(faults)
    if broken and shown:
        _say(f"BROKEN {title}", *(f"  {each}" for each in broken))
    return int(bool(broken))


def _say_outcomes(of: str, outcomes: Counter[str]) -> None:
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    _say(f"{of}: {outcomes.total()} runs: {told}")


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
