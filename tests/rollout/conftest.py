"""Directories with flags in them, for the tests that ask for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rollout.commands.running import MONDAY, RAMPABLE, THREE, WORK, run


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    path = tmp_path / "flags.yaml"
    path.write_text(RAMPABLE)
    return path


@pytest.fixture
def ramped(file: Path) -> str:
    run("ramp", "a", "--over", "7d", *WORK, at=MONDAY)
    return file.read_text()


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "flags.yaml"
    path.write_text(THREE)
    return path
