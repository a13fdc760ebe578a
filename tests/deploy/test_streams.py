"""Output that cannot be written never changes how a command ends: in real processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.worlds.outside import BIN, clean_environ


def run(tmp_path: Path, words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {BIN}/deploy {words}"],
        cwd=tmp_path,
        env=clean_environ(tmp_path) | {"FLY_FLAPS_BASE_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--version >&-", 0),
        ("--help >/dev/full", 0),
        ("--help | true", 0),
        ("status --app x >&- 2>&-", 6),
        ("status --app x >/dev/full 2>/dev/full", 6),
        ("--dry-run 2>&-", 2),
    ],
)
def test_the_exit_code_is_that_of_the_command(tmp_path: Path, words: str, code: int) -> None:
    done = run(tmp_path, words)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_full_disk_is_told_where_something_can_still_be_told(tmp_path: Path) -> None:
    done = run(tmp_path, "--help >/dev/full")
    assert done.stderr == "warning: the output cannot be written: No space left on device\n"


def test_a_reader_that_has_seen_enough_is_no_news(tmp_path: Path) -> None:
    assert run(tmp_path, "--help | head -1").stderr == ""


def test_what_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    done = run(tmp_path, "nöwhere 2>&1 | cat")
    assert "n" in done.stdout
    assert done.returncode == 2
