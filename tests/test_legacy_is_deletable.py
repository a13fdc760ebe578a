"""The legacy path is one file and one branch: without them the rest stands, and says so itself.

A copy of the tree loses what belongs to that path alone, which is every file with
`legacy` in its name and whatever stands between the two marks that name the flag; then its own
checks and tests have to pass. This file goes with them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
MARKED = ("deploy/run.py", "pyproject.toml")
_BRANCH = re.compile(
    r"^ *# deploy-retries, legacy path: from here.*?^ *# deploy-retries, legacy path: to here\n",
    re.MULTILINE | re.DOTALL,
)
_LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv*", ".hypothesis", "__pycache__", "*_cache", "dist", "node_modules")
)

# What goes through `deploy.run` is run, on one clock; but for a grid of deaths that resume takes
# up, which takes as long as half of the others. The rest never chooses a path, and is collected
# only. The laws of tests/simulation judge the legacy path,
# too: that room is left out.
RUN = (
    "tests/contract",
    "tests/scenarios",
    "tests/deploy/test_run.py",
    "tests/deploy/test_retrying.py",
)
SAMPLE = "not asyncio and not killed_deploy_is_finished_by_resume"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree without the legacy path."""
    copy = tmp_path_factory.mktemp("without") / "tidegate"
    shutil.copytree(ROOT, copy, ignore=_LEFT_OUT)
    for path in sorted(copy.rglob("*legacy*")):
        path.unlink()
    for name in MARKED:
        marked = copy / name
        text, branches = _BRANCH.subn("", marked.read_text())
        assert branches >= 1, name
        marked.write_text(text)
    return copy


def _run(tree: Path, *words: str) -> str:
    """What a command in the tree says; it has to end well."""
    done = subprocess.run(
        words,
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-8000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_the_branch_is_the_only_one_and_names_the_file_once() -> None:
    text = (ROOT / "deploy/run.py").read_text()
    (branch,) = _BRANCH.findall(text)
    assert len(branch.splitlines()) <= 8
    assert "legacy" not in text.replace(branch, "")
    importers = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "deploy").rglob("*.py")
        if re.search(r"import .*\blegacy\b|from deploy\.legacy", path.read_text())
    ]
    assert importers == ["deploy/run.py"]


def test_nothing_is_left_over_in_the_code(left: Path) -> None:
    assert not (left / "deploy/legacy.py").exists()
    _run(left, str(BIN / "ruff"), "check", "--no-cache", "deploy", "tests")
    _run(left, str(BIN / "lint-imports"), "--no-logo", "--no-cache")


@pytest.mark.timeout(600)
def test_the_rest_collects_and_passes(left: Path) -> None:
    pytest_in = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    _run(left, *pytest_in, "--collect-only", "--ignore=tests/simulation", "tests")
    told = _run(left, *pytest_in, "-n", "2", "-k", SAMPLE, *RUN)
    assert re.search(r"^\d{2,} passed", told, re.MULTILINE), told[-2000:]
