import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if os.access(path, os.X_OK))


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_a_script_says_how_it_is_used_from_any_directory_and_does_nothing_else(
    script: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.lower().startswith("usage:")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["install", "check"])
def test_an_argument_that_means_nothing_is_a_usage_error(name: str) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / name, "x"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Usage:")
