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
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(deploy completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -U compinit; compinit -u -D; eval "$(deploy completion zsh)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "deploy completion fish | source"),
}


def completes(shell: str, directory: Path, begun: str, wanted: str) -> bool:
    """Whether what is `wanted` is written once `begun` and a tab were typed."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    words, setup = STARTS[shell]
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
        _type(terminal, f"{setup}; echo rea''dy\n", "ready\n", 30)
        return wanted in _type(terminal, f"{begun}\t", wanted, 15)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def _type(terminal: int, text: str, until: str, within_s: float) -> str:
    """What is written until the words come, as a person sees it."""
    os.write(terminal, text.encode())
    seen, deadline = "", time.monotonic() + within_s
    while time.monotonic() < deadline and until not in _plain(seen):
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
    return _plain(seen)


@pytest.mark.parametrize("shell", STARTS)
def test_a_command_is_completed_in_the_shell(shell: str, tmp_path: Path) -> None:
    assert completes(shell, tmp_path, "deploy rollb", "deploy rollback")


@pytest.mark.parametrize("shell", STARTS)
def test_an_option_is_completed_in_the_shell(shell: str, tmp_path: Path) -> None:
    assert completes(shell, tmp_path, "deploy plan --strat", "deploy plan --strategy")


@pytest.mark.parametrize("shell", STARTS)
def test_a_flag_is_completed_in_the_shell(shell: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "flags.yaml", tmp_path / "flags.yaml")
    assert completes(shell, tmp_path, "rollout explain deploy-r", "rollout explain deploy-retries")


def _plain(written: str) -> str:
    """Without control sequences, and with what is typed over applied."""
    bare = re.sub(r"\x1b(?:\[[0-9;?>=]*[a-zA-Z]|\][^\x07]*\x07|[()=>].?)", "", written)
    while "\x08" in bare:
        bare = re.sub(r"[^\x08]?\x08", "", bare, count=1)
    return bare.replace("\r\n", "\n")
