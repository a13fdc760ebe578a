"""`rollout check --strict`, as people, programs and GitHub see it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from tests.rollout.commands.running import THREE, run
from tests.rollout.repo import Repo

ROOT = Path(__file__).parents[3]
GOOD = """\
version: 1
flags:
  a: {owner: me, expires: 2027-01-01, bucket_by: app, percent: 5, inside: 5, outside: 0}
"""
BAD = GOOD.replace("owner: me, expires: 2027-01-01, ", "")
NOW = "2026-11-23T12:00Z"


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    made = Repo(tmp_path / "repo")
    made.commit({"flags.yaml": GOOD})
    monkeypatch.chdir(made.root)
    return made


@pytest.mark.usefixtures("repo")
def test_a_file_in_good_order_passes() -> None:
    result = run("check", "--strict", "--base", "git:HEAD", "--max-step", "10", at=NOW)
    assert (result.exit_code, result.output) == (0, "flags.yaml is in order: 1 flag\n")


def test_what_should_be_otherwise_is_said_and_fails(repo: Repo) -> None:
    (repo.root / "flags.yaml").write_text(BAD.replace("percent: 5", "percent: 50, salt: b"))
    assert run("check", at=NOW).exit_code == 0
    result = run("check", "--strict", "--base", "git:HEAD", "--max-step", "10", at=NOW)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        (
            "flags.yaml:3:3: a: it has no expiry; add expires: with the last day on which it "
            "should exist"
        ),
        "flags.yaml:3:3: a: it has no owner; add owner: with the team that answers for it",
        "flags.yaml:3:32: a: 5 % -> 50 % is more than the 10 % allowed; go to 15 % first",
        "flags.yaml:3:42: a: salt was a in the base: everybody is drawn anew; write salt: a",
    ]


def test_on_github_findings_are_annotations(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    (repo.root / "config").mkdir()
    (repo.root / "config" / "a,b.yaml").write_text(BAD.replace("me", "x").replace("5,", "5%,", 1))
    (repo.root / "flags.yaml").write_text(BAD)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(repo.root))
    monkeypatch.chdir(repo.root / "config")
    result = run("check", "--strict", "../flags.yaml", "a,b.yaml", at=NOW)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        (
            "::error file=flags.yaml,line=3,col=3,title=rollout%3A expiry::a: it has no expiry; "
            "add expires: with the last day on which it should exist"
        ),
        (
            "::error file=flags.yaml,line=3,col=3,title=rollout%3A owner::a: it has no owner; "
            "add owner: with the team that answers for it"
        ),
        (
            "::error file=config/a%2Cb.yaml,line=3,col=32,title=rollout%3A file::"
            "a: percent: 5%25 is not a bare number; write 5"
        ),
    ]


def test_a_finished_flag_is_a_warning_with_the_places_in_the_code(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit(
        {"flags.yaml": GOOD.replace("percent: 5", "percent: 100"), "x.py": "flags['a']\n"},
        at=datetime.fromisoformat("2026-10-01T00:00Z"),
    )
    result = run("check", "--strict", at=NOW)
    assert result.exit_code == 0
    assert result.stderr == (
        "flags.yaml:3:3: warning: a: at 100 % for over 30 days; remove this flag, and the code "
        "that asks for it (named in x.py:1)\n"
    )
    assert result.stdout == "flags.yaml is in order: 1 flag, 1 warning\n"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "for it%0Ax.py:1\n" in run("check", "--strict", at=NOW).stdout


def test_people_read_of_ten_places_and_programs_of_all(repo: Repo) -> None:
    repo.commit(
        {"flags.yaml": GOOD.replace("percent: 5", "percent: 100"), "x.py": "a\n" * 12},
        at=datetime.fromisoformat("2026-10-01T00:00Z"),
    )
    assert run("check", "--strict", at=NOW).stderr.endswith(", x.py:10, ...)\n")
    (checked,) = json.loads(run("check", "--strict", "--output", "json", at=NOW).stdout)["files"]
    assert checked["findings"][0]["places"] == [f"x.py:{line}" for line in range(1, 13)]


def test_json_says_the_same_for_every_file(repo: Repo) -> None:
    (repo.root / "bad.yaml").write_text(BAD)
    (repo.root / "broken.yaml").write_text("[")
    files = ("flags.yaml", "bad.yaml", "broken.yaml")
    result = run("check", "--strict", *files, "--output", "json", at=NOW)
    assert result.exit_code == 1
    good, bad, broken = json.loads(result.stdout)["files"]
    assert good == {"file": "flags.yaml", "flags": 1, "in_order": True, "findings": []}
    assert [finding["rule"] for finding in bad["findings"]] == ["expiry", "owner"]
    assert bad["findings"][1] == {
        "rule": "owner",
        "level": "error",
        "line": 3,
        "column": 3,
        "message": "a: it has no owner",
        "fix": "add owner: with the team that answers for it",
        "flag": "a",
        "places": [],
    }
    assert broken["in_order"] is False
    assert broken["findings"][0]["rule"] == "file"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--base", "git:HEAD"], 2, "--base and --max-step go with --strict"),
        (["--max-step", "5"], 2, "--base and --max-step go with --strict"),
        (["--strict", "--max-step", "x"], 2, "--max-step x is not a number"),
        (["--strict", "--base", "git:nothing"], 2, "git knows no revision nothing"),
        (["--strict", "--base", "no.yaml"], 2, "no.yaml does not exist"),
        (["no.yaml", "--strict"], 2, "no.yaml does not exist"),
    ],
)
@pytest.mark.usefixtures("repo")
def test_bad_input_is_one_clear_line(arguments: list[str], code: int, said: str) -> None:
    result = run("check", *arguments)
    assert result.exit_code == code
    assert said in result.stderr


def test_a_file_that_is_new_since_the_base_has_nothing_to_be_compared_with(repo: Repo) -> None:
    (repo.root / "new.yaml").write_text(GOOD)
    assert run("check", "--strict", "--base", "git:HEAD", "new.yaml", at=NOW).exit_code == 0


def test_a_broken_base_does_not_keep_the_mending_out(repo: Repo) -> None:
    repo.commit({"flags.yaml": "broken: ["})
    (repo.root / "flags.yaml").write_text(GOOD)
    result = run("check", "--strict", "--base", "git:HEAD", at=NOW)
    assert result.exit_code == 0
    assert "Note: nothing is compared with the base: git:HEAD:flags.yaml:1:" in result.stderr


def test_the_shipped_file_is_in_good_order() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rollout", "check", "--strict", "--at", NOW],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_pre_commit_hook_runs_a_command_that_exists() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *arguments = hook["entry"].split()
    assert program == "rollout"
    assert hook["language"] == "python"
    assert run(*arguments, str(ROOT / "flags.yaml"), at=NOW).exit_code == 0


def test_check_says_that_a_file_is_in_order(three: Path) -> None:
    assert run("check").output == "flags.yaml is in order: 3 flags\n"
    assert run("check", str(three)).output == f"{three} is in order: 3 flags\n"
    assert run("check", "--file", str(three)).output == f"{three} is in order: 3 flags\n"
    assert run("check", "x", "--file", str(three)).exit_code == 2


def test_check_shows_every_problem_on_a_line_of_its_own(three: Path) -> None:
    three.write_text(
        THREE.replace("percent: 5 ", "percent: 5%").replace("version: 1", "version: 7")
    )
    result = run("check")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "flags.yaml:1:10: version: 7 is not a version this rollout reads; write 1",
        "flags.yaml:7:14: deploy-retries: percent: 5% is not a bare number; write 5",
    ]


def test_a_flood_of_problems_is_cut(three: Path) -> None:
    three.write_text("version: 1\nflags: {}\n" + "".join(f"x{i}: 1\n" for i in range(70)))
    assert run("check").stderr.splitlines()[50:] == ["... and 20 more problems"]


def test_a_shallow_clone_says_that_history_was_not_looked_at(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = GOOD.replace("percent: 5", "percent: 100")
    repo.commit({"flags.yaml": full}, at=datetime.fromisoformat("2026-01-01T00:00Z"))
    repo.commit({"other.txt": "x"}, at=datetime.fromisoformat("2026-11-20T00:00Z"))
    assert "at 100 % for over 30 days" in run("check", "--strict").stderr
    clone = tmp_path / "clone"
    repo.git("clone", "-q", "--depth", "1", f"file://{repo.root}", str(clone))
    monkeypatch.chdir(clone)
    result = run("check", "--strict")
    assert "not checked: history: this clone is shallow" in result.stderr
    assert result.exit_code == 0
