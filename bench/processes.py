"""`rollout explain` as a process, beside a Python that only imports what it cannot do without."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.definitions import KEY, PERCENT
from bench.ours import FLAGS_TEXT

EXPLAIN = "rollout explain"
IMPORTS = "python -c 'import click, yaml, mmh3'"


def contenders(directory: Path) -> dict[str, Callable[[], object]]:
    """The two processes, each run to its end with its output thrown away."""
    path = directory / "flags.yaml"
    path.write_text(FLAGS_TEXT.format(key=KEY, percent=PERCENT))
    command = str(Path(sys.executable).with_name("rollout"))
    explain = [command, "explain", KEY, "--unit", "hello", "--file", str(path)]
    imports = [sys.executable, "-c", "import click, yaml, mmh3"]
    quietly = partial(subprocess.run, check=True, cwd=tempfile.gettempdir(), capture_output=True)
    return {EXPLAIN: partial(quietly, explain), IMPORTS: partial(quietly, imports)}
