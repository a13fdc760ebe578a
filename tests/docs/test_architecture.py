"""The picture of the arrows in ARCHITECTURE.md is what `lint-imports` checks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = {"deploy": "deploy", "orchestrator": "deploy.orchestrator", "plan": "deploy.plan"}


def _drawn(name: str) -> list[set[str]]:
    """The layers of a picture, from the top: the names between two arrows."""
    section = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## Import arrows")[2]
    picture = section.split("```")[1] + section.split("```")[3]
    found = re.search(rf"^{name}:((?:.*\n)(?:\s+─►.*\n)*)", picture, re.MULTILINE)
    assert found, f"no picture of {name}"
    return [set(re.findall(r"[a-z_]+", layer)) for layer in found[1].split("─►") if layer.strip()]


def _checked(container: str) -> list[set[str]]:
    """The layers of the contract about it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if contract.get("containers") == [container]:
            return [set(re.findall(r"[a-z_]+", layer)) for layer in contract["layers"]]
    raise AssertionError(f"no contract about {container}")


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_a_picture_shows_the_layers_that_are_checked(name: str) -> None:
    assert _drawn(name) == _checked(PICTURES[name])


def test_the_guide_has_a_promise_for_every_law() -> None:
    laws = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## The laws of a deploy")[2]
    numbers = re.findall(r"^(\d+)\. ", laws.partition("\n## ")[0], re.MULTILINE)
    guide = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    promised = guide.partition("## What a deploy promises")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (\d+) \|", promised, re.MULTILINE) == numbers
