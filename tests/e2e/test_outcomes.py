"""The loop closed with real processes: deploys under hiccups leave records, the guard reads."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worlds.outside import (
    BIN,
    HELD,
    LIMIT_S,
    SICK,
    V1,
    V2,
    Done,
    Project,
    clean_environ,
    finish,
    platform,
    write_project,
)

FLAGS = """\
version: 1
flags:
  deploy-retries: {bucket_by: BY, percent: 50, inside: 3, outside: 0, guard: {}}
"""
APPS = ("hello", "app-1")
QUICK = ("--min-healthy", "0", "--no-smoke-checks")


@pytest.fixture
def shaky(tmp_path: Path) -> Iterator[Project]:
    """A platform that fails one write in eight, always the same ones."""
    directory = tmp_path / "project"
    write_project(directory)
    (directory / "flags.yaml").write_text(FLAGS.replace("BY", "app"))
    with platform(tmp_path, "--hiccups", "0.12", "--seed", "7") as address:
        environ = {"DEPLOY_REPORTS": "reports", "ROLLOUT_FLAGS": "flags.yaml"}
        yield Project(directory, "hello", address, environ)


def rollout(project: Project, *words: str) -> Done:
    done = subprocess.run(
        [str(BIN / "rollout"), *words],
        cwd=project.directory,
        env=clean_environ(project.directory),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def records(project: Project) -> list[dict[str, Any]]:
    paths = sorted((project.directory / "reports").rglob("*.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_deploys_under_hiccups_leave_records_that_the_guard_reads(shaky: Project) -> None:
    for app in APPS:
        project = Project(shaky.directory, app, shaky.address, shaky.environ)
        project.deploy("-i", V1, *QUICK)
        project.deploy("-i", V2, "--deploy-retries", "0", *QUICK)
    found = records(shaky)
    assert len(found) == 2 * len(APPS)
    for record in found:
        assert (record["v"], record["assigned"]["unit"]) == (2, record["app"])
        assert (record["cause"] is None) == (record["result"] in ("done", "unchanged"))
        inside = record["assigned"]["variant"] == "inside"
        assert record["assigned"]["value"] == (3 if inside else 0)
    by_hand = [record for record in found if record["decision"]["source"] == "option"]
    assert len(by_hand) == len(APPS)
    pages = list((shaky.directory / "reports").rglob("*.html"))
    assert len(pages) == len(found)

    told = json.loads(
        rollout(shaky, "outcomes", "deploy-retries", "reports", "--output", "json").out
    )
    cohorts = told["cohorts"]
    assert cohorts["inside"]["deploys"] + cohorts["outside"]["deploys"] == len(found)
    failed = [record for record in found if record["cause"]]
    assert cohorts["inside"]["events"] + cohorts["outside"]["events"] == len(failed)
    assert told["warnings"] == []

    guarded = rollout(shaky, "guard", "deploy-retries", "--reports", "reports")
    assert (guarded.code, guarded.out.splitlines()[0]) == (0, "hold: deploy-retries stays at 50 %")


def test_a_deploy_that_is_killed_leaves_its_start(project: Project) -> None:
    project.environ |= {"DEPLOY_REPORTS": "reports"}
    project.must("-i", V1, *QUICK)
    killed = project.hold()
    killed.kill()
    finish(killed)
    [unfinished] = [record for record in records(project) if record["result"] is None]
    assert unfinished["image"] == HELD
    assert unfinished["assigned"]["reason"] == "SPLIT"


def test_an_app_that_is_sick_is_the_apps_own_failure(project: Project) -> None:
    done = project.deploy("-i", SICK, "--wait-timeout", "2s", "--reports", "reports", *QUICK)
    assert done.code != 0
    assert [record["cause"] for record in records(project)] == ["app"]


def test_records_that_cannot_be_written_change_nothing(project: Project) -> None:
    (project.directory / "reports").mkdir()
    (project.directory / "reports" / project.app).write_text("in the way")
    done = project.deploy("-i", V1, "--reports", "reports", *QUICK)
    assert done.code == 0
    assert done.err.count("cannot be written") == 1


def test_a_flag_may_be_drawn_by_deploy_and_the_plan_does_not_guess(project: Project) -> None:
    flags = project.directory / "flags.yaml"
    flags.write_text(FLAGS.replace("BY", "deploy"))
    words = ("-i", V1, "--flags", "flags.yaml")
    planned = project.deploy("plan", *words)
    assert "-> known when it begins (every deploy is drawn by itself, the rollout is at 50 %)" in (
        planned.out
    )
    assert project.deploy(*words, "--reports", "reports", *QUICK).code == 0
    [record] = records(project)
    assert record["assigned"]["unit"] == record["deploy"] == record["deploy_id"]
    flags.write_text(FLAGS.replace("BY", "deploy").replace("percent: 50", "percent: 100"))
    assert "retrying path" in project.deploy("plan", *words).out
