"""Machines are killed while a deploy replaces them: only requests in flight on them may fail."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults import load
from tests.faults.death import LEASE, PATIENT, assert_nothing_is_left
from tests.worlds.outside import V1, V2, Project, platform, until

MACHINES = 3  # one out for the deploy, one killed, one that serves
LOOK_EVERY_S = 0.05
EVERY_S = 1.5  # long enough for the platform to start the last one again
EXIT_FAILED = 1

# The example's server; before anything else it notes each request that it takes.
WITNESS = """
import os
import time

import server

TAKEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "taken")
BOOK = os.open(TAKEN, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

class Handler(server.Handler):
    def do_GET(self):
        if self.path != "/healthz":
            line = f"{os.environ['FLY_MACHINE_ID']} {time.monotonic()} {self.path}\\n"
            os.write(BOOK, line.encode())
        super().do_GET()

server.Handler = Handler
server.main()
"""


@dataclass(frozen=True)
class Killed:
    """A machine's process got SIGKILL between two moments, in monotonic seconds as all here."""

    machine: str
    from_s: float
    to_s: float


@dataclass(frozen=True)
class Taken:
    """A machine took a request at a moment."""

    machine: str
    at_s: float
    path: str


@pytest.mark.parametrize("strategy", ["rolling", "canary"])
def test_of_killed_machines_only_what_was_in_flight_is_lost(
    strategy: str, new_project: Callable[[str], Project]
) -> None:
    _lose_machines(new_project(f"dying-{strategy}"), strategy)


def test_so_it_is_where_all_machines_are_made_anew(
    new_project: Callable[[str], Project], tmp_path: Path
) -> None:
    """On a platform without hiccups: what bluegreen has to ask again may take over a minute."""
    with platform(tmp_path / "quiet") as quiet:
        _lose_machines(replace(new_project("dying-bluegreen"), address=quiet), "bluegreen")


def _lose_machines(project: Project, strategy: str) -> None:
    """Deploy V2 over V1 while machines of V1 are killed, and hold the requests against the law."""
    _call_witnesses(project)
    project.must("-i", V1, *PATIENT)
    project.must("scale", f"app={MACHINES}", *PATIENT)

    with load.steady(*project.entrance()) as asked, _killing(project, V1) as deaths:
        done = project.deploy("-i", V2, "--strategy", strategy, *PATIENT, *LEASE)

    taken = _taken(project)
    assert done.code == 0, done  # the old release's deaths are not held against the new one
    assert deaths, "nothing was killed"
    assert len(taken) >= asked.answered > 0, "not every request is noted"
    assert _lost(asked, deaths, taken) == [], (deaths, asked)
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


def test_a_failure_is_forgiven_only_to_the_machine_that_died_with_the_request() -> None:
    death = Killed("m1", 10.0, 10.01)

    def lost(began_s: float, ended_s: float, *taken: Taken) -> bool:
        failure = load.Failure(began_s, ended_s, "GET /slow: status 502")
        return _lost(load.Load(failures=[failure]), [death], taken) == [failure]

    assert not lost(9.8, 10.1, Taken("m1", 9.9, "/slow"))
    assert not lost(9.8, 10.6, Taken("m1", 9.9, "/slow"), Taken("m2", 10.1, "/slow"))
    assert lost(9.8, 10.1), "nobody took it"
    assert lost(9.8, 10.1, Taken("m2", 9.9, "/slow")), "another machine had it"
    assert lost(9.8, 10.1, Taken("m1", 9.9, "/")), "what it had was another request"
    assert lost(9.8, 10.1, Taken("m1", 9.7, "/slow")), "what it had was an earlier request"
    assert lost(9.8, 10.9, Taken("m1", 10.5, "/slow")), "it was up again when it took it"
    assert lost(9.0, 9.9, Taken("m1", 9.1, "/slow")), "it failed before the death"


def _lost(asked: load.Load, deaths: Iterable[Killed], taken: Iterable[Taken]) -> list[load.Failure]:
    """Requests that failed without being in flight on a machine when it was killed.

    The router does not say where a request went, and one that fails has no
    answer that does: the machines' own notes say it. Of each path one request
    at a time is under way, so path and moment tell which one a note is of. A
    request that a machine was killed too early to note is not forgiven: the
    router gives it to another one.
    """
    notes, killed = list(taken), list(deaths)
    return [
        failure
        for failure in asked.failures
        if not any(_died_with(failure, death, note) for death in killed for note in notes)
    ]


def _died_with(failure: load.Failure, death: Killed, note: Taken) -> bool:
    """Whether the note is of the request that failed, and of the machine before its death."""
    is_of_it = failure.why.startswith(f"GET {note.path}:")
    had_it = note.machine == death.machine and failure.began_s <= note.at_s <= death.to_s
    return is_of_it and had_it and failure.ended_s >= death.from_s


def _call_witnesses(project: Project) -> None:
    """Let the machines of this app note what they take."""
    witness = project.directory / "witness.py"
    witness.write_text(WITNESS)
    toml = project.directory / "fly.toml"
    toml.write_text(toml.read_text().replace("held.py", str(witness)))


def _taken(project: Project) -> list[Taken]:
    """What the machines have noted."""
    book: Path = project.directory / "taken"
    lines = [line.split() for line in book.read_text().splitlines()]
    return [Taken(machine, float(at_s), path) for machine, at_s, path in lines]


@contextmanager
def _killing(project: Project, image: str, *, every_s: float = EVERY_S) -> Iterator[list[Killed]]:
    """Kill a machine that runs `image` as soon as there is one to spare, and then now and then.

    Gives the deaths. Of the old release one is to spare once the deploy has
    begun, while two of them serve.
    """
    deaths: list[Killed] = []
    over, chance = threading.Event(), random.Random(project.app)

    def kill_now_and_then() -> None:
        pause_s = LOOK_EVERY_S
        while not over.wait(pause_s):
            with suppress(httpx.HTTPError):
                found = project.machines()
                serving = [m for m in found if m["config"]["image"] == image and _serves(m)]
                to_spare = bool(serving)
                if image == V1:
                    has_begun = any(m["config"]["image"] != V1 for m in found)
                    to_spare = has_begun and len(serving) >= MACHINES - 1
                death = _kill(project, chance.choice(serving)) if to_spare else None
                if death is not None:
                    deaths.append(death)
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


def _kill(project: Project, machine: dict[str, Any]) -> Killed | None:
    """None if its process was not there to be killed, or has been replaced since it was chosen."""
    path = f"/v1/apps/{project.app}/machines/{machine['id']}"
    processes = project.get(f"{path}/ps")
    if project.get(path)["instance_id"] != machine["instance_id"]:
        return None  # what was found may be of another release already
    for process in processes:
        with suppress(ProcessLookupError):
            from_s = time.monotonic()
            os.kill(process["pid"], signal.SIGKILL)
            return Killed(machine["id"], from_s, time.monotonic())
    return None
