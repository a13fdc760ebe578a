"""Completion in the shells themselves, as a person gets it by the tab key."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.worlds.outside import BIN, ROOT, clean_environ

STARTS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$({command} bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -U compinit; compinit -u -D; eval "$({command} zsh)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "{command} fish | source"),
}


def typed(shell: str, directory: Path, begun: str) -> str:
    """What is written once `begun` and a tab were typed."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    words, setup = STARTS[shell]
    command = "deploy completion"
    if begun.startswith("rollout"):
        setup = setup.replace("{command} " + shell, "env {command} rollout")
        command = f"_ROLLOUT_COMPLETE={shell}_source"
    environ = clean_environ(directory) | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PS1": "$ ",
        "TERM": "xterm",
        "HOME": str(directory),
    }
    child, terminal = pty.fork()  # with a terminal of its own, as shells want it
    if child == 0:
        os.chdir(directory)
        os.execvpe(words[0], words, environ)  # noqa: S606 - a shell is what is wanted
    try:
        _type(terminal, f"{setup.format(command=command)}; echo rea''dy\n", "ready\r\n", 30)
        return _type(terminal, f"{begun}\t", "", 5)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def _type(terminal: int, text: str, until: str, within_s: float) -> str:
    """What is written until the words come; without words, in all that time."""
    os.write(terminal, text.encode())
    seen, deadline = "", time.monotonic() + within_s
    while time.monotonic() < deadline and not (until and until in seen):
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
    return seen


@pytest.mark.parametrize("shell", STARTS)
def test_a_command_is_completed_in_the_shell(shell: str, tmp_path: Path) -> None:
    assert "deploy rollback" in _plain(typed(shell, tmp_path, "deploy rollb"))


@pytest.mark.parametrize("shell", STARTS)
def test_an_option_is_completed_in_the_shell(shell: str, tmp_path: Path) -> None:
    assert "deploy plan --strategy" in _plain(typed(shell, tmp_path, "deploy plan --strat"))


@pytest.mark.parametrize("shell", STARTS)
def test_a_flag_is_completed_in_the_shell(shell: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "flags.yaml", tmp_path / "flags.yaml")
    assert "rollout explain deploy-retries" in _plain(
        typed(shell, tmp_path, "rollout explain deploy-r")
    )


def _plain(written: str) -> str:
    """Without control sequences, and with what is typed over applied."""
    bare = re.sub(r"\x1b(?:\[[0-9;?>=]*[a-zA-Z]|\][^\x07]*\x07|[()=>].?)", "", written)
    while "\x08" in bare:
        bare = re.sub(r"[^\x08]?\x08", "", bare, count=1)
    return bare
