"""The story goes on without us: the outcomes of deploys move the percentage, or stop it.

The deploys are simulated, whole, from seeds; the guard is the command.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

from examples.demo.stage import Stage
from tests.simulation.outcomes.deploys import write_records

FLAG = "deploy-retries"
DEPLOYS = 200
_BEGIN_S = 1_795_000_000.0
_AT = "2026-11-20T00:00Z"
_FLAGS = """\
version: 1
flags:
  deploy-retries:
    bucket_by: deploy     # every deploy is drawn
    percent: 10           # <- the number that the guard moves
    inside: 5
    outside: 0
    guard: {min_units: 10}
"""


def tell(stage: Stage) -> None:
    """An act in which the guard advances, and one in which it kills."""
    (stage.directory / "guarded.yaml").write_text(_FLAGS)
    fine = advance(stage)
    (stage.directory / "guarded.yaml").write_text(_FLAGS)
    kill(stage, fine)


def advance(stage: Stage) -> Path:
    stage.heading(f"7. {DEPLOYS} simulated deploys under hiccups; the guard reads their records")
    fine = stage.directory / "fine"
    write_records(fine, stage.directory / "guarded.yaml", _BEGIN_S, range(DEPLOYS))
    ends = _ends(fine)
    many = sum(ends.values())
    stage.claim(f"{many} deploys left their records", many == DEPLOYS, ends)
    failed = ends["outside", True]
    stage.claim(
        f"{failed} on the legacy path failed, none on the retrying one",
        failed > 0 == ends["inside", True],
        ends,
    )
    code, output = _guard(stage, fine)
    stage.claim("the guard advances, exit code 10", code == 10, output)
    moved = "percent: 25 " in (stage.directory / "guarded.yaml").read_text()
    stage.claim("it moved the number from 10 to 25, one line of the file", moved)
    return fine


def kill(stage: Stage, fine: Path) -> None:
    stage.heading("8. The same deploys, with the retrying path broken on purpose")
    broken = stage.directory / "broken"
    shutil.copytree(fine, broken)
    again = [int(r["deploy"][1:]) for r in _records(fine) if r["path"] == "retrying"]
    flags = stage.directory / "guarded.yaml"
    write_records(broken, flags, _BEGIN_S, again, broken=True)
    ends = _ends(broken)
    hit = ends["inside", True]
    stage.claim(f"all {hit} on the retrying path fail now", hit > 0 == ends["inside", False], ends)
    code, output = _guard(stage, broken)
    stage.claim("the guard kills, exit code 20", code == 20, output)
    off = "enabled: false" in flags.read_text()
    stage.claim("it switched the flag off, one line of the file", off)


def _guard(stage: Stage, reports: Path) -> tuple[int, str]:
    command = (
        f"rollout guard {FLAG} --reports {reports.name} --file guarded.yaml --at {_AT} --write"
    )
    code, output = stage.run(command)
    if not stage.console.is_terminal:
        stage.show(output)
    return code, output


def _records(directory: Path) -> list[dict[str, str]]:
    return [json.loads(path.read_text()) for path in sorted(directory.rglob("*.json"))]


def _ends(directory: Path) -> Counter[tuple[str, bool]]:
    """(side, whether it failed) of every deploy, and how many there are."""
    told = [json.loads(path.read_text()) for path in directory.rglob("*.json")]
    return Counter((r["assigned"]["variant"], r["cause"] is not None) for r in told)
