"""Who pushes and pulls: the token at Fly.io's registry, elsewhere what Docker's client knows.

The token goes to registry.fly.io, and to a registry on this computer; to no other.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio

from deploy.addresses import is_loopback

FLY = "registry.fly.io"
_USER = "x"  # any: the token alone counts


async def login(registry: str, token: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The login that the engine is to use, as its API takes it; empty where there is none."""
    host = registry.partition("/")[0]
    is_told = host == FLY or is_loopback(host.rpartition(":")[0] or host)
    if token and is_told:
        named = {"username": _USER, "password": token}
    else:
        named = await _of_docker(host, environ)
    return {**named, "serveraddress": host} if named else {}


def header(login: Mapping[str, str]) -> dict[str, str]:
    """The header of a request to the engine that carries a login, or that there is none."""
    text = base64.urlsafe_b64encode(json.dumps(dict(login)).encode())
    return {"X-Registry-Auth": text.decode()}


async def _of_docker(host: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What `docker login` has kept: in a credential helper, or in its configuration."""
    home = environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "")) / ".docker"
    try:
        config = json.loads((Path(home) / "config.json").read_text())
        helper = (config.get("credHelpers") or {}).get(host) or config.get("credsStore")
        if helper:
            return await _of_helper(str(helper), host, environ)
        text = base64.b64decode(config["auths"][host]["auth"], validate=True).decode()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    user, _, password = text.partition(":")
    return {"username": user, "password": password.rstrip("\0")}


async def _of_helper(helper: str, host: str, environ: Mapping[str, str]) -> dict[str, str]:
    """https://github.com/docker/docker-credential-helpers: the host goes in, JSON comes out."""
    command = [f"docker-credential-{Path(helper).name}", "get"]
    said = await anyio.run_process(command, input=host.encode(), env=dict(environ), check=False)
    told: dict[str, Any] = json.loads(said.stdout) if said.returncode == 0 else {}
    if not told:
        return {}
    if told["Username"] == "<token>":
        return {"identitytoken": told["Secret"]}
    return {"username": told["Username"], "password": told["Secret"]}
