"""Where the demo happens: a directory of its own, the platform, and commands as one types them.

Nothing here knows the story. Whatever was started is ended when the stage is
left, however that happens.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
APP = "hello"
COMMAND_LIMIT_S = 60.0
PLATFORM_LIMIT_S = 20.0
_OURS = re.compile(r"FLY_|ROLLOUT_|DEPLOY_|TIDEGATE_|GITHUB_")
_ADDRESS = re.compile(r"listens on (http://\S+)")


class Broken(Exception):
    """The demo cannot go on, or something that it says is not true."""


class Stage:
    """A directory with the app and a copy of flags.yaml, and a screen."""

    def __init__(self, directory: Path, console: Console) -> None:
        self.directory = directory
        self.console = console
        self.environ = _environ(directory)
        self._router: tuple[str, int] | None = None

    def heading(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(text, style="bold"))

    def say(self, text: str, style: str = "dim") -> None:
        self.console.print(Text(f"   {text}", style=style))

    def show(self, output: str) -> None:
        """What a command printed; a terminal has seen it already."""
        for line in output.splitlines():
            self.say(line)

    def claim(self, text: str, holds: bool, seen: object = "") -> None:
        """Say it if it is true; end the demo if it is not."""
        if not holds:
            raise Broken(f"not true: {text}" + (f" (seen: {seen})" if seen != "" else ""))
        self.console.print(Text(f"   {self._tick} {text}", style="green"))

    def typed(self, command: str) -> None:
        self.console.print(Text(f"   $ {command}", style="bold cyan"))

    def run(self, command: str, *, quiet: bool = False) -> tuple[int, str]:
        """Run a command as typed: (exit code, its output). A terminal sees it live, instead."""
        if not quiet:
            self.typed(command)
        live = self.console.is_terminal and not quiet
        words = command.split()
        try:
            done = subprocess.run(  # noqa: S603 - the demo's own commands
                words,
                executable=shutil.which(words[0], path=self.environ["PATH"]),
                cwd=self.directory,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=None if live else subprocess.PIPE,
                stderr=None if live else subprocess.STDOUT,
                text=True,
                timeout=COMMAND_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Broken(f"`{command}` took longer than {COMMAND_LIMIT_S:g} s") from None
        return done.returncode, done.stdout or ""

    def must(self, command: str, *, quiet: bool = False) -> str:
        """Run a command that has to end well."""
        code, output = self.run(command, quiet=quiet)
        if code:
            raise Broken(f"`{command}` ended with exit code {code}\n{output}".rstrip())
        return output

    def deploy(self, command: str, name: str) -> tuple[int, Mapping[str, Any]]:
        """A deploy and its report, which the deploy writes to NAME.json."""
        path = self.directory / f"{name}.json"
        code, output = self.run(f"{command} --report {path.name}")
        if not path.is_file():
            raise Broken(f"`{command}` wrote no report\n{output}".rstrip())
        report: Mapping[str, Any] = json.loads(path.read_text())
        if not self.console.is_terminal:
            self.say(report["decision"]["sentence"])
        return code, report

    def status(self) -> Mapping[str, Any]:
        """What the platform says of the app now."""
        told: Mapping[str, Any] = json.loads(self.must("deploy status --output json", quiet=True))
        return told

    def machines_by_image(self) -> Counter[str]:
        """How many machines run each image, started and passing all their checks."""
        return Counter(
            machine["image"]
            for machine in self.status()["machines"]
            if machine["state"] == "started"
            and all(check["status"] == "passing" for check in machine["checks"])
        )

    def router(self) -> tuple[str, int]:
        """(host, port) where requests for the app go in."""
        if self._router is None:
            address = str(self.status()["routes"][0]["address"])
            parts = urlsplit(f"//{address}")
            self._router = parts.hostname or "", parts.port or 0
        return self._router

    @contextmanager
    def platform(self, options: str) -> Iterator[None]:
        """`deploy local up`, until the end of the block."""
        command = f"deploy local up --port 0 {options}"
        self.typed(f"{command} &")
        log = self.directory / "platform.log"
        with log.open("w") as output:
            process = subprocess.Popen(  # noqa: S603 - the demo's own command
                command.split(),
                executable=shutil.which("deploy", path=self.environ["PATH"]),
                cwd=self.directory,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            address = _wait_for_address(process, log)
            self.environ["FLY_FLAPS_BASE_URL"] = address
            self.typed(f"export FLY_FLAPS_BASE_URL={address}")
            self._router = None
            yield
        finally:
            self.environ.pop("FLY_FLAPS_BASE_URL", None)
            _end(process)
        self.claim("the platform has ended, and every machine with it", not left(self.directory))

    @property
    def _tick(self) -> str:
        encoding = (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "")
        return "\N{CHECK MARK}" if encoding == "utf8" else "ok:"


@contextmanager
def set_up(console: Console) -> Iterator[Stage]:
    """A stage in a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tidegate-demo-") as name:
        directory = Path(name).resolve()
        for source in (*sorted((ROOT / "examples" / APP).glob("*.*")), ROOT / "flags.yaml"):
            shutil.copy(source, directory)
        yield Stage(directory, console)


def left(directory: Path) -> list[int]:
    """Processes that still work in the stage's directory, where /proc can tell."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            inside = (entry / "cwd").resolve(strict=True).is_relative_to(directory)
        except OSError:  # not ours to see, or over already
            continue
        if inside:
            found.append(int(entry.name))
    return found


def _environ(directory: Path) -> dict[str, str]:
    """The user's environment without what would steer a deploy, and with a home of its own."""
    kept = {key: value for key, value in os.environ.items() if not _OURS.match(key)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    home = str(directory / "home")
    return kept | {"PATH": path, "HOME": home, "XDG_STATE_HOME": home, "XDG_CACHE_HOME": home}


def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    give_up = time.monotonic() + PLATFORM_LIMIT_S
    while time.monotonic() < give_up and process.poll() is None:
        if found := _ADDRESS.search(log.read_text()):
            return found.group(1)
        time.sleep(0.02)
    raise Broken(f"the local platform did not start\n{log.read_text()}".rstrip())


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask, ask again, then insist."""
    for number, limit_s in ((signal.SIGINT, 10), (signal.SIGINT, 5), (signal.SIGKILL, 5)):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(limit_s)
            except subprocess.TimeoutExpired:
                continue
