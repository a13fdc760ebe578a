"""What README.md and docs/deploy.md show is run as it stands there, and their commands exist."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest

from deploy.cli import _COMMANDS
from deploy.cli import cli as deploy_cli
from deploy.commands.words import with_command
from rollout.cli import cli as rollout_cli
from tests.docs.test_rollout_guide import Shown, shown
from tests.worlds.outside import BIN, ROOT, clean_environ

README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "deploy.md"
OTHERS = ("from-flyctl", "local", "notify", "troubleshooting")
PAGES = [README, ROOT / "CONTRIBUTING.md", GUIDE, *(ROOT / "docs" / f"{o}.md" for o in OTHERS)]

# A bump of the shipped file must break no test.
FLAGS = """# as flags.yaml begins, and stays when that is bumped
version: 1
flags:
  deploy-retries:
    description: Retry deploy orchestration after platform hiccups.
    owner: release-engineering
    expires: 2099-03-31
    bucket_by: app
    percent: 5            # <- the number to bump
    inside: 5
    outside: 0
"""
# The router may have had to take another port than the one that the guide shows.
CURL = """
curl() { python - <<'END'
import json, os, urllib.request as web
services = f"{os.environ['FLY_FLAPS_BASE_URL']}/local/v1/apps/hello/services"
(service,) = json.load(web.urlopen(services))
print(web.urlopen(f"http://{service['address']}/").read().decode(), end="")
END
}
"""
_BLOCK = re.compile(r"^```(console|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:deploy|rollout) [^`\n]+)`")
_DIFFERS = (
    (r"1m[0-9a-z]{14}", "DEPLOY"),
    (r"01[0-9A-Z]{24}", "VERSION"),
    (r"\b[0-9a-f]{14}\b", "MACHINE"),
    (r"app-\d", "app-N"),
    (r"\d+\.\d s\b", "SOON"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"port \d+", "port"),
    (r"\s+", " "),
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The example and a flags file, where a clone has them."""
    shutil.copytree(ROOT / "examples" / "hello", tmp_path / "examples" / "hello")
    (tmp_path / "flags.yaml").write_text(FLAGS)
    return tmp_path


@pytest.mark.parametrize("page", [README, GUIDE], ids=lambda page: page.name)
def test_the_walk_on_this_computer_goes_as_shown(checkout: Path, page: Path) -> None:
    commands = [c for c in shown(page.read_text()) if not c.command.startswith("rollout")]
    words = [c.command for c in commands]
    assert words[1] == "deploy local up --detach"
    assert words[-1] == "deploy local down"
    try:
        follow(page, commands, checkout)
    finally:  # where a command before its end has failed
        subprocess.run([BIN / "deploy", "local", "down"], env=clean_environ(checkout), check=False)


def test_the_bump_of_the_readme_goes_as_shown(checkout: Path) -> None:
    commands = [c for c in shown(README.read_text()) if c.command.startswith("rollout")]
    assert len(commands) == 3

    follow(README, commands, checkout)

    assert (checkout / "flags.yaml").read_text() == FLAGS.replace("percent: 5", "percent: 10")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_the_page_exists_with_its_options(page: Path) -> None:
    for line in typed(page.read_text()):
        words = shlex.split(line, comments=True)
        stand_ins = {"GROUP=N": "app=1", "COMMAND": "plan", "./status": "."}
        words = [stand_ins.get(word, word) for word in words]
        parse(deploy_cli if words[0] == "deploy" else rollout_cli, words)


def follow(page: Path, commands: list[Shown], checkout: Path) -> None:
    """Run the commands in one shell; each must end with 0 and print the lines that are shown.

    With a port of its own in the place of 4280, which another test may have.
    """
    port = str(free_port())
    script = CURL + "".join(f'{on_port(c.command, port)}\necho "--end-- $?"\n' for c in commands)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=checkout,
        env=clean_environ(checkout) | {"ROLLOUT_FLAGS": str(checkout / "flags.yaml")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    *outputs, rest = re.split(r"^--end-- (?=\d)", done.stdout, flags=re.MULTILINE)
    assert len(outputs) == len(commands), (outputs, rest)
    statuses = [text.split("\n", 1)[0] for text in [*outputs[1:], rest]]
    for number, command in enumerate(commands):
        where = f"{page.name}:{command.line}: $ {command.command}"
        printed = outputs[number].split("\n", 1)[1] if number else outputs[0]
        assert statuses[number] == "0", f"{where}\n{printed}"
        lines = {alike(line) for line in printed.splitlines()}
        for line in command.output.splitlines():
            assert alike(line) in lines, f"{where}\n{printed}"


def on_port(command: str, port: str) -> str:
    if command == "deploy local up --detach":
        return f"{command} --port {port}"
    return command.replace(":4280", f":{port}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def alike(line: str) -> str:
    """The line without what differs from run to run."""
    for pattern, word in _DIFFERS:
        line = re.sub(pattern, word, line)
    return line.strip()


def typed(text: str) -> Iterator[str]:
    """Every `deploy` and `rollout` command of a page, in blocks and within sentences."""
    for kind, block in _BLOCK.findall(text):
        for line in block.replace("\\\n> ", "").replace("\\\n", "").splitlines():
            command = line.removeprefix("$ ") if kind == "console" else line
            if command != line or kind == "sh":
                command = re.split(r" \|\|? | &$|(?<!\S)>", command)[0].strip()
                if command.startswith(("deploy ", "rollout ")):
                    yield command
    yield from _INLINE.findall(text)


def parse(group: click.Group, words: list[str]) -> None:
    """Parse as the command would, and run nothing. Raises click.UsageError."""
    context = click.Context(group, info_name=words[0])
    rest = words[1:] if group is rollout_cli else with_command(words[1:], _COMMANDS)
    if rest and rest[0].startswith("-"):  # --help, --version
        return
    name, command, rest = group.resolve_command(context, rest)
    assert name is not None
    assert command is not None
    while isinstance(command, click.Group):
        context = click.Context(command, info_name=name, parent=context)
        if not rest or rest[0].startswith("-"):
            return
        name, command, rest = command.resolve_command(context, rest)
        assert name is not None
        assert command is not None
    with suppress(click.exceptions.Exit):  # --help
        command.make_context(name, rest, parent=context)
