"""Machines are killed while a deploy replaces them: only requests in flight on them may fail."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from tests.e2e.outside import V1, V2, Project, until
from tests.faults import load
from tests.faults.death import LEASE, PATIENT, assert_nothing_is_left

MACHINES = 3  # one out for the deploy, one killed, one that serves
LOOK_EVERY_S = 0.05
EVERY_S = 1.5  # long enough for the platform to start the last one again
EXIT_FAILED = 1


def test_of_killed_machines_only_what_was_in_flight_is_lost(
    new_project: Callable[[str], Project],
) -> None:
    project = new_project("mortal")
    project.must("-i", V1, *PATIENT)
    project.must("scale", f"app={MACHINES}", *PATIENT)

    with load.steady(*project.entrance()) as asked, _killing(project, V1) as deaths:
        done = project.deploy("-i", V2, *PATIENT, *LEASE)

    assert done.code == 0, done  # the old release's deaths are not held against the new one
    assert deaths, "nothing was killed"
    assert _lost(asked, deaths) == [], (deaths, asked)
    assert_nothing_is_left(project, V2, machines=MACHINES)


def test_a_release_whose_machines_are_killed_is_wholly_there_or_wholly_gone(
    new_project: Callable[[str], Project],
) -> None:
    """Killed while it is being watched it looks like an app that crashes, which it is not after."""
    project = new_project("mortal-release")
    project.must("-i", V1, *PATIENT)
    machines = len(project.machines())

    with _killing(project, V2, every_s=0.05) as deaths:  # nothing to spare: no load is promised
        done = project.deploy("-i", V2, *PATIENT, *LEASE)

    assert deaths, "nothing was killed"
    assert done.code in (0, EXIT_FAILED), done
    until("all have come up again", lambda: all(_serves(m) for m in project.machines()))
    assert_nothing_is_left(project, V1 if done.code else V2, machines=machines)


def _lost(asked: load.Load, deaths: list[float]) -> list[load.Failure]:
    """Requests that failed though no machine died under them."""
    return [f for f in asked.failures if not any(map(f.was_under_way, deaths))]


@contextmanager
def _killing(project: Project, image: str, *, every_s: float = EVERY_S) -> Iterator[list[float]]:
    """Kill a machine that runs `image` as soon as there is one to spare, and then now and then.

    Gives the moments of the deaths. Of the old release one is to spare once the
    deploy has begun, while two of them serve.
    """
    deaths: list[float] = []
    over, chance = threading.Event(), random.Random(project.app)

    def kill_now_and_then() -> None:
        pause_s = LOOK_EVERY_S
        while not over.wait(pause_s):
            with suppress(httpx.HTTPError):
                running = [m for m in project.machines() if m["config"]["image"] == image]
                serving = [m for m in running if _serves(m)]
                to_spare = bool(serving)
                if image == V1:
                    to_spare = len(running) < MACHINES and len(serving) >= MACHINES - 1
                if to_spare and _kill(project, chance.choice(serving)["id"]):
                    deaths.append(time.monotonic())
                    pause_s = every_s

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    try:
        yield deaths
    finally:
        over.set()
        killer.join()


def _serves(machine: dict[str, Any]) -> bool:
    is_passing = all(check["status"] == "passing" for check in machine["checks"])
    return machine["state"] == "started" and not machine["cordoned"] and is_passing


def _kill(project: Project, machine_id: str) -> bool:
    """Whether its process was there to be killed."""
    processes = project.get(f"/v1/apps/{project.app}/machines/{machine_id}/ps")
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process["pid"], signal.SIGKILL)
            return True
    return False
