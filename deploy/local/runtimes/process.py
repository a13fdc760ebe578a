"""Machines as operating-system processes.

A machine is its configuration's command, in a session of its own, with a free
port for each port that it would have listened on. Its end is the end of
everything in that session. What an image holds is not known here: the command
runs in the directory that the platform was given.
"""

from __future__ import annotations

import os
import signal as signals
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import anyio
from anyio import to_thread
from anyio.abc import Process

from deploy.local.config import Check, Config
from deploy.local.ports import Ports
from deploy.local.runtime import (
    Address,
    CannotStart,
    Ended,
    HostStatus,
    Report,
    Spec,
    promised_environment,
    written,
)
from deploy.local.runtimes import checks, reaper
from deploy.local.runtimes.listening import listening, listening_is_known
from deploy.local.runtimes.output import Say, say_lines

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - shown, not listened on
_LOOK_FIRST_S, _LOOK_AGAIN_S = 0.05, 1.0  # for where an app listens
_LAST_WORDS_S = 1.0  # for output that is still in the pipe when the process has ended
_KEPT_FROM_MACHINES = frozenset({"FLY_API_TOKEN", "TIDEGATE_LOCAL_TOKEN"})


class ProcessRuntime:
    """Runs machines as processes in `directory`; leaving the context kills those still there."""

    def __init__(self, *, directory: Path) -> None:
        self._directory = directory
        self._ports = Ports()
        self._reaper = Reaper()

    async def __aenter__(self) -> Self:
        self._reaper.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._reaper.end()

    def objection(self, config: Config) -> str:
        if not config.argv:
            return (
                "this machine has no command, and a local machine runs no image: "
                'add one to fly.toml, such as [processes] app = "python app.py", '
                "or set init.cmd in its configuration"
            )
        if "=" in config.argv[0]:
            return f"{config.argv[0][:40]!r} is not a command: set variables under [env]"
        return ""

    async def start(self, spec: Spec) -> LocalProcess:
        ports: dict[int, int] = {}
        try:
            for internal in spec.config.internal_ports:
                ports[internal] = self._ports.take()
            process = await self._spawn(spec, ports)
        except OSError as error:
            self._ports.give_back(ports.values())
            raise CannotStart(f"cannot run {spec.config.argv[0]!r}: {error}") from None
        self._reaper.add(process.pid)
        return LocalProcess(process, ports, say=spec.write, ended=self._forget)

    async def _spawn(self, spec: Spec, ports: Mapping[int, int]) -> Process:
        # env(1) looks the command up and answers 127 or 126, with its own words
        # in the log, when it cannot be run: an exit like any other.
        with anyio.CancelScope(shield=True):
            process = await anyio.open_process(
                ["/usr/bin/env", *spec.config.argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=environment(spec, ports),
                start_new_session=True,
            )
        return process  # noqa: RET504 - to mypy, a scope may swallow what it returns

    def _forget(self, process: LocalProcess) -> None:
        self._reaper.remove(process.pid)
        self._ports.give_back(process.ports.values())


def environment(spec: Spec, ports: Mapping[int, int]) -> dict[str, str]:
    """The platform's own environment, the machine's, and what the platform promises.

    The tokens, Fly.io's and this platform's own, stay out; the promised names win
    over the machine's own.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in _KEPT_FROM_MACHINES}
    promised = promised_environment(spec, ports)
    return {"PYTHONUNBUFFERED": "1", **inherited, **(spec.config.env or {}), **promised}


class LocalProcess:
    """One process and all that it started.

    `ports` maps internal ports to free ones, which the app finds in its environment.
    One that does not look there, and listens on an internal port itself, is found
    there too; only one machine at a time can.
    """

    def __init__(
        self,
        process: Process,
        ports: Mapping[int, int],
        *,
        say: Say,
        ended: Callable[[LocalProcess], None],
    ) -> None:
        self.ports = ports
        self._process = process
        self._say = say
        self._ended = ended
        self._is_over = False
        self._real = dict(ports)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def host_status(self) -> HostStatus:
        return "ok"

    def address(self, internal_port: int) -> Address | None:
        port = self._real.get(internal_port)
        return None if port is None else (LOOPBACK, port)

    def listening(self) -> list[Address]:
        """A port that stands for an internal one is shown as that one, on every address."""
        internal = {port: number for number, port in self.ports.items()}
        return [
            (EVERYWHERE, internal[port]) if port in internal else (host, port)
            for host, port in listening(self.pid)
        ]

    async def wait(self) -> Ended:
        drained, code = anyio.Event(), 0
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read_output, drained)
                tasks.start_soon(self._find_ports)
                code = await self._process.wait()
                self.kill()
                with anyio.move_on_after(_LAST_WORDS_S):
                    await drained.wait()
                tasks.cancel_scope.cancel()
        finally:
            self.kill()
            with anyio.CancelScope(shield=True):
                await self._process.aclose()
            self._is_over = True
            self._ended(self)
        return Ended(code if code >= 0 else 128 - code)

    def signal(self, name: str) -> None:
        with suppress(OSError):
            self._process.send_signal(signals.Signals[name])

    def kill(self) -> None:
        self._signal_all(signals.SIGKILL)

    def freeze(self) -> None:
        self._signal_all(signals.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signals.SIGCONT)

    async def observe(self, check: Check, report: Report) -> None:
        internal = check.port or next(iter(self._real), None)
        if internal is None:
            report("critical", "the check names no port, and the machine has no service")
            return

        async def ask(timeout_s: float) -> checks.Result:
            at = (LOOPBACK, self._real[internal])
            status, output = await checks.probe(check, at, timeout_s=timeout_s)
            if output.startswith(checks.CONNECT_FAILED):
                output = await self._where_instead(internal, output)
            return status, output

        await checks.watch(check, ask, report)

    async def _where_instead(self, internal: int, reason: str) -> str:
        """Why nothing answered: what the app listens on says more than the reason given."""
        asked = f"the check asks {internal} ($PORT_{internal} is {self._real[internal]} here)"
        if not listening_is_known():
            return f"{reason}; {asked}"
        found = await to_thread.run_sync(self.listening)
        where = ", ".join(written(address) for address in found) or "nothing yet"
        return f"connection refused: the app listens on {where}, {asked}"

    async def _find_ports(self) -> None:
        """Until it is known for each internal port where the app really listens."""
        unknown, delay_s = set(self.ports), _LOOK_FIRST_S
        while unknown and listening_is_known():
            found = {port for _, port in await to_thread.run_sync(listening, self.pid)}
            for internal in [internal for internal in unknown if internal in found]:
                self._real[internal] = internal
            unknown -= {internal for internal in unknown if self._real[internal] in found}
            await anyio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LOOK_AGAIN_S)

    def _signal_all(self, signal: signals.Signals) -> None:
        if not self._is_over:
            with suppress(OSError):
                os.killpg(self.pid, signal)

    async def _read_output(self, drained: anyio.Event) -> None:
        if self._process.stdout is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await say_lines(self._process.stdout, self._say)
        drained.set()


class Reaper:
    """The other end of `deploy.local.runtimes.reaper`: keeps its list of process groups true."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        script = str(Path(reaper.__file__))
        self._process = subprocess.Popen(  # noqa: S603 - our own file, by our own interpreter
            [sys.executable, "-I", "-S", script], stdin=subprocess.PIPE, start_new_session=True
        )
        for group in self._groups:
            self._write(f"+{group}")

    def end(self) -> None:
        """Whatever is still on the list is killed."""
        if self._process is not None:
            with suppress(OSError):
                self._process.communicate()
            self._process = None

    def add(self, group: int) -> None:
        self._groups.add(group)
        self._tell(f"+{group}")

    def remove(self, group: int) -> None:
        self._groups.discard(group)
        self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        try:
            self._write(line)
        except OSError:  # somebody killed it: a new one learns the whole list
            self.end()
            self.start()

    def _write(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
