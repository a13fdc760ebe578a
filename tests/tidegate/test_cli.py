"""One name to call: the commands under `tidegate`, in real processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.worlds.outside import BIN, clean_environ


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "tidegate"), *words],
        cwd=directory,
        env=clean_environ(directory),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("tidegate, version ")


@pytest.mark.parametrize("command", ["deploy", "rollout"])
def test_both_commands_are_run_with_their_options_and_exit_codes(
    tmp_path: Path, command: str
) -> None:
    assert f"Usage: {command}" in run(tmp_path, command, "--help").stdout
    assert run(tmp_path, command, "--no-such-option").returncode == 2


def test_alone_it_says_what_there_is(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0
    assert "tidegate deploy" in done.stdout
    assert "tidegate rollout" in done.stdout


def test_another_word_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    done = run(tmp_path, "status")
    assert done.returncode == 2
    assert "tidegate deploy" in done.stderr


@pytest.mark.parametrize("name", ["rollout", "deploy"])
def test_a_foreign_package_of_the_same_name_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    done = subprocess.run(
        [str(BIN / "python"), "-m", "tidegate", "deploy", "--version"],
        cwd=tmp_path,
        env=clean_environ(tmp_path) | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done
    assert f"another package named {name}" in done.stderr
    assert "Traceback" not in done.stderr
