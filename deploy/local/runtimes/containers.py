"""Machines as containers of the Docker engine on this computer.

A machine is its image, with a network address of its own, so that its app listens
on the port that `fly.toml` names. Each life of a machine is a container, which is
removed at its end (`container`). What is ours in the engine, and what a platform that
was killed has left there, is known by its labels (`ownership`).
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import anyio

from deploy.errors import UsageProblem
from deploy.images.engine import Engine, EngineGone, EngineRefused
from deploy.images.login import header, login
from deploy.local.background import HasTasks
from deploy.local.config import Config
from deploy.local.runtime import CannotStart, Spec
from deploy.local.runtimes.container import Container
from deploy.local.runtimes.container_config import container_config, files_as_tar, unreadable_file
from deploy.local.runtimes.ownership import PLATFORM, Owner, forget_left_over, is_left_over

AT_ONCE = 8  # containers that are made or removed at once: more only queue in the engine
PULL_IDLE_S = 60.0  # a registry that says nothing for so long says nothing more
_IMAGE = re.compile(r"[A-Za-z0-9][\w.:/@+-]{0,500}", re.ASCII)
_ASK_AGAIN_S = 0.5
_REMOVED_WITHIN_S = 20.0


class ContainerRuntime(HasTasks):
    """Runs machines in an engine; leaving the context removes all that it made there."""

    def __init__(
        self, engine: Engine, *, state: Path | None = None, engine_back_s: float = 30.0
    ) -> None:
        self.engine = engine
        self._engine_back_s = engine_back_s  # for one that restarts, until a machine cannot start
        self._owner = Owner(state)
        self._network = f"tidegate-{self._owner.id}"
        self._cpus = 1
        self._architecture = ""
        self._pulls: dict[str, Pull] = {}
        self._places: anyio.CapacityLimiter

    async def __aenter__(self) -> Self:
        self._places = anyio.CapacityLimiter(AT_ONCE)
        self._own()
        try:
            about = await self.engine.call("GET", "/info")
            self._cpus, self._architecture = about["NCPU"], about["Architecture"]
            await self._remove_all(left_over=True)
            forget_left_over()
            network = {"Name": self._network, "Labels": self._owner.labels}
            await self.engine.call("POST", "/networks/create", json=network)
        except (EngineGone, EngineRefused) as error:
            await self._let_go()
            why = "refuses" if isinstance(error, EngineRefused) else "does not answer"
            raise UsageProblem(
                f"the Docker engine at {self.engine.address} {why}: {error}",
                hint="start Docker, or name its socket in DOCKER_HOST, or use --runtime process",
            ) from None
        return await super().__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        with anyio.CancelScope(shield=True):
            with suppress(EngineGone, EngineRefused):
                await self._remove_all(left_over=False)
            await self._let_go()
        return await super().__aexit__(*error)

    def _own(self) -> None:
        try:
            self._owner.__enter__()
        except OSError as error:
            raise UsageProblem(
                f"containers cannot be kept track of: {error.filename}: {error.strerror}",
                hint="set XDG_STATE_HOME to a directory of yours, or use --runtime process",
            ) from None

    async def _let_go(self) -> None:
        await self.engine.__aexit__()
        self._owner.__exit__()

    def objection(self, config: Config) -> str:
        if not config.image:
            return "config.image is missing: a container needs an image"
        if not _IMAGE.fullmatch(config.image) or ".." in config.image:
            return f"config.image: {config.image[:40]!r} is not an image reference"
        return unreadable_file(config)

    async def has_image(self, image: str) -> bool:
        try:
            is_name = _IMAGE.fullmatch(image) is not None
            return is_name and await self._inspect_image(image) is not None
        except (EngineGone, EngineRefused):
            return False

    async def start(self, spec: Spec) -> Container:
        gone_since_s: float | None = None
        while True:
            try:
                return await self._start(spec)
            except EngineRefused as error:
                if await self.engine.takes_calls():
                    raise CannotStart(_why(error, spec.config.image or "")) from None
                why = str(error)
            except EngineGone as error:
                why = str(error)
            now_s = anyio.current_time()
            gone_since_s = gone_since_s or now_s
            if now_s - gone_since_s > self._engine_back_s:
                raise CannotStart(f"the Docker engine does not answer: {why}")
            await anyio.sleep(_ASK_AGAIN_S)

    # -- starting --------------------------------------------------------------------

    async def _start(self, spec: Spec) -> Container:
        await self._have_image(spec)
        name = f"tidegate-{spec.machine_id}-{secrets.token_hex(3)}"
        try:
            async with self._places:
                config = container_config(spec, self._owner, self._network, cpus=self._cpus)
                await self.engine.call(
                    "POST", "/containers/create", params={"name": name}, json=config
                )
                for directory, archive in files_as_tar(spec.config):
                    path = f"/containers/{name}/archive"
                    where = {"path": directory}
                    await self.engine.call("PUT", path, params=where, content=archive)
                await self.engine.call("POST", f"/containers/{name}/start")
                told = await self.engine.call("GET", f"/containers/{name}/json")
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.remove(name)
            raise
        host = told["NetworkSettings"]["Networks"][self._network]["IPAddress"]
        return Container(
            self.engine, spec, name, host=host, pid=told["State"]["Pid"], remove=self.remove
        )

    async def _have_image(self, spec: Spec) -> None:
        """Pull it unless the engine has it."""
        image = spec.config.image or ""
        about = await self._inspect_image(image)
        if about is None:
            spec.write(f"pulling {image}")
            await self._pulled(image)
            about = await self._inspect_image(image) or {}
        built_for = about.get("Architecture", "")
        if built_for and _MACHINES.get(self._architecture, built_for) != built_for:
            spec.write(f"the image is for {built_for}, and this engine is {self._architecture}")

    async def _inspect_image(self, image: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = await self.engine.call("GET", f"/images/{image}/json")
        except EngineRefused as error:
            if error.status == 404:
                return None
            raise
        return found

    async def _pulled(self, image: str) -> None:
        """Return when it is pulled: one pull for all who wait, and it outlives them."""
        pull = self._pulls.get(image)
        if pull is None:
            pull = self._pulls[image] = Pull()
            self._tasks.start_soon(self._pull, image, pull)
        await pull.is_over.wait()
        if pull.problem:
            if not await self.engine.takes_calls():
                raise EngineGone(pull.problem)
            raise CannotStart(f"could not pull image {image}: {pull.problem}")

    async def _pull(self, image: str, pull: Pull) -> None:
        name, tag = reference(image)
        params = {"fromImage": name, "tag": tag}
        try:
            who = header(await login(name, "", os.environ))
            told = self.engine.progress(
                "/images/create", idle_s=PULL_IDLE_S, params=params, headers=who
            )
            async for _ in told:
                pass
        except (EngineRefused, EngineGone) as error:
            pull.problem = str(error)
        finally:
            del self._pulls[image]
            pull.is_over.set()

    # -- removing --------------------------------------------------------------------

    async def remove(self, container: str) -> None:
        """Kill it, and leave nothing of it; no error where it, or the engine, has gone."""
        params = {"force": "1", "v": "1"}
        with suppress(EngineGone, EngineRefused):
            await self.engine.call(
                "DELETE", f"/containers/{container}", params=params, timeout=_REMOVED_WITHIN_S
            )

    async def _remove_all(self, *, left_over: bool) -> None:
        """All that this platform made, or all that others left that are gone."""

        def goes(thing: Mapping[str, Any]) -> bool:
            labels = thing.get("Labels") or {}
            return is_left_over(labels) if left_over else self._owner.made(labels)

        labelled = {"filters": json.dumps({"label": [PLATFORM]})}
        containers = await self.engine.call(
            "GET", "/containers/json", params={"all": "1"} | labelled
        )

        async def remove(name: str) -> None:
            async with self._places:
                await self.remove(name)

        async with anyio.create_task_group() as tasks:
            for container in filter(goes, containers):
                tasks.start_soon(remove, container["Id"])
        for network in filter(goes, await self.engine.call("GET", "/networks", params=labelled)):
            with suppress(EngineRefused):
                await self.engine.call("DELETE", f"/networks/{network['Id']}")
        volumes = (await self.engine.call("GET", "/volumes", params=labelled))["Volumes"] or ()
        for volume in filter(goes, volumes):
            if left_over or not self._owner.state:
                with suppress(EngineRefused):
                    await self.engine.call("DELETE", f"/volumes/{volume['Name']}")


class Pull:
    """One that is under way; `problem` is why it failed."""

    def __init__(self) -> None:
        self.is_over = anyio.Event()
        self.problem = ""


_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # the kernel's names, and images'


def reference(image: str) -> tuple[str, str]:
    """(name, tag or digest) as a pull takes them."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    head, colon, tag = image.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (image, "latest")


def _why(error: EngineRefused, image: str) -> str:
    if "No command specified" in str(error):
        return f"image {image} names no command, and fly.toml none either: add one to [processes]"
    return str(error)
