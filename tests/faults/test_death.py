"""A deployer is killed with SIGKILL while requests and hiccups go on: no request notices."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.death import MOMENTS, STRATEGIES, Death, Moment
from tests.worlds.outside import Project

# Of each strategy one moment to finish from and one to undo; the soak has them all.
CHOSEN = {
    "rolling": (MOMENTS["rolling"][2], MOMENTS["rolling"][3]),
    "canary": (MOMENTS["canary"][3], MOMENTS["canary"][2]),
    "bluegreen": (MOMENTS["bluegreen"][3], MOMENTS["bluegreen"][5]),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_killed_deploy_is_finished_or_undone_from_elsewhere_and_no_request_fails(
    strategy: str, new_project: Callable[[str], Project]
) -> None:
    finished, undone = CHOSEN[strategy]
    deaths = [Death(strategy, finished, "resume"), Death(strategy, undone, "rollback")]
    with ThreadPoolExecutor(len(deaths)) as at_once:
        stories = [at_once.submit(death.tell, new_project(death.name)) for death in deaths]
    for story in stories:
        story.result()


def test_a_story_whose_moment_never_comes_fails(new_project: Callable[[str], Project]) -> None:
    """Or else these tests could pass with nobody killed."""
    death = Death("rolling", Moment("a_moment_that_never_comes"), "resume")
    with pytest.raises(AssertionError, match="has not come: the deploy ended by itself with 0"):
        death.tell(new_project(death.name))
