"""docs/fly-toml.md says of each key what happens to it; here it is tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.flytoml.appconfig import AppConfigProblem, parse
from tests.worlds.outside import ROOT

PAGE = (ROOT / "docs" / "fly-toml.md").read_text(encoding="utf-8")
MOUNT = '[mounts]\nsource = "data"\ndestination = "/data"\n'
SERVICE = "[[services]]\ninternal_port = 80\n"
WARNED = {
    "container": 'container = "app"',
    "build.builder": '[build]\nbuilder = "x"',
    "build.buildpacks": '[build]\nbuildpacks = ["x"]',
    "build.builtin": '[build]\nbuiltin = "x"',
    "build.settings": "[build.settings]\nx = 1",
    "build.compression": '[build]\ncompression = "x"',
    "build.compression_level": "[build]\ncompression_level = 1",
    "deploy.seed_command": '[deploy]\nseed_command = "x"',
    "services.script_checks": f'{SERVICE}[[services.script_checks]]\ncommand = "x"',
    "restart_limit": '[checks.a]\ntype = "tcp"\nport = 1\nrestart_limit = 3',
    "mounts.initial_size": f'{MOUNT}initial_size = "3gb"',
    "mounts.snapshot_retention": f"{MOUNT}snapshot_retention = 7",
    "mounts.scheduled_snapshots": f"{MOUNT}scheduled_snapshots = true",
}
REFUSED = {
    "machine_config": 'machine_config = "x"',
    "build.compose": "[build.compose]\nbuild = true",
    "experimental.machine_config": '[experimental]\nmachine_config = "x"',
}


def rows(word: str) -> set[str]:
    """The keys that the page marks with the word."""
    found = re.findall(rf"^\| (.*?) \| {word}\b", PAGE, re.MULTILINE)
    return {key for cell in found for key in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize(("word", "tried"), [("warned", WARNED), ("refused", REFUSED)])
def test_the_page_names_exactly_the_keys_that_are_tried(word: str, tried: dict[str, str]) -> None:
    assert rows(word) == set(tried)


@pytest.mark.parametrize("key", WARNED)
def test_a_warned_key_can_be_deployed_and_is_named(key: str) -> None:
    (warning,) = parse(WARNED[key]).warnings
    assert key.rpartition(".")[2] in warning
    assert "it would " in warning


@pytest.mark.parametrize("key", REFUSED)
def test_a_refused_key_stops_before_anything_is_sent(key: str) -> None:
    with pytest.raises(AppConfigProblem):
        parse(REFUSED[key])


def test_every_key_that_is_done_is_read_somewhere() -> None:
    source = "".join(path.read_text() for path in Path(ROOT / "deploy" / "flytoml").glob("*.py"))
    for key in rows("done"):
        assert f'"{key.rpartition(".")[2]}"' in source, key
