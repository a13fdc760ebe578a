"""Machines as a deploy sees them: frozen values, no input or output.

The words are Fly.io's: a machine belongs to an app and, by its metadata, to a
process group; each write mints a new `version` of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

# The states of the Machines API. A transient state leads to a resting one by itself.
RESTING = frozenset({"created", "started", "stopped", "suspended", "failed"})
TRANSIENT = frozenset(
    {
        "creating",
        "starting",
        "stopping",
        "restarting",
        "suspending",
        "updating",
        "replacing",
        "destroying",
        "launch_failed",
    }
)
TERMINAL = frozenset({"destroyed", "replaced", "migrated"})

# Groups that the platform's own tools run beside an app; never part of a deploy.
RESERVED_GROUPS = frozenset(
    {"fly_app_release_command", "fly_app_test_machine_command", "fly_app_console"}
)

CheckStatus = Literal["passing", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Check:
    """The last result of one health check; `output` is what the app answered."""

    name: str
    status: str
    output: str = ""

    def __str__(self) -> str:
        said = " ".join(self.output.split())[:200] or "no output"
        return f"check {self.name} is {self.status}: {said}"


@dataclass(frozen=True, slots=True)
class Exit:
    """One end of the machine's main process; `at_ms` is Unix milliseconds by the server's clock."""

    code: int
    at_ms: int
    oom_killed: bool = False
    requested: bool = False

    @property
    def is_bad(self) -> bool:
        """Nobody asked for it, and it was not a clean 0."""
        return not self.requested and (self.code != 0 or self.oom_killed)

    @property
    def reason(self) -> str:
        return "out of memory" if self.oom_killed else f"exit code {self.code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine at one look.

    `config` is the configuration as the server returned it (normalised: never
    compare it with one that was sent). `exits` are those of its present version,
    newest first; `failure` is why the platform could not bring it up.
    """

    id: str
    state: str
    name: str = ""
    region: str = ""
    version: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    exits: tuple[Exit, ...] = ()
    failure: str = ""
    cordoned: bool = False
    host_status: str = "ok"
    incomplete: bool = False
    private_ip: str = ""
    updated_at: str = ""
    nonce: str = ""

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.config.get("metadata") or {}

    @property
    def image(self) -> str:
        return str(self.config.get("image") or "")

    @property
    def group(self) -> str:
        return self.metadata.get("fly_process_group", "")

    @property
    def is_managed(self) -> bool:
        """Whether a deploy may touch it: made by a platform tool, and not a helper of one."""
        return (
            self.metadata.get("fly_platform_version") == "v2"
            and bool(self.group)
            and self.group not in RESERVED_GROUPS
            and not self.is_going
        )

    @property
    def is_going(self) -> bool:
        """Whether it is gone, or being destroyed: nothing brings it back, and nobody waits for it.

        A process takes until its kill_timeout to end; until then the platform lists it.
        """
        return self.state in TERMINAL or self.state == "destroying"

    @property
    def configured_checks(self) -> int:
        """How many health checks its configuration asks for."""
        services = self.config.get("services") or ()
        of_services = sum(len(service.get("checks") or ()) for service in services)
        return of_services + len(self.config.get("checks") or {})

    @property
    def checks_pass(self) -> bool:
        """Every configured check has a result and passes; no result is not a pass."""
        return len(self.checks) >= self.configured_checks and all(
            check.status == "passing" for check in self.checks
        )

    @property
    def is_dead(self) -> bool:
        """Its host does not answer: nothing can be written to it, and nobody knows how it does."""
        return self.host_status == "unreachable"

    @property
    def is_out_of_reach(self) -> bool:
        """It is dead, or its host hides the configuration that an update must send back."""
        return self.is_dead or self.incomplete

    @property
    def is_whole(self) -> bool:
        """Whether its configuration is all there, so that another machine can be given it."""
        return bool(self.image) and not self.incomplete

    @property
    def is_serving(self) -> bool:
        in_rotation = self.state == "started" and not self.cordoned
        return in_rotation and self.checks_pass and not self.is_out_of_reach

    @property
    def may_end(self) -> bool:
        """Whether it may do its work and stop: nothing to serve or check, and never restarted."""
        serves = bool(self.config.get("services")) or self.configured_checks > 0
        return not serves and (self.config.get("restart") or {}).get("policy") == "no"

    @property
    def is_down(self) -> bool:
        """Not running by its own bad exit, which nobody asked for: it is to be brought up again."""
        ended_badly = bool(self.exits) and self.exits[0].is_bad
        return self.state == "failed" or (self.state == "stopped" and ended_badly)

    @property
    def is_asleep(self) -> bool:
        """Stopped or suspended by the platform for want of traffic, which counts as running."""
        autostop = any(
            service.get("autostop") not in (None, False, "off")
            for service in self.config.get("services") or ()
        )
        return autostop and self.state in ("stopped", "suspended") and not self.is_down

    @property
    def is_well(self) -> bool:
        """Whether it does what it is there for: it runs and its checks pass, or it need not run."""
        is_up = self.state == "started" and not self.is_out_of_reach
        return (is_up and self.checks_pass) or self.is_asleep or self.has_ended_well

    @property
    def trouble(self) -> str:
        """Why it is not well, in words; empty where it is."""
        if self.is_well:
            return ""
        if self.failure:
            return self.failure
        if self.exits and not self.exits[0].requested and self.state != "started":
            return f"exited: {self.exits[0].reason}"
        failing = next((check for check in self.checks if check.status != "passing"), None)
        if self.state == "started" and failing is not None:
            return str(failing)
        if self.is_out_of_reach:
            return f"its host is {self.host_status}"
        return self.state if self.state != "started" else "no check results"

    @property
    def has_ended_well(self) -> bool:
        """It did its work and stopped, which it may."""
        return (
            self.state == "stopped"
            and self.may_end
            and bool(self.exits)
            and not self.exits[0].is_bad
            and not self.exits[0].requested
        )


@dataclass(frozen=True, slots=True)
class AppInfo:
    """An app as the platform describes it.

    `organization` is the slug of its owner, empty where the server does not say;
    `machine_count` counts its machines, those of other tools included, None where the
    server does not.
    """

    organization: str
    machine_count: int | None


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease on one machine as the platform describes it; `expires_at` is in Unix seconds.

    `granted_s` is how long it had to live when it was answered, by the server's
    own clock; None where the answer has no date.
    """

    nonce: str
    expires_at: int
    owner: str = ""
    description: str = ""
    granted_s: float | None = None


@dataclass(frozen=True)
class Fleet:
    """The machines of an app at one look, in the order of their ids."""

    machines: tuple[Machine, ...] = ()

    @classmethod
    def of(cls, machines: Iterable[Machine]) -> Fleet:
        return cls(tuple(sorted(machines, key=lambda machine: machine.id)))

    def __iter__(self) -> Iterator[Machine]:
        return iter(self.machines)

    def __len__(self) -> int:
        return len(self.machines)

    @cached_property
    def by_id(self) -> dict[str, Machine]:
        return {machine.id: machine for machine in self.machines}

    @cached_property
    def managed(self) -> Fleet:
        return Fleet(tuple(machine for machine in self.machines if machine.is_managed))

    def group(self, name: str) -> Fleet:
        return Fleet(tuple(machine for machine in self.machines if machine.group == name))
