"""Pushing to registries that are real, and to ones that fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from deploy.errors import EXIT_NOT_BUILT, BuildFailed
from deploy.images.engine import Engine
from deploy.images.push import Bounds, push
from tests.worlds import engines, registries

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("docker_registry")]

QUICK = Bounds(tries=3, pause_s=0.01, idle_s=1.0, total_s=20.0)
LINES: list[str] = []


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def real(tmp_path: Path) -> Iterator[str]:
    with registries.registry(tmp_path) as address:
        yield address


async def push_to(engine: str, registry: str, bounds: Bounds = QUICK, **login: str) -> str:
    """The digest of the test's image, from a registry."""
    LINES.clear()
    repository = f"{registry}/hello"
    params = {"repo": repository, "tag": "v1"}
    await anyio.to_thread.run_sync(
        lambda: engines.call(engine, "POST", f"/images/{engines.IMAGE}/tag", params=params)
    )
    async with Engine(engine) as spoken_to:
        return await push(spoken_to, repository, "v1", login, say=LINES.append, bounds=bounds)


async def test_a_push_answers_the_digest_and_sends_no_layer_twice(engine: str, real: str) -> None:
    digest = await push_to(engine, real)
    assert digest.startswith("sha256:")
    assert any(line.endswith("Pushed") for line in LINES)
    assert await push_to(engine, real) == digest
    assert any(line.endswith("Layer already exists") for line in LINES)
    assert not any(line.endswith("Pushed") for line in LINES)


async def test_a_registry_takes_the_token_and_refuses_another_at_once(
    engine: str, tmp_path: Path
) -> None:
    with registries.registry(tmp_path, token=registries.TOKEN) as address:
        assert await push_to(engine, address, username="x", password=registries.TOKEN)
        with pytest.raises(BuildFailed, match="the login was refused") as wrong:
            await push_to(engine, address, username="x", password="no" + registries.TOKEN)
        with pytest.raises(BuildFailed, match="no login for it is known"):
            await push_to(engine, address)
    assert wrong.value.exit_code == EXIT_NOT_BUILT
    assert not any("push 2" in line for line in LINES)


async def test_a_registry_that_is_over_its_limit_is_asked_again_within_bounds(engine: str) -> None:
    with registries.answering(429) as limited:
        with pytest.raises(BuildFailed, match="could not be pushed to 127"):
            await push_to(engine, limited.address)
        assert [line for line in LINES if line.startswith("push ")][-1].startswith("push 3 of 3")
        assert limited.asked >= 3


async def test_a_registry_that_hangs_is_given_up(engine: str) -> None:
    bounds = Bounds(tries=2, pause_s=0.01, idle_s=0.5)
    with (
        registries.silent() as address,
        anyio.fail_after(20),
        pytest.raises(BuildFailed, match="it did not answer in time"),
    ):
        await push_to(engine, address, bounds)


async def test_a_registry_that_dies_in_the_middle_of_a_layer_is_sent_it_again(
    engine: str, real: str
) -> None:
    """The engine waits five seconds before it does."""
    patient = Bounds(tries=3, pause_s=0.01, idle_s=15.0)
    with registries.cutting(real) as way:
        assert (await push_to(engine, way.address, patient)).startswith("sha256:")
        assert way.cuts_left == 0


async def test_an_engine_that_goes_away_is_a_build_that_failed(tmp_path: Path) -> None:
    async with Engine(f"unix://{tmp_path}/none.sock") as gone:
        with pytest.raises(BuildFailed, match="could not be pushed"):
            await push(gone, "r.test/hello", "v1", {}, say=LINES.append, bounds=QUICK)
