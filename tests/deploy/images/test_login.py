"""Who a registry is told is pushing."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from deploy.images.login import header, login

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("registry", ["registry.fly.io", "127.0.0.1:5000/team", "localhost:5000"])
async def test_the_token_goes_to_flys_registry_and_to_this_computer(registry: str) -> None:
    told = await login(registry, "fm2_x", {})
    host = registry.partition("/")[0]
    assert told == {"username": "x", "password": "fm2_x", "serveraddress": host}


@pytest.mark.parametrize(
    "registry", ["ghcr.io/me", "registry.fly.io.evil.test", "evil.test/registry.fly.io"]
)
async def test_it_goes_nowhere_else(registry: str, tmp_path: Path) -> None:
    assert await login(registry, "fm2_x", {"HOME": str(tmp_path)}) == {}


async def test_for_another_registry_it_is_what_docker_login_has_kept(tmp_path: Path) -> None:
    auth = base64.b64encode(b"me:pass:word").decode()
    config = {"auths": {"ghcr.io": {"auth": auth}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    told = await login("ghcr.io/me", "fm2_x", {"DOCKER_CONFIG": str(tmp_path)})
    assert told == {"username": "me", "password": "pass:word", "serveraddress": "ghcr.io"}


async def test_or_what_a_credential_helper_says(tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        "#!/bin/sh\nread host\n"
        """echo "{\\"Username\\": \\"me\\", \\"Secret\\": \\"of $host\\"}"\n"""
    )
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "test"}))
    environ = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    told = await login("ghcr.io", "", environ)
    assert (told["username"], told["password"]) == ("me", "of ghcr.io")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"auths": {"ghcr.io": {"auth": "!"}}}'])
async def test_a_configuration_that_makes_no_sense_is_no_login(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert await login("ghcr.io", "fm2_x", {"DOCKER_CONFIG": str(tmp_path)}) == {}


def test_no_login_is_said_too() -> None:
    assert json.loads(base64.urlsafe_b64decode(header({})["X-Registry-Auth"])) == {}
