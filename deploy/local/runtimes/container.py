"""One life of one machine, as a container of the Docker engine.

Orders to it are carried out one after another, each bounded. It is over when the engine
says so, when it is gone, or when the task that waits for it is cancelled: then it is removed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import anyio
from anyio import to_thread

from deploy.images.engine import Engine, EngineGone, EngineRefused
from deploy.local.config import Check
from deploy.local.runtime import Address, Ended, HostStatus, Report, Spec, written
from deploy.local.runtimes import checks
from deploy.local.runtimes.listening import listening_beside, listening_is_known
from deploy.local.runtimes.output import say_lines

_ASK_AGAIN_S = 0.5
_DOUBT_S = 1.0  # for an engine to say that it saw the end
_LAST_WORDS_S = 1.0  # for output that is still on its way when the container has ended
_KILLED = Ended(137)
_RESOLVER = "127.0.0.11"  # the engine's own, in every container


Remove = Callable[[str], Awaitable[None]]
"""Kills a container by its name, and leaves nothing of it."""


class Container:
    """One life of one machine, in the engine."""

    def __init__(
        self, engine: Engine, spec: Spec, name: str, *, host: str, pid: int, remove: Remove
    ) -> None:
        self._engine = engine
        self._remove = remove
        self._spec = spec
        self._path = f"/containers/{name}"
        self._name = name
        self._host = host
        self._pid = pid
        self._host_status: HostStatus = "ok"
        self._is_over = False
        self._is_killed = False
        self._ended = _KILLED
        self._orders: deque[tuple[str, dict[str, str]]] = deque()
        self._news = anyio.Event()

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def host_status(self) -> HostStatus:
        """An engine that does not answer is a host that cannot be reached."""
        return self._host_status

    def address(self, internal_port: int) -> Address:
        return self._host, internal_port

    def listening(self) -> list[Address]:
        found = [] if self._is_over else listening_beside(self._pid)
        return [address for address in found if address[0] != _RESOLVER]

    async def wait(self) -> Ended:
        over, drained = anyio.Event(), anyio.Event()
        # Both end by themselves when the container goes; what hangs even then is cut off.
        watching, reading = anyio.CancelScope(shield=True), anyio.CancelScope(shield=True)

        async def watch() -> None:
            with watching:
                self._ended = await self._until_ended()
            over.set()

        async def read() -> None:
            with reading:
                await self._read_output()
            drained.set()

        async with anyio.create_task_group() as tasks:
            for follow in (watch, read, self._obey):
                tasks.start_soon(follow)
            try:
                await over.wait()
                with anyio.move_on_after(_LAST_WORDS_S):
                    await drained.wait()
            finally:
                self._is_over = True
                self._news.set()
                with anyio.CancelScope(shield=True):
                    await self._remove(self._name)
                    with anyio.move_on_after(_LAST_WORDS_S):
                        await over.wait()
                        await drained.wait()
                watching.cancel()
                reading.cancel()
        return self._ended

    def signal(self, name: str) -> None:
        self._order("kill", signal=name)

    def kill(self) -> None:
        self._is_killed = True
        self._order("kill", signal="SIGKILL")

    def freeze(self) -> None:
        self._order("pause")

    def thaw(self) -> None:
        self._order("unpause")

    async def observe(self, check: Check, report: Report) -> None:
        internal = check.port or next(iter(self._spec.config.internal_ports), None)
        if internal is None:
            report("critical", "the check names no port, and the machine has no service")
            return

        async def ask(timeout_s: float) -> checks.Result:
            address = self.address(internal)
            status, output = await checks.probe(check, address, timeout_s=timeout_s)
            if output.startswith(checks.CONNECT_FAILED) and listening_is_known():
                found = await to_thread.run_sync(self.listening)
                where = ", ".join(written(one) for one in found) or "nothing yet"
                output = (
                    f"connection refused: the app listens on {where}, the check asks {internal}"
                )
            return status, output

        await checks.watch(check, ask, report)

    # -- the engine ------------------------------------------------------------------

    def _order(self, verb: str, **params: str) -> None:
        """Orders are carried out one after another: a signal after `thaw` reaches a thawed one."""
        if not self._is_over:
            self._orders.append((verb, params))
            self._news.set()

    async def _obey(self) -> None:
        while not self._is_over:
            self._news = anyio.Event()
            while self._orders:
                verb, params = self._orders.popleft()
                with suppress(EngineGone, EngineRefused):  # it has ended, or was not paused
                    await self._engine.call("POST", f"{self._path}/{verb}", params=params)
            await self._news.wait()

    async def _until_ended(self) -> Ended:
        """How it ended, over any restart of the engine; one that is gone was killed.

        One that ended while the engine did, or was away, went down with its host. An app that
        exited by itself just then looks the same, and is started again whatever its policy
        says: better than to blame an app for its host.
        """
        has_ended = engine_went = False
        while not self._is_over:
            try:
                if not engine_went:
                    await self._engine.wait(self._name)
                    has_ended = True
                    await self._confirm_end()
                state = (await self._engine.call_anew("GET", f"{self._path}/json"))["State"]
                self._host_status = "ok"
                if not state["Running"]:
                    code, oom_killed = state["ExitCode"], state["OOMKilled"]
                    return Ended(code, oom_killed=oom_killed, host_ended=engine_went)
                has_ended = engine_went = False
            except EngineRefused:
                return replace(_KILLED, host_ended=engine_went)
            except EngineGone:
                if has_ended and self._is_killed:
                    return _KILLED  # as was asked, and nobody has to wait for the engine
                engine_went = True
                self._host_status = "unreachable"
                await anyio.sleep(_ASK_AGAIN_S)
        return _KILLED

    async def _confirm_end(self) -> None:
        """Raise EngineGone unless it ended by itself; a host that takes its time is in doubt."""
        with anyio.move_on_after(_DOUBT_S) as soon:
            await self._engine.must_have_seen_end(self._name)
        if soon.cancelled_caught:
            self._host_status = "unknown"
            await self._engine.must_have_seen_end(self._name)

    async def _read_output(self) -> None:
        params = {"follow": "1", "stdout": "1", "stderr": "1"}
        with suppress(EngineGone, EngineRefused):
            async with self._engine.stream("GET", f"{self._path}/logs", params=params) as chunks:
                await say_lines(_payloads(chunks), self._spec.write)


async def _payloads(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What was written, without the engine's frames: 4 bytes of stream, 4 of length, and it."""
    rest = b""
    async for chunk in chunks:
        rest += chunk
        while len(rest) >= 8 and len(rest) >= 8 + (size := int.from_bytes(rest[4:8], "big")):
            yield rest[8 : 8 + size]
            rest = rest[8 + size :]
