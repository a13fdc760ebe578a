"""The guide's commands are run as written, and print what it says they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.rollout.repo import ENVIRONMENT, Repo

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "rollout.md"

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_END = "--end-of-output--"


class Shown(NamedTuple):
    """A command of the guide with its line, and what the guide says it prints."""

    line: int
    command: str
    output: str


def shown(text: str) -> list[Shown]:
    """Every command in the console blocks, in order."""
    found: list[Shown] = []
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        for row in block[1].splitlines():
            line += 1
            if row.startswith("$ "):
                found.append(Shown(line, row[2:], ""))
            elif found[-1].command.endswith("\\"):
                last = found.pop()
                found.append(last._replace(command=f"{last.command}\n{row.removeprefix('> ')}"))
            else:
                last = found.pop()
                found.append(last._replace(output=f"{last.output}{row}\n"))
    return found


def printed(commands: list[str], directory: Path) -> list[str]:
    """What the commands print, one after the other in one shell."""
    script = "".join(f"{command}\nstatus=$?; echo {_END}; (exit $status)\n" for command in commands)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "GITHUB_"))}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env=clean | ENVIRONMENT | {"PATH": path, "PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
    )
    return done.stdout.split(f"{_END}\n")[:-1]


def run_guide(text: str, directory: Path) -> list[tuple[Shown, str]]:
    """Each command with what it printed, in a repository that holds the flags it shows."""
    commands = shown(text)
    flags = next((c.output for c in commands if c.command == "cat flags.yaml"), "")
    # Not the shipped file: a bump of that must break no test.
    Repo(directory).commit({"flags.yaml": flags})
    return list(zip(commands, printed([c.command for c in commands], directory), strict=True))


def test_every_command_prints_what_the_guide_says(tmp_path: Path) -> None:
    for command, output in run_guide(GUIDE.read_text(), tmp_path):
        assert output == command.output, f"docs/rollout.md:{command.line}: $ {command.command}"


def test_the_walk_has_a_whole_week() -> None:
    commands = " ".join(command.command for command in shown(GUIDE.read_text()))
    for word in ("ramp", "schedule", "diff", "pause", "resume", "kill", "check", "explain"):
        assert f"rollout {word}" in commands


def test_a_guide_that_is_wrong_is_found_out(tmp_path: Path) -> None:
    text = "```console\n$ echo a \\\n> b\nc\n$ false\n$ echo $?\n1\n```\n"
    found = run_guide(text, tmp_path)
    assert [output for _, output in found] == ["a b\n", "", "1\n"]
    assert [command.output for command, _ in found] == ["c\n", "", "1\n"]
