"""The clients in other languages, pinned, from their registries, kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.rollout.serving.service import TEXT

CLIENTS = Path(__file__).parent / "clients"
GO = "TIDEGATE_GO_CLIENTS"
"""Set to build the clients in Go that are not in the cache, which takes a minute or two."""

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidegate-clients"


def kept(name: str, sources: Iterable[Path], make: Callable[[Path], None]) -> Path:
    """The directory that `make` has filled from these sources, now or in an earlier run."""
    digest = sha256(b"\0".join(path.read_bytes() for path in sorted(sources))).hexdigest()
    place = CACHE / f"{name}-{digest[:16]}"
    if place.is_dir():
        return place
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        made = Path(directory) / name
        made.mkdir()
        make(made)
        try:
            made.rename(place)
        except OSError:  # another worker was first
            if not place.is_dir():
                raise
    return place


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The JavaScript clients and the programs that ask through them."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    return kept("node", CLIENTS.glob("*.*"), install)


def install(place: Path) -> None:
    for path in CLIENTS.glob("*.*"):
        shutil.copy(path, place)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm could not install the clients: {str(error.stderr)[-300:]}")


@pytest.fixture(scope="session")
def go_clients() -> Path:
    """A directory with the programs `flagd` and `ofrep`."""
    return kept("go", (CLIENTS / "go").glob("*/*.*"), build)


def build(place: Path) -> None:
    if not os.environ.get(GO):
        pytest.skip(f"{GO} is not set: building the clients in Go takes a minute or two, once")
    if not shutil.which("go"):
        pytest.skip("go is not installed")
    for name in ("flagd", "ofrep"):
        command = ["go", "build", "-o", str(place / name), "."]
        try:
            subprocess.run(
                command, cwd=CLIENTS / "go" / name, check=True, capture_output=True, timeout=400
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"go could not build the client {name}: {str(error.stderr)[-300:]}")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A flags file with TEXT in it."""
    path = tmp_path / "flags.yaml"
    path.write_text(TEXT)
    return path
