"""The commands of docs/outcomes.md are run as written, and its workflow, twice at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from rollout import Flags
from rollout.flag.guard import Guard
from tests.rollout.outcomes.making import made, write
from tests.rollout.repo import ENVIRONMENT, Repo

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "outcomes.md").read_text()
AT = "2026-12-10T00:00Z"
FLAGS = """\
version: 1
flags:
  deploy-retries:
    bucket_by: deploy
    inside: 5
    outside: 0
"""


_BLOCK = re.compile(r"^```(.*)\n((?:(?!```).*\n)*)```$", re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [block for named, block in _BLOCK.findall(GUIDE) if named == language]


COMMANDS = [
    re.sub(r" \[[^]]*\]", "", line)  # what may be left out
    for block in blocks("")
    for line in block.splitlines()
    if line and not line.startswith("pip ")
]


def flags() -> str:
    """The file, with the guard as the guide shows it."""
    return f"{FLAGS}{blocks('yaml')[0]}"


def deploys() -> list[dict[str, Any]]:
    """At 5 %, of which a third fail outside and none inside."""
    told = [made(number, f"app-{number % 40}", 5.0, by="deploy") for number in range(3000)]
    for number, one in enumerate(told):
        if number % 3 == 0 and one["assigned"]["variant"] == "outside":
            one |= {"result": "failed", "cause": "platform"}
    return told


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the flags and with records in every form that the guide reads."""
    root = tmp_path / "here"
    for name in ("reports", "artifacts/one", "lake", "bin"):
        (root / name).mkdir(parents=True)
    (root / "flags.yaml").write_text(flags())
    told = deploys()
    for path in (root / "reports" / "all.jsonl", root / "some.jsonl"):
        write(path, told)
    write(root / "artifacts" / "one" / "first.json", told[:1])
    duckdb.sql(
        f"COPY (FROM read_json('{root}/some.jsonl')) TO '{root}/lake/a.parquet' (FORMAT parquet)"
    )
    return root


def bash(script: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{cwd / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "GITHUB_", "DEPLOY"))}
    clean |= {k: v for k, v in ENVIRONMENT.items() if k.startswith("GIT_CONFIG")}
    python = {"PYTHONUTF8": "1", "PYTHONPATH": str(ROOT), "ROLLOUT_AT": AT}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=cwd,
        env=clean | python | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_command_of_the_guide_runs(place: Path) -> None:
    # A database stands ready whose rows are those that DuckDB selects; test_sql has a real one.
    selected = bash(
        "rollout outcomes deploy-retries --sql duckdb --table \"read_json('some.jsonl')\"", place
    )
    select = selected.stdout.replace("some.jsonl", f"{place}/some.jsonl")
    duckdb.sql(f"COPY ({select.strip().rstrip(';')}) TO '{place}/rows.csv' (HEADER)")
    psql = place / "bin" / "psql"
    psql.write_text("#!/bin/sh\ngrep -q ops.deploy_reports && cat rows.csv\n")
    psql.chmod(0o755)
    assert len(COMMANDS) == 8
    for command in COMMANDS:
        done = bash(command, place)
        expected = 10 if command.startswith("rollout guard") else 0
        assert done.returncode == expected, (command, done.stdout, done.stderr)
        assert done.stdout or command.endswith(">coins.csv"), command
        if expected:
            assert done.stdout.startswith("advance: deploy-retries to 10 %, failures rise"), command
    assert "3,000 deploys" in bash(COMMANDS[0], place).stdout
    assert "<h1>deploy-retries" in (place / "outcomes.html").read_text()
    assert (place / "public" / "index.html").is_file()


def test_the_guard_that_is_shown_has_the_defaults() -> None:
    assert Flags.parse(flags())["deploy-retries"].guard == Guard()


def test_of_two_workflows_that_race_one_pushes_and_the_other_is_refused(
    place: Path, tmp_path: Path
) -> None:
    guard, commit = steps()
    origin = tmp_path / "origin.git"
    first = Repo(tmp_path / "first")
    first.commit({"flags.yaml": flags()})
    first.git("clone", "-q", "--bare", str(first.root), str(origin))
    first.git("remote", "add", "origin", str(origin))
    first.git("clone", "-q", str(origin), str(tmp_path / "second"))
    clones = first.root, tmp_path / "second"
    for clone in clones:
        (clone / "reports").symlink_to(place / "reports")
        assert step(guard, clone) == "10"
    assert bash(commit, clones[0]).returncode == 0
    later = {f"GIT_{who}_DATE": "2037-01-01T00:00Z" for who in ("AUTHOR", "COMMITTER")}
    refused = bash(commit, clones[1], **later)
    assert refused.returncode != 0
    assert "[rejected]" in refused.stderr
    assert first.git("--git-dir", str(origin), "log", "--format=%an: %s", "main") == (
        "rollout-guard: advance: deploy-retries to 10 %, failures rise by less than 25 %: 22 to 1\n"
        "A Person: Change"
    )
    # The next run begins with the newer commit: 10 % has not been seen for long enough.
    third = tmp_path / "third"
    first.git("clone", "-q", str(origin), str(third))
    (third / "reports").symlink_to(place / "reports")
    assert "percent: 10\n" in (third / "flags.yaml").read_text()
    assert step(guard, third) == "0"
    assert "24 h more at 10 %" in (third / "verdict.txt").read_text()


def steps() -> tuple[str, str]:
    """The scripts of the workflow that judge and that push."""
    job = yaml.safe_load(blocks("yaml")[1])["jobs"]["guard"]
    *_, guard, commit = job["steps"]
    assert guard["id"] == "guard"
    assert commit["if"] == "steps.guard.outputs.code != '0'"
    return guard["run"], commit["run"].replace("${{ github.ref_name }}", "main")


def step(script: str, clone: Path) -> str:
    """Run the step that judges; gives the code that it puts out."""
    output = clone / "output.txt"
    done = bash(script, clone, GITHUB_OUTPUT=str(output))
    assert done.returncode == 0, done.stderr
    return output.read_text().strip().removeprefix("code=")
