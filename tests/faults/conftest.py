"""One platform with hiccups for all tests of a worker; an app of its own for each story."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.worlds.outside import Project, platform, write_project

SEED = 20  # of the hiccups: any will do


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = ("--hiccups", "0.1", "--seed", str(SEED))
    with platform(tmp_path_factory.mktemp("platform"), *options) as found:
        yield found


@pytest.fixture
def new_project(address: str, tmp_path: Path) -> Callable[[str], Project]:
    """Makes the directory of an app of that name."""

    def make(app: str) -> Project:
        directory = tmp_path / app
        write_project(directory)
        return Project(directory, app, address)

    return make
