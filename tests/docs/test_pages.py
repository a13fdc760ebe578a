"""What the pages say of options, messages, links and packages is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from deploy.cli import cli
from deploy.commands.words import run_options
from tests.worlds.outside import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
FROM_FLYCTL = (ROOT / "docs" / "from-flyctl.md").read_text("utf-8")
TROUBLE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
# Where these are shown, it is in words of fly's own.
OF_FLY = {"--build-only", "--push", "--image-label", "--stage"}


def known_options() -> set[str]:
    found: set[str] = set()
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        params = command.params if command and name != "run" else run_options().params
        found |= {option for param in params for option in (*param.opts, *param.secondary_opts)}
    return found


def test_every_option_that_the_flyctl_page_offers_exists() -> None:
    rows = re.findall(r"^\| `(.*?) \| (.*?) \|$", FROM_FLYCTL, re.MULTILINE)
    offered = {option for _, ours in rows for option in re.findall(r"--[a-z][a-z-]+", ours)}
    assert offered - OF_FLY <= known_options() | {"--no-ha"}


def test_a_flyctl_option_that_is_ours_under_its_own_name_is_on_the_page() -> None:
    table = FROM_FLYCTL.partition("## Options")[2].partition("## Keys")[0]
    both = {"--strategy", "--max-unavailable", "--wait-timeout", "--env", "--image", "--regions"}
    for option in both:
        assert f"`{option}`" in table


@cache
def literals() -> tuple[str, ...]:
    """Every text in the programs, with `{}` for what is put into it."""
    return tuple(_literals())


def _literals() -> Iterator[str]:
    for package in ("deploy", "rollout", "tidegate"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [
                        str(each.value) if isinstance(each, ast.Constant) else "{}"
                        for each in node.values
                    ]
                    yield "".join(parts)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_every_message_that_troubleshooting_explains_is_one_of_ours() -> None:
    texts = "\n".join(literals()).replace("{}", "rollout")
    rows = re.findall(r"^\| (`.*?) \| .*? \| .*? \|$", TROUBLE, re.MULTILINE)
    messages = [text for cell in rows for text in re.findall(r"`([^`]+)`", cell)]
    assert len(messages) > 15
    theirs = {"(429)", "is critical: HTTP 503", "curl", "$PORT"}  # servers' words and programs
    for message in set(messages) - theirs:
        assert message in texts, message


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_to_a_page_and_a_heading_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), target
        if anchor and aim.suffix == ".md":
            assert anchor in anchors(aim.read_text("utf-8")), target


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_installs_a_package_that_is_not_published(page: Path) -> None:
    for line in page.read_text("utf-8").splitlines():
        found = re.search(r"(?:pipx?|uv tool|uv pip) install (\S+)(.*)", line)
        if found and "tidegate" in found[0]:
            assert "git+REPOSITORY@COMMIT" in found[0], line
