"""Whole deploys in simulated time, and the records that they leave: one seed, the same records.

The orchestrator runs as it is, under hiccups, for each of many apps; the flag says which
path it takes. With `broken` the retrying path gives up as soon as it has begun, so that
there is something for the guard to find.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, Final

from deploy import retrying
from deploy.errors import DeployError
from deploy.events import Event, PathChosen, RunStarted
from deploy.orchestrator.outcome import Ending, Failure, Outcome
from deploy.readers.record import Record
from deploy.retries import Retries, from_flag
from tests.simulation.weather import HICCUPS
from tests.worlds.simulated.transport import Chaos
from tests.worlds.simulated.world import NEW, Scenario, simulate

HICCUP_RATE: Final = 0.05
APPS: Final = 40
BETWEEN_S: Final = 600.0
MACHINES: Final = 2


def write_records(
    directory: Path, flags: Path, begin_s: float, seeds: Iterable[int], *, broken: bool = False
) -> None:
    """One deploy per seed, ten minutes apart from the Unix time `begin_s` on."""
    asked = [(seed, begin_s + number * BETWEEN_S) for number, seed in enumerate(seeds)]
    work = partial(_deploy, directory, flags, broken)
    with Pool(os.cpu_count()) as pool:
        pool.map(work, asked, chunksize=8)
        pool.close()  # or they are ended by a signal, for which they may have a handler
        pool.join()


def _deploy(directory: Path, flags: Path, broken: bool, asked: tuple[int, float]) -> None:
    seed, at_s = asked
    app, deploy_id = f"app-{seed % APPS}", f"d{seed:015d}"
    context = {"app": app, "deploy": deploy_id}
    retries = from_flag(str(flags), context=context, now=datetime.fromtimestamp(at_s, tz=UTC))
    with _broken() if broken else _as_it_is():
        scenario = Scenario(seed=seed, retries=retries.count, machines=MACHINES)
        story = simulate(scenario, Chaos(seed, HICCUP_RATE, HICCUPS))
    run = story.run
    record = Record(directory, _refuse)
    for event in _beginning(app, deploy_id, retries):
        record(at_s, event)
    for when_s, event in run.events:
        record(at_s + when_s - run.started_s, event)


def _beginning(app: str, deploy_id: str, retries: Retries) -> Iterator[Event]:
    """What the command tells before the run does."""
    yield RunStarted(
        command="deploy", app=app, deploy_id=deploy_id, run_id=f"{deploy_id}r", image=NEW,
        strategy="rolling",
    )  # fmt: skip
    yield PathChosen(
        path=retries.path, retries=retries.count, sentence=retries.sentence,
        decision=retries.decision, assigned=retries.assigned,
    )  # fmt: skip


@contextmanager
def _broken() -> Iterator[None]:
    whole = retrying.run
    retrying.run = _gives_up
    try:
        yield
    finally:
        retrying.run = whole


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


async def _gives_up(*_: Any, **__: Any) -> Ending:
    failure = Failure(DeployError("the retrying path is broken on purpose"))
    return Ending(Outcome(left=1, failures=(failure,)))


def _refuse(warning: str) -> None:
    raise OSError(warning)
