"""Building the image of a deploy, before anything of the deploy begins.

No lease is held meanwhile and no pass is spent: the deploy starts with an image that is
there, named by its digest, so that an image that has not changed is no change.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from deploy.commands.folded import Folded, fold
from deploy.commands.order import Order
from deploy.commands.starting import new_id
from deploy.commands.target import Target
from deploy.errors import BuildFailed, Interrupted, UsageProblem
from deploy.flytoml.appconfig import BuildSection
from deploy.images.build import INSTALL, build
from deploy.images.engine import Engine, EngineGone, EngineRefused, find_engine
from deploy.images.login import FLY, login
from deploy.images.push import push
from deploy.images.recipe import Recipe

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FLY_RUNS = "linux/amd64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A build as it was asked for, for one deploy."""

    deploy_id: str
    recipe: Recipe
    repository: str
    pushes: bool
    token: str

    @property
    def tag(self) -> str:
        return f"deployment-{self.deploy_id}"

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.tag}"


def build_of(target: Target, order: Order, options: Mapping[str, Any]) -> Build | None:
    """What to build: by --build, or where fly.toml says how and no image is named; else None."""
    if not _is_asked_for(target, order, options):
        _refuse_without_build(options)
        return None
    pushes = not options["build_only"] if options["pushes"] is None else options["pushes"]
    registry = options["registry"].rstrip("/")
    return Build(
        deploy_id=new_id(datetime.now(UTC)),
        recipe=_recipe(target, options, platform=_FLY_RUNS if pushes and registry == FLY else ""),
        repository=f"{registry}/{target.app.lower()}",
        pushes=pushes,
        token=target.token,
    )


def _is_asked_for(target: Target, order: Order, options: Mapping[str, Any]) -> bool:
    """Raises UsageProblem where an image is named, too."""
    is_asked = options["build"] is not None or options["build_only"]
    if order.image and is_asked:
        raise UsageProblem(
            "an image is named, and one is to be built",
            hint="give --build or --image, not both; DEPLOY_IMAGE counts as --image",
        )
    config = target.config
    is_said = config is not None and config.build is not None and not config.image
    return is_asked or (is_said and not order.image)


def _recipe(target: Target, options: Mapping[str, Any], *, platform: str) -> Recipe:
    """By `[build]` of fly.toml and the options; paths in fly.toml begin where it lies."""
    home = Path(target.config_path).parent if target.config_path else Path(target.directory)
    said = (target.config and target.config.build) or BuildSection()
    context = Path(options["build"] or home)
    return Recipe(
        context=context,
        dockerfile=home / said.dockerfile if said.dockerfile else context / "Dockerfile",
        ignorefile=home / said.ignorefile if said.ignorefile else None,
        target=said.target,
        args={**said.args, **options["build_args"]},
        secrets=options["build_secrets"],
        platform=platform,
        uses_cache=not options["no_cache"],
    )


def build_image(asked: Build) -> str:
    """Build and push it: the name to deploy it by. Raises BuildFailed."""
    began_s = time.monotonic()
    with fold(sys.stderr, os.environ, f"build {asked.reference}") as output:
        image = anyio.run(_build_unless_told, asked, output)
    verb = "pushed" if asked.pushes else "built"
    output.say_for_good(f"{verb} {image} ({time.monotonic() - began_s:.1f} s)")
    return image


async def _build_unless_told(asked: Build, output: Folded) -> str:
    """A signal ends the build, and nothing has begun. Raises Interrupted."""
    image = ""

    async def on_signal() -> None:
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            number = await anext(signals)
            name = signal.Signals(number).name
            raise Interrupted(
                f"interrupted by {name} while the image was built; nothing is deployed"
            )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(on_signal)
        image = await _build(asked, output)
        tasks.cancel_scope.cancel()
    return image


async def _build(asked: Build, output: Folded) -> str:
    address = find_engine(os.environ)
    async with Engine(address) as engine:
        try:
            await engine.call("GET", "/info")
        except (EngineGone, EngineRefused) as error:
            raise BuildFailed(
                f"no image was built: no Docker engine answers at {address}: {error}", hint=INSTALL
            ) from None
        image_id = await build(
            asked.recipe, asked.reference, engine=address, environ=os.environ, say=output.say
        )
        if not asked.pushes:
            return image_id
        who = await login(asked.repository, asked.token, os.environ)
        digest = await push(engine, asked.repository, asked.tag, who, say=output.say)
        return f"{asked.repository}@{digest}"


def _refuse_without_build(options: Mapping[str, Any]) -> None:
    """Raise UsageProblem for an option of a build where nothing is built."""
    options_of_build = ("build_args", "build_secrets", "no_cache", "pushes")
    if given := [name for name in options_of_build if options[name]]:
        option = "--push" if given[0] == "pushes" else f"--{given[0].rstrip('s').replace('_', '-')}"
        raise UsageProblem(f"{option} is about a build, and nothing is built", hint="add --build")
