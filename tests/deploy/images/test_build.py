"""Builds with Docker's own client, with BuildKit and without."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.errors import BuildFailed
from deploy.images.build import build
from deploy.images.recipe import Recipe
from tests.worlds import engines

pytestmark = pytest.mark.anyio

LINES: list[str] = []
READS_ONE = """\
FROM scratch
COPY busybox /bin/sh
COPY busybox /bin/cat
RUN --mount=type=secret,id=token ["/bin/cat", "/run/secrets/token"]
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    engines.write_context(tmp_path, files={"notes": "not for an image"})
    return Recipe(context=tmp_path, dockerfile=tmp_path / "Dockerfile")


@pytest.fixture(scope="session")
def buildkit_path(engine: str) -> str:
    """A PATH whose `docker` builds with BuildKit."""
    environ = {**os.environ, "DOCKER_BUILDKIT": "1", "DOCKER_HOST": engine}
    for directory in os.get_exec_path():
        docker = Path(directory) / "docker"
        if docker.exists():
            asked = subprocess.run(
                [docker, "build", "--help"], env=environ, capture_output=True, check=False
            )
            if asked.returncode == 0 and b"--secret" in asked.stdout:
                return f"{directory}:{os.environ['PATH']}"
    pytest.skip("no docker on the PATH has BuildKit")


async def built(recipe: Recipe, engine: str, **environ: str) -> str:
    LINES.clear()
    tag = f"{engines.REPOSITORY}:built"
    environment = {**os.environ, **environ}
    return await build(recipe, tag, engine=engine, environ=environment, say=LINES.append)


async def test_the_same_recipe_is_the_same_image(recipe: Recipe, engine: str) -> None:
    first = await built(recipe, engine)
    assert first.startswith("sha256:")
    assert await built(recipe, engine) == first
    assert await built(replace(recipe, args={"RELEASE": "v2"}), engine) != first


async def test_without_the_cache_every_layer_is_built_anew(recipe: Recipe, engine: str) -> None:
    await built(recipe, engine)
    await built(replace(recipe, uses_cache=False), engine)
    assert not any("cache" in line.lower() for line in LINES), LINES


async def test_a_secret_is_there_for_its_build_and_in_no_layer(
    recipe: Recipe, engine: str, buildkit_path: str
) -> None:
    recipe.dockerfile.write_text(READS_ONE)
    asked = replace(recipe, secrets={"token": "hush"}, uses_cache=False)
    image = await built(asked, engine, PATH=buildkit_path)
    assert any("hush" in line for line in LINES), LINES
    history = engines.call(engine, "GET", f"/images/{image}/history")
    assert "hush" not in str(history)


async def test_fly_tomls_ignorefile_goes_before_the_contexts_own(
    recipe: Recipe, engine: str, buildkit_path: str
) -> None:
    recipe.dockerfile.write_text("FROM scratch\nCOPY notes /notes\n")
    await built(recipe, engine, PATH=buildkit_path)
    ignore = recipe.context / "ignore"
    ignore.write_text("notes\n")
    with pytest.raises(BuildFailed, match="`docker build` ended with exit code 1"):
        await built(replace(recipe, ignorefile=ignore), engine, PATH=buildkit_path)
    with pytest.raises(BuildFailed, match="there is no "):
        await built(replace(recipe, ignorefile=ignore / "no"), engine, PATH=buildkit_path)


async def test_a_client_without_buildkit_says_what_it_lacks(
    recipe: Recipe, engine: str, tmp_path: Path
) -> None:
    old = tmp_path / "docker"
    old.write_text("#!/bin/sh\necho no such thing\nexit 1\n")
    old.chmod(0o755)
    with pytest.raises(BuildFailed, match="this client has no BuildKit, for --build-secret") as no:
        await built(replace(recipe, secrets={"token": "hush"}), engine, PATH=str(tmp_path))
    assert "buildx" in no.value.hint


async def test_a_dockerfile_that_is_not_there_is_named(recipe: Recipe, engine: str) -> None:
    recipe.dockerfile.unlink()
    with pytest.raises(BuildFailed, match="Dockerfile") as no:
        await built(recipe, engine)
    assert "[build] dockerfile" in no.value.hint
