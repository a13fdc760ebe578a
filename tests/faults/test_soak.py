"""The long form of these tests, for as long as TIDEGATE_SOAK_S says (seconds; unset: not at all).

    TIDEGATE_SOAK_S=600 scripts/test tests/faults/test_soak.py -s

Random strategies, moments and remedies, a few at a time. TIDEGATE_SOAK_SEED
repeats the choice of them; it is printed first.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.faults.death import Death, random_death, remove
from tests.worlds.outside import Project

FOR_S = float(os.environ.get("TIDEGATE_SOAK_S", "0"))
AT_ONCE = 3


@pytest.mark.skipif(FOR_S <= 0, reason="set TIDEGATE_SOAK_S to a number of seconds to soak")
@pytest.mark.timeout(FOR_S + 300)
def test_whatever_the_moment_of_death_no_request_fails(
    new_project: Callable[[str], Project],
) -> None:
    seed = int(os.environ.get("TIDEGATE_SOAK_SEED", str(random.SystemRandom().randrange(10**6))))
    _say(f"seed {seed}")
    chance, until_s = random.Random(seed), time.monotonic() + FOR_S
    stories: list[tuple[Death, Future[None]]] = []

    def tell(number: int, death: Death) -> None:
        project = new_project(f"soak-{number}")
        try:
            death.tell(project)
        finally:
            _say(f"{number} {death}")
            remove(project)

    with ThreadPoolExecutor(AT_ONCE) as at_once:
        while time.monotonic() < until_s:
            death = random_death(chance)
            stories.append((death, at_once.submit(tell, len(stories), death)))
            while sum(not story.done() for _, story in stories) >= AT_ONCE:
                time.sleep(0.1)
    bad = [f"{death}: {story.exception()}" for death, story in stories if story.exception()]
    assert not bad, f"seed {seed}, {len(bad)} of {len(stories)}:\n" + "\n".join(bad)


def _say(line: str) -> None:
    sys.stderr.write(f"\n{line}")
