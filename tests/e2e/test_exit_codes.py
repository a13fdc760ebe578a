"""Exit codes are an interface: each is brought about from outside, with what it promises to say."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import httpx
import pytest

from tests.worlds.outside import HELD, SICK, V1, V2, Project, finish, platform
from tests.worlds.simulated.world import Scenario, World, tell

TAKEN = {"ttl": 300, "description": "somebody's deploy"}


def test_0_is_done_and_a_second_time_there_is_nothing_to_do(project: Project) -> None:
    assert project.deploy("-i", V1).code == 0
    assert project.images() == [V1, V1]
    before = project.versions()

    again = project.deploy("-i", V1)

    assert again.code == 0
    assert "nothing to do" in again.out
    assert project.versions() == before


def test_1_is_failed_and_as_before_once_a_sick_release_is_rolled_back(project: Project) -> None:
    project.must("-i", V1)

    done = project.deploy(
        "-i", SICK, "--deploy-retries", "2", "--wait-timeout", "2s", "--output", "json"
    )

    assert done.code == 1, done
    assert project.images() == [V1, V1]
    report = done.report
    assert (report["result"], report["retries_used"]) == ("rolled-back", 0)  # no use in retrying
    assert "HTTP 503: sick" in report["message"]  # the check's own words


def test_3_is_in_between_and_lists_every_machine(project: Project) -> None:
    project.must("-i", V1)

    done = project.deploy("-i", SICK, "--deploy-retries", "0", "--wait-timeout", "2s")

    assert done.code == 3, done
    assert project.images() == [V1, SICK]
    for machine in project.machines():
        (line,) = re.findall(rf"^ .*{machine['id']}.*$", done.err, re.MULTILINE)
        assert machine["config"]["image"] in line


def test_4_is_refused_by_the_platform(tmp_path: Path, project: Project) -> None:
    with platform(tmp_path / "guarded", "--token", "right") as address:
        guarded = Project(project.directory, project.app, address, {"FLY_API_TOKEN": "right"})
        guarded.must("-i", V1)
        before = guarded.versions()

        done = guarded.deploy("-i", V2, FLY_API_TOKEN="wrong")  # noqa: S106 - no secret

        assert done.code == 4, done
        assert "401" in done.out + done.err
        assert guarded.versions() == before


def test_5_is_leased_by_another_says_who_and_until_when(project: Project) -> None:
    project.must("-i", V1)
    before = project.versions()
    machine = min(machine["id"] for machine in project.machines())
    lease = f"{project.address}/v1/apps/{project.app}/machines/{machine}/lease"
    held = httpx.post(lease, json=TAKEN, headers={"authorization": "Bearer theirs"}).json()

    done = project.deploy("-i", V2)

    assert done.code == 5, done
    assert held["data"]["owner"] in done.out + done.err
    assert re.search(r"until \d\d:\d\d:\d\d UTC", done.out + done.err)
    assert project.versions() == before
    assert project.leases() == [machine]


def test_5_of_two_deploys_at_once_one_wins_and_the_other_changes_nothing(project: Project) -> None:
    project.must("-i", V1)
    winner = project.hold()
    before = project.versions()

    loser = project.deploy("-i", V2, "--output", "json")

    assert loser.code == 5, loser
    assert loser.report["result"] == "leased"
    assert project.versions() == before
    project.go()
    assert finish(winner).code == 0
    assert project.images() == [HELD, HELD]


def test_5_is_avoided_by_waiting_for_the_lease(project: Project) -> None:
    project.must("-i", V1)
    first = project.hold()
    second = project.begin("-i", V2, "--wait-for-lease", "40s")
    project.go()

    assert finish(first).code == 0
    assert finish(second).code == 0
    assert project.images() == [V2, V2]


def test_6_is_an_outage_that_lasts_in_simulated_time() -> None:
    async def play(world: World) -> None:
        await world.deploy(outage=(0, 10**6))

    finished = tell(Scenario(retries=1000), play).finished

    assert (finished.exit_code, finished.result) == (6, "outage")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_130_is_interrupted_gives_the_leases_back_and_says_what_runs_where(
    project: Project, number: signal.Signals
) -> None:
    project.must("-i", V1)
    under_way = project.hold()

    under_way.send_signal(number)
    done = finish(under_way)

    assert done.code == 130, done
    assert project.images() == [HELD, V1]
    assert project.leases() == []
    assert number.name in done.err + done.out
    for machine in project.machines():
        (line,) = re.findall(rf"^ .*{machine['id']}.*$", done.err, re.MULTILINE)
        assert machine["config"]["image"] in line
