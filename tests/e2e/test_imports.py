"""Help and version are quick: they load neither HTTP nor servers nor rich."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.worlds.outside import ROOT, clean_environ

HEAVY = ("httpx", "starlette", "uvicorn", "rich")
_RUN = """
import sys
from {module} import main
sys.argv = {argv!r}
try:
    main()
except SystemExit as leave:
    code = leave.code
else:
    code = 0
sys.stderr.write(f"{{code or 0}} {{[name for name in {heavy!r} if name in sys.modules]}}")
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("deploy.cli", ["--help"]),
        ("deploy.cli", ["--version"]),
        ("rollout.cli", ["--help"]),
        ("rollout.cli", ["--version"]),
        ("rollout.cli", ["explain", "deploy-retries", "--unit", "hello"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_it_loads_nothing_heavy(module: str, words: list[str]) -> None:
    script = _RUN.format(module=module, argv=[module.partition(".")[0], *words], heavy=HEAVY)

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=clean_environ(ROOT),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == "0 []", done
    assert done.stdout
