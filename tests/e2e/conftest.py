"""One platform for all tests of a worker; an app of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds.outside import Project, platform, write_project

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with platform(tmp_path_factory.mktemp("platform")) as found:
        yield found


@pytest.fixture
def project(address: str, tmp_path: Path) -> Iterator[Project]:
    """An app of this test alone; its fly.toml names none, so that FLY_APP does."""
    directory = tmp_path / "project"
    write_project(directory)
    mine = Project(directory, f"app{next(_numbers)}x", address)
    yield mine
    mine.remove()
