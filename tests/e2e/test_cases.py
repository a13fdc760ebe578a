"""Apps that misbehave, and people who do, on real processes: small inputs that went wrong once.

The apps are those of `tests.worlds.apps`. What needs no real time is tried in
`tests/scenarios/test_cases.py`.
"""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.worlds import apps
from tests.worlds.outside import BIN, Project, clean_environ, finish, platform, until

MIGRATE = """
for n in range(40):
    print("  line", n)
raise SystemExit(7)
"""
RETRYING = ("--deploy-retries", "2")
_numbers = itertools.count(1)
New = Callable[..., Project]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("apps")
    apps.write(directory)
    with platform(directory) as found:
        yield found


@pytest.fixture
def new(address: str, tmp_path: Path) -> Iterator[New]:
    """Makes the app of a test; `more` goes to the end of its fly.toml."""
    made: list[Project] = []

    def make(more: str = "", less: str = "") -> Project:
        app = f"case{next(_numbers)}x"
        apps.write(tmp_path, app=app, more=more)
        if less:
            file = tmp_path / "fly.toml"
            file.write_text(file.read_text().partition(less)[0])
        made.append(Project(tmp_path, app, address))
        return made[-1]

    yield make
    for project in made:
        project.remove()


def tags(project: Project) -> list[str]:
    return sorted(image.rpartition(":")[2] for image in project.images())


def serves(project: Project) -> bool:
    """Every machine runs and its checks pass."""
    return all(
        machine["state"] == "started" and {c["status"] for c in machine["checks"]} <= {"passing"}
        for machine in project.machines()
    )


def ends(words: str) -> str:
    """The closing line of a deploy that is done."""
    return next(line for line in words.splitlines() if line.startswith("done: "))


def answer(project: Project) -> int:
    """The status that the router gives to a request for the app."""
    service = project.get(f"/local/v1/apps/{project.app}/services")[0]
    return httpx.get(f"http://{service['address']}/", timeout=5).status_code


def test_greens_that_turn_sick_go_and_the_blues_serve_on(new: New) -> None:
    project = new()
    project.must("-i", apps.image("ok1"))
    before = project.versions()
    done = project.deploy("-i", apps.image("late1"), "--strategy", "bluegreen", *RETRYING)
    assert done.code == 1, done
    assert [machine for machine, _ in project.versions()] == [machine for machine, _ in before]
    assert tags(project) == ["ok1", "ok1"]
    assert answer(project) == 200


def test_a_rolling_deploy_stops_when_finished_machines_turn_sick(new: New) -> None:
    """So many that their checks alone take longer than the first one stays well."""
    project = new()
    project.must("-i", apps.image("ok1"))
    project.must("scale", "app=15")
    words = ("--max-unavailable", "1", "--min-healthy", "0", *RETRYING)
    done = project.deploy("-i", apps.image("late1"), *words)
    assert done.code == 1, done
    assert "is not any more" in done.err or "is critical" in done.err
    assert tags(project) == ["ok1"] * 15
    until("all serve again", lambda: serves(project))


def test_the_fix_for_a_crashed_app_brings_it_back_up(new: New) -> None:
    project = new('\n[[restart]]\n  policy = "on-failure"\n  retries = 1\n')
    project.must("-i", apps.image("ok1"))
    project.deploy("-i", apps.image("crash1"), "--strategy", "immediate")
    until("both are down", lambda: {m["state"] for m in project.machines()} == {"stopped"})
    done = project.must("-i", apps.image("ok2"))
    assert "(2 machines" in done.out
    assert tags(project) == ["ok2", "ok2"]
    assert serves(project)
    assert answer(project) == 200


def test_an_app_that_exits_with_0_before_it_serves_fails_at_once(new: New) -> None:
    project = new()
    began_s = time.monotonic()
    words = ("--deploy-retries", "5", "--wait-timeout", "4s", "--output", "json")
    done = project.deploy("-i", apps.image("exitzero"), *words)
    report = done.report
    assert "exited: exit code 0 before its checks passed" in report["message"]
    assert report["passes_used"] == 1
    assert report["duration_s"] < 4.0
    assert time.monotonic() - began_s < 25


def test_without_checks_the_watch_fits_into_the_wait_timeout(new: New) -> None:
    project = new(less="  [[http_service.checks]]")
    done = project.must("-i", apps.image("ok1"), "--wait-timeout", "2s")
    assert ends(done.out)


def test_a_bluegreen_that_is_interrupted_leaves_nothing_to_undo(new: New) -> None:
    project = new()
    project.must("-i", apps.image("ok1"))
    project.must("-i", apps.image("ok2"))
    under_way = project.begin("-i", apps.image("slow"), "--strategy", "bluegreen", *RETRYING)
    until("greens are there", lambda: len(project.machines()) == 4)
    under_way.terminate()
    done = finish(under_way)
    assert done.code == 130, done
    assert "the app is as before" in done.err
    assert "rollback" not in done.err
    assert tags(project) == ["ok2", "ok2"]


def test_a_terminal_that_hangs_up_is_as_a_signal_to_end(new: New) -> None:
    project = new()
    project.must("-i", apps.image("ok1"))
    under_way = project.begin("-i", apps.image("slow"), "--strategy", "bluegreen", *RETRYING)
    until("greens are there", lambda: len(project.machines()) == 4)
    under_way.send_signal(signal.SIGHUP)
    assert finish(under_way).code == 130
    assert tags(project) == ["ok1", "ok1"]
    assert project.leases() == []


def test_a_release_command_that_fails_shows_the_end_of_its_log_as_lines(new: New) -> None:
    project = new()
    (project.directory / "migrate.py").write_text(MIGRATE)
    command = f"{sys.executable} {project.directory / 'migrate.py'}"
    file = project.directory / "fly.toml"
    file.write_text(
        file.read_text().replace("[deploy]", f'[deploy]\n  release_command = "{command}"')
    )
    done = project.deploy("-i", apps.image("ok1"), "--report", "report.json")
    assert done.code == 1, done
    shown = done.err.splitlines()
    first = shown.index("its last lines:") + 1
    assert "exit code 7" in shown[first - 2]
    assert shown[first + 19] == "    line 39"
    report = json.loads((project.directory / "report.json").read_text())
    assert report["log"][-1] == "  line 39"
    assert len(report["log"]) == 20


def test_a_machine_that_crashes_shows_why(new: New) -> None:
    project = new()
    done = project.deploy("-i", apps.image("crash1"), *RETRYING)
    assert done.code != 0
    assert "its last lines:" in done.err
    assert "  crashing: KeyError: 'DATABASE_URL'" in done.err


def test_an_app_on_the_wrong_port_is_told_which_one_was_asked(new: New) -> None:
    project = new()
    done = project.deploy("-i", apps.image("wrongport"), *RETRYING, "--wait-timeout", "2s")
    assert "8080" in done.err
    assert "127.0.0.1:3000" in done.err


def test_a_bluegreen_of_two_machines_ends_with_two(new: New) -> None:
    project = new()
    project.must("-i", apps.image("ok1"))
    done = project.must("-i", apps.image("ok2"), "--strategy", "bluegreen")
    assert re.match(r"done: \w+ runs cases:ok2 \(2 machines", ends(done.out))


def test_an_output_that_is_closed_changes_nothing(new: New) -> None:
    project = new()
    command = f"{BIN / 'deploy'} -i {apps.image('ok1')} >&-"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=project.directory,
        env=clean_environ(project.directory) | project.steering,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert tags(project) == ["ok1", "ok1"]


def test_fly_app_goes_before_fly_toml_and_is_said_in_the_first_line(new: New) -> None:
    project = new()
    done = project.deploy("-i", apps.image("ok1"), FLY_APP=f"{project.app}-pr-12")
    assert done.code == 0, done
    first = done.err.splitlines()[0]
    assert first == f"app {project.app}-pr-12, from FLY_APP; fly.toml is that of {project.app}"
    assert tags(project.sibling("pr-12")) == ["ok1", "ok1"]
    assert project.app not in {app["name"] for app in project.get("/v1/apps")["apps"]}


def test_another_apps_fly_toml_asks_before_it_destroys_process_groups(new: New) -> None:
    project = new()
    project.must("-i", apps.image("ok1"))
    other = project.directory / "other"
    other.mkdir()
    apps.write(other, app="another")
    file = other / "fly.toml"
    text = file.read_text().replace('["app"]', '["web"]')
    file.write_text(text.replace("[processes]\n  app =", "[processes]\n  web ="))
    before = project.versions()
    words = ("-i", apps.image("ok2"), "-a", project.app, "other")
    refused = project.deploy(*words)
    assert refused.code == 2, refused
    assert "process group app (2 machines)" in refused.err
    assert "--yes" in refused.err
    assert project.versions() == before
    assert project.deploy(*words, "--yes").code == 0


def test_more_than_all_may_not_be_unavailable(new: New) -> None:
    project = new()
    refused = project.deploy("-i", apps.image("ok1"), "--max-unavailable", "200%")
    assert refused.code == 2, refused
    project.must("-i", apps.image("ok1"), "--max-unavailable", "100%")


@pytest.mark.parametrize("module", ["click", "deploy.commands.options", "deploy.cli"])
def test_an_interruption_before_anything_is_asked_prints_no_traceback(
    new: New, module: str
) -> None:
    """While the program is loading: before its first line Python is on its own."""
    project = new()
    said = []
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "deploy", "status"],
        cwd=project.directory,
        env=clean_environ(project.directory) | project.steering,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.split("|")[-1].strip() == module:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130, said[-5:]
    assert not [line for line in said if "Traceback" in line]
