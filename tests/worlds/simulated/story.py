"""A simulated deploy as values: what it is to be, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from deploy.events import Event, PassStarted, RunFinished, to_json, to_line
from deploy.flytoml.appconfig import AppConfig, parse
from deploy.plan.release import Release
from tests.worlds.advice import Advice
from tests.worlds.simulated.faults import Rule
from tests.worlds.simulated.habits import NO_HABITS, Habits
from tests.worlds.simulated.transport import Call

APP = "sim"
OLD, NEW = "registry.test/hello:1", "registry.test/hello:2"
BROKEN = "registry.test/hello:2-bad"

USUAL_LATENCY_S = (0.002, 0.03)
_SETTLES_S = 150.0

WEB = """
app = "sim"
[processes]
  web = "serve"
[http_service]
  internal_port = 8080
  processes = ["web"]
  [[http_service.checks]]
    path = "/health"
    interval = "2s"
"""
_ONE_GROUP = WEB + '[env]\n  RELEASE = "{release}"\n'
CHECKED = """
[[machine_checks]]
  command = ["probe"]
  image = "registry.test/probe:{word}"
"""
_TWO_GROUPS = _ONE_GROUP.replace('web = "serve"', 'web = "serve"\n  worker = "work"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that a simulated deploy depends on.

    `machines` per group before the deploy, 0 for a first deploy; `cold` of them
    do not run. `dies_at` is (n-th call of the run, whether just after it).
    """

    seed: int = 0
    strategy: str = "rolling"
    retries: int = 3
    machines: int = 3
    groups: int = 1
    cold: int = 0
    old: str = OLD
    new: str = NEW
    rules: tuple[Rule, ...] = ()
    max_unavailable: Decimal | int = Decimal("0.33")
    wait_timeout_s: float = 20.0
    smoke_s: float = 2.0
    lease_ttl_s: int = 13
    wait_for_lease_s: float = 0.0
    settles_s: float = _SETTLES_S
    latency_s: tuple[float, float] = USUAL_LATENCY_S  # of a message, one way, least and most
    cpu_s: tuple[float, float] = (0.0, 0.0)  # what a request costs the client, least and most
    habits: Habits = NO_HABITS
    machine_checks: str = ""  # what the machine of a check for every group does, such as `exit0`

    @property
    def config(self) -> AppConfig:
        checks = CHECKED.format(word=self.machine_checks) if self.machine_checks else ""
        return parse(app_text(self.groups, "2") + checks)

    def release(self, deploy_id: str) -> Release:
        return Release(
            app=APP,
            deploy_id=deploy_id,
            image=self.new,
            groups=self.config.groups,
            strategy=self.strategy,
            max_unavailable=self.max_unavailable,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A machine as it really is, at one moment."""

    id: str
    name: str
    group: str
    image: str
    state: str
    cordoned: bool
    version: str
    config: Mapping[str, Any]
    lease: str  # the description of the lease in force, or ""
    serves: bool


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of the orchestrator; `error` is what it raised, which it never should."""

    name: str
    release: Release
    retries: int
    started_s: float
    ended_s: float = 0.0
    events: list[tuple[float, Event]] = field(default_factory=list)
    finished: RunFinished | None = None
    error: str = ""
    died: bool = False
    is_rollback: bool = False
    had_nothing_to_do: bool = False  # a command that found nothing to finish or undo
    refusal: str = ""  # why a command did not begin
    before: dict[str, Snapshot] = field(default_factory=dict)  # right at its beginning
    after: dict[str, Snapshot] = field(default_factory=dict)  # right at its end

    @property
    def goes_back(self) -> bool:
        """Whether exit 0 is wholly old: a rollback, or a resume of one that was going back."""
        passes = [event for _, event in self.events if isinstance(event, PassStarted)]
        return self.is_rollback or (bool(passes) and passes[0].direction == "back")


@dataclass(slots=True, kw_only=True)
class Story:
    """What happened. `serving` holds (time, who took traffic from then on), changes only."""

    scenario: Scenario
    before: dict[str, Snapshot] = field(default_factory=dict)
    after: dict[str, Snapshot] = field(default_factory=dict)  # when all has come to rest
    calls: list[Call] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    others: list[Run] = field(default_factory=list)  # of another tool
    serving: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)  # id -> group, of all that ever served
    canaries: set[str] = field(default_factory=set)  # of those, the canaries
    lost: dict[str, float] = field(default_factory=dict)  # when a machine's host was first lost
    away: set[str] = field(default_factory=set)  # of those, whose host has not been found again
    advised: list[tuple[Advice, Story]] = field(default_factory=list)  # what following it came to

    @property
    def run(self) -> Run:
        """The last run."""
        return self.runs[-1]

    @property
    def finished(self) -> RunFinished:
        assert self.run.finished is not None, f"the run did not end by itself: {self.run.error}"
        return self.run.finished

    def log(self) -> list[str]:
        """Every call and every event as lines; the same seed gives the same bytes."""
        lines = [call.line() for call in self.calls]
        for each in self.runs:
            lines += [f"{each.name} {to_line(to_json(at, event))}" for at, event in each.events]
            lines += [f"{each.name} raised {each.error}"] if each.error else []
        lines += [f"{at:.6f} serving {' '.join(sorted(ids))}" for at, ids in self.serving]
        return lines


def app_text(groups: int, release: str) -> str:
    """A fly.toml with one group behind a checked service, or a second one without."""
    return (_ONE_GROUP if groups == 1 else _TWO_GROUPS).replace("{release}", release)
