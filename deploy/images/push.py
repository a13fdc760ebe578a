"""Pushes an image through the engine, again within bounds while the registry has hiccups.

The engine sends only layers that are not there, and repeats each a few times itself. The
login goes to it in a header of the request: on no command line, in no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio

from deploy.errors import BuildFailed
from deploy.images.engine import Engine, EngineGone, EngineRefused
from deploy.images.login import header

Say = Callable[[str], None]

_REFUSED = re.compile(
    r"unauthorized|denied|authentication required|no basic auth|forbidden|insufficient_scope"
    r"|does not exist|invalid reference|name unknown|tag does not exist",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How often a push is tried, and how long a registry may say nothing. Times in seconds."""

    tries: int = 4
    pause_s: float = 2.0  # doubled with each try
    idle_s: float = 60.0
    total_s: float = 300.0  # after which no further try begins


async def push(
    engine: Engine,
    repository: str,
    tag: str,
    login: Mapping[str, str],
    *,
    say: Say,
    bounds: Bounds = Bounds(),
) -> str:
    """The digest under which the registry has it, as sha256:...; raises BuildFailed."""
    registry = repository.partition("/")[0]
    give_up, pause_s, why = anyio.current_time() + bounds.total_s, bounds.pause_s, ""
    for number in range(1, bounds.tries + 1):
        try:
            return await _push(engine, repository, tag, login, say, bounds.idle_s)
        except EngineRefused as error:
            why = str(error)
            if _REFUSED.search(why):
                raise _failed(registry, why, has_login=bool(login)) from None
        except EngineGone as error:
            why = str(error)
        say(f"push {number} of {bounds.tries} failed: {why}")
        if number == bounds.tries or anyio.current_time() + pause_s > give_up:
            break
        await anyio.sleep(pause_s)
        pause_s *= 2
    raise BuildFailed(
        f"the image was built, and could not be pushed to {registry}: {why}",
        hint="look whether the registry is up, and deploy again: layers that are there stay",
    )


async def _push(
    engine: Engine, repository: str, tag: str, login: Mapping[str, str], say: Say, idle_s: float
) -> str:
    path, digest = f"/images/{repository}/push", ""
    progress = engine.progress(path, idle_s=idle_s, params={"tag": tag}, headers=header(login))
    async for told in progress:
        digest = (told.get("aux") or {}).get("Digest") or digest
        if told.get("status") and "progress" not in told:
            say(" ".join(filter(None, (told.get("id"), told["status"]))))
    if not digest:
        raise EngineGone("the engine did not say under which digest")
    return digest


def _failed(registry: str, why: str, *, has_login: bool) -> BuildFailed:
    login = "the login was refused" if has_login else "and no login for it is known"
    hint = (
        "look at FLY_API_TOKEN: it needs the right to deploy this app"
        if has_login
        else f"set FLY_API_TOKEN for registry.fly.io, or `docker login {registry}`"
    )
    return BuildFailed(
        f"the image was built, and {registry} would not take it, {login}: {why}", hint=hint
    )
