"""The clients in other languages, pinned, from their registries into places of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parent / "clients"
GO = "TIDEGATE_GO_CLIENTS"
"""Set to build the clients in Go, which takes a minute or two when nothing is cached."""


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JavaScript clients, pinned, from the registry into a place of their own."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    place = tmp_path_factory.mktemp("clients")
    for path in CLIENTS.glob("*.*"):
        shutil.copy(path, place)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm could not install the clients: {str(error.stderr)[-300:]}")
    return place


@pytest.fixture(scope="session")
def go_clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the programs `flagd` and `ofrep`."""
    if not os.environ.get(GO):
        pytest.skip(f"{GO} is not set: building the clients in Go takes a minute or two")
    if not shutil.which("go"):
        pytest.skip("go is not installed")
    place = tmp_path_factory.mktemp("go")
    for name in ("flagd", "ofrep"):
        command = ["go", "build", "-o", str(place / name), "."]
        try:
            subprocess.run(command, cwd=CLIENTS / "go" / name, check=True, capture_output=True)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"go could not build the client {name}: {error.stderr.decode()[-300:]}")
    return place
