"""What stands between the platform and what a machine really is.

The engine knows states, versions and leases; a `Runtime` knows how to bring a
machine to life. The command uses operating-system processes
(`deploy.local.runtimes.process`), tests and the simulator anything that keeps this
contract. Time comes from a `Clock`, waiting from anyio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from deploy.local.config import Check, Config

Clock = Callable[[], float]
"""Now, in Unix seconds. It must agree with anyio's clock on how fast time passes."""

HostStatus = Literal["ok", "unknown", "unreachable"]

CheckStatus = Literal["passing", "warning", "critical"]

Address = tuple[str, int]
"""Host and port."""


def written(address: Address) -> str:
    """HOST:PORT as it stands in a URL."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


Report = Callable[[CheckStatus, str], None]
"""Takes the newest result of one check: its status and what the app answered."""


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything a runtime is told about the machine it brings to life."""

    app: str
    machine_id: str
    name: str
    region: str
    version: str
    config: Config
    write: Callable[[str], None]  # takes each line of the machine's output


def promised_environment(spec: Spec, ports: Mapping[int, int]) -> dict[str, str]:
    """What every machine finds in its environment; `ports` has a real one for each internal one."""
    promised = {
        "FLY_APP_NAME": spec.app,
        "FLY_MACHINE_ID": spec.machine_id,
        "FLY_MACHINE_VERSION": spec.version,
        "FLY_IMAGE_REF": spec.config.image or "",
        "FLY_PROCESS_GROUP": spec.config.group,
        "FLY_REGION": spec.region,
    }
    for internal, port in ports.items():
        promised.setdefault("PORT", str(port))
        promised[f"PORT_{internal}"] = str(port)
    return promised


@dataclass(frozen=True, slots=True)
class Ended:
    """How the main process ended; a death by signal N is exit code 128 + N.

    `host_ended`: its host went down, and took it along. That says nothing about the app.
    """

    exit_code: int
    oom_killed: bool = False
    host_ended: bool = False


class CannotStart(Exception):
    """The machine could not be brought to life at all; the text says why."""


class Process(Protocol):
    """One life of one machine. `kill` may come at any time, more than once."""

    @property
    def pid(self) -> int:
        """Of the main process; 0 where there is none."""

    @property
    def host_status(self) -> HostStatus:
        """Whether the host it runs on can be reached."""

    async def wait(self) -> Ended:
        """Return when the machine has ended and left nothing behind; called once.

        When cancelled it ends the machine first.
        """

    def signal(self, name: str) -> None:
        """Send a signal to the main process; no error when it has ended."""

    def kill(self) -> None:
        """End it, and all that it started, at once."""

    def freeze(self) -> None:
        """Stop it where it stands, for suspend."""

    def thaw(self) -> None:
        """Let it go on after `freeze`."""

    async def observe(self, check: Check, report: Report) -> None:
        """Report each new result of a health check, until cancelled."""

    def address(self, internal_port: int) -> Address | None:
        """Where this computer reaches what the machine serves on an internal port, if anywhere."""

    def listening(self) -> Sequence[Address]:
        """Where it takes TCP connections, as the machine itself sees it; () if unknown."""


class Runtime(Protocol):
    def objection(self, config: Config) -> str:
        """Why no machine could ever run this configuration, as a sentence; "" if one could."""

    async def start(self, spec: Spec) -> Process:
        """Bring a machine to life; returns once its process runs. Raises CannotStart."""
