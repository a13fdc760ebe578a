from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.commands.origin import Origin, origin


def test_the_ci_knows_best() -> None:
    environ = {"GITHUB_ACTOR": "ada", "GITHUB_SHA": "0af3"}
    assert origin(environ) == Origin("ada", "0af3")


def test_else_it_is_the_account_and_the_revision_of_the_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGNAME", "ada")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    found = origin({})
    assert found.user == "ada"
    assert len(found.commit) == 40


def test_where_there_is_no_revision_it_is_empty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert origin({}).commit == ""
    monkeypatch.setenv("PATH", "")
    assert origin({}).commit == ""
