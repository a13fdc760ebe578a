"""Deploys that are killed with SIGKILL at a chosen moment, and how an app must stand after.

Everything is seen from outside: the command's own event lines tell the moment,
the platform's API tells what was left behind.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from tests.faults import load
from tests.worlds.outside import LIMIT_S, V1, V2, Done, Project, finish, until, write_project

STRATEGIES = ("rolling", "canary", "bluegreen")
PATIENT = ("--deploy-retries", "10")  # at 10 % hiccups, enough for all that a deploy writes
LEASE = ("--lease-timeout", "5s")  # the shortest: nobody waits longer for a dead deployer

FORGOTTEN_S = 15.0


@dataclass(frozen=True)
class Moment:
    """Some time after the n-th event line of a kind, or of a machine's phase.

    With `left`, of a pass that leaves so many actions to be done. Up to `room_s`
    later no deploy has ended yet: as much as `later_s` may be.
    """

    what: str
    nth: int = 1
    later_s: float = 0.0
    left: int | None = None
    room_s: float = 2.0

    def matches(self, event: Mapping[str, Any]) -> bool:
        is_it = self.what in (event.get("event"), event.get("phase"))
        return is_it and self.left in (None, event.get("left"))


# All that is to be done is done. Not "gone": where the answer to a destroy is lost nobody says it.
ALL_DONE = Moment("pass_finished", left=0, room_s=0.0)

# Each changes something on the platform, or is about to, and comes in every deploy that succeeds.
MOMENTS: Mapping[str, tuple[Moment, ...]] = {
    "rolling": (
        Moment("planned"),
        Moment("updating"),
        Moment("checking"),
        Moment("checking", 2, room_s=1.0),
        Moment("pass_finished", room_s=1.0),
    ),
    "canary": (
        Moment("planned"),
        Moment("creating"),
        Moment("checking"),
        Moment("checking", 2),
        Moment("destroying", room_s=0.0),
        ALL_DONE,
    ),
    "bluegreen": (
        Moment("creating"),
        Moment("creating", 2),
        Moment("checking"),
        Moment("uncordoning", room_s=1.0),
        Moment("uncordoning", 2, room_s=1.0),
        Moment("draining", room_s=1.0),
        Moment("stopping", room_s=0.0),
        Moment("destroying", room_s=0.0),
        ALL_DONE,
    ),
}


@dataclass(frozen=True)
class Death:
    """One story: a deploy of V2 over V1 is killed, and somebody elsewhere runs `remedy`."""

    strategy: str
    moment: Moment
    remedy: str  # resume or rollback

    @property
    def name(self) -> str:
        moment = self.moment
        return f"{self.strategy}-{moment.what.replace('_', '-')}-{moment.nth}-{self.remedy}"

    def tell(self, project: Project) -> None:
        """Live through it under load, and hold the end against the laws."""
        project.must("-i", V1, *PATIENT)
        before = as_it_stands(project)
        elsewhere = another_computer(project)
        with load.steady(*project.entrance()) as asked:
            words = ("-i", V2, "--strategy", self.strategy, *PATIENT, *LEASE)
            kill_at(project, self.moment, *words)
            ended = self._remedied(elsewhere, before)
        wanted = V2 if self.remedy == "resume" else V1
        assert ended.code == 0, ended
        assert_nothing_is_left(elsewhere, wanted, machines=len(before))
        assert asked.failures == [], asked
        assert asked.answered > 0
        assert asked.images <= {V1, V2}

    def _remedied(self, elsewhere: Project, before: Mapping[str, str]) -> Done:
        ended = elsewhere.deploy(self.remedy, *PATIENT, *LEASE)
        if self.remedy == "resume" and "no deploy is unfinished" in ended.err:
            if set(elsewhere.images()) == {V2}:
                return ended  # it died after its last write
            assert as_it_stands(elsewhere) == before  # it died before its first
            return elsewhere.deploy("-i", V2, "--wait-for-lease", "20s", *PATIENT, *LEASE)
        return ended


def random_death(chance: random.Random) -> Death:
    """Any strategy, any moment and a little later, either remedy."""
    strategy = chance.choice(STRATEGIES)
    moment = chance.choice(MOMENTS[strategy])
    later = replace(moment, later_s=chance.choice((0.0, chance.uniform(0, moment.room_s))))
    return Death(strategy, later, chance.choice(("resume", "rollback")))


def kill_at(project: Project, moment: Moment, *words: str) -> None:
    """Run `deploy` with these words and kill it at the moment, which must come before it ends."""
    process = project.begin(*words, "--output", "json")
    with ExitStack() as cleanly:
        cleanly.callback(finish, process)
        assert process.stdout is not None
        seen = 0
        for line in process.stdout:
            seen += moment.matches(json.loads(line))
            if seen == moment.nth:
                time.sleep(moment.later_s)
                process.kill()
                break
        code = process.wait(LIMIT_S)
    assert seen == moment.nth, f"{moment} has not come: the deploy ended by itself with {code}"
    assert code == -signal.SIGKILL, f"{moment} came, but the deploy had ended with {code}"


def another_computer(project: Project) -> Project:
    """The same app from another directory and home: nothing of the first one is there."""
    directory: Path = project.directory.with_name(f"{project.directory.name}-elsewhere")
    write_project(directory)
    return replace(project, directory=directory)


def as_it_stands(project: Project) -> dict[str, str]:
    """What any write to a machine's configuration would change."""
    return dict(project.versions())


def remove(project: Project) -> None:
    """Delete the app and its machines, so that the next ones have the computer to themselves."""
    httpx.delete(f"{project.address}/v1/apps/{project.app}").raise_for_status()


def assert_nothing_is_left(project: Project, image: str, *, machines: int) -> None:
    """The app runs `image` and nothing else; nobody sees that a deployer has died in it."""
    until("leases end", lambda: not project.leases(), FORGOTTEN_S)
    found = project.machines()
    assert [m["config"]["image"] for m in found] == [image] * machines, found
    assert {m["state"] for m in found} == {"started"}, found
    assert not any(m["cordoned"] for m in found), found
    assert not any("tidegate_intent" in m["config"]["metadata"] for m in found), found
    status = project.must("status").out
    assert "warning" not in status, status
