"""Machines as containers where there is something to put into one, and as processes elsewhere."""

from __future__ import annotations

from typing import Self

from deploy.local.config import Config
from deploy.local.runtime import Process, Spec
from deploy.local.runtimes.containers import ContainerRuntime
from deploy.local.runtimes.process import ProcessRuntime


class EitherRuntime:
    """A container for an image that the engine has, or a machine that names no command."""

    def __init__(self, processes: ProcessRuntime, containers: ContainerRuntime) -> None:
        self._processes = processes
        self._containers = containers

    async def __aenter__(self) -> Self:
        await self._containers.__aenter__()
        await self._processes.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._processes.__aexit__(*error)
        await self._containers.__aexit__(*error)

    def objection(self, config: Config) -> str:
        return (self._processes if config.argv else self._containers).objection(config)

    async def start(self, spec: Spec) -> Process:
        image = spec.config.image or ""
        if not spec.config.argv or (image and await self._containers.has_image(image)):
            return await self._containers.start(spec)
        return await self._processes.start(spec)
