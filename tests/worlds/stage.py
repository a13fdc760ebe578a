"""A stage for scenarios: an app that stands there, the real commands, and what goes wrong.

The commands are those of `deploy.commands`, whole; only
the network below httpx is the simulator's, and time is trio's autojump clock.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import anyio
import httpx
import msgspec

from deploy.commands.deploy import deploy_app
from deploy.commands.history import history_of
from deploy.commands.order import Order
from deploy.commands.plan import plan_app
from deploy.commands.resume import resume_app
from deploy.commands.rollback import rollback_app
from deploy.commands.scale import scale_app
from deploy.commands.status import look_at, show_status
from deploy.commands.target import Target
from deploy.errors import DeployError
from deploy.events import Event, Noticed, PassStarted, RunFinished, RunStarted
from deploy.flytoml.appconfig import AppConfig, parse
from deploy.local.requests import UpdateMachine
from deploy.local.runtime import Spec
from deploy.local.state import Machine
from deploy.orchestrator.one_off import TITLES
from deploy.plan.configs import created_config
from deploy.plan.group import Group
from deploy.plan.history import PastRelease
from deploy.plan.release import Release
from deploy.plan.stamps import INTENT, slot_name
from deploy.plan.steps import Schedule
from deploy.run import Settings
from tests.contract.clocks import run_on
from tests.worlds.advice import advice_of
from tests.worlds.following import follow
from tests.worlds.simulated import story, transport
from tests.worlds.simulated.faults import BY_NAME, CHANGES, WRITES, Kind
from tests.worlds.simulated.habits import NO_HABITS, Habits
from tests.worlds.simulated.runtime import SimulatedProcess, SimulatedRuntime, simulated_clock
from tests.worlds.simulated.transport import Call, SimulatedTransport
from tests.worlds.simulated.world import ADDRESS, APP, UNKNOWN_KEYS, Scenario, Snapshot, World

OLD, NEW, BROKEN, WEB = story.OLD, story.NEW, story.BROKEN, story.WEB
OLD_ID = "0base0000000base"

WORKER = WEB.replace('web = "serve"', 'web = "serve"\n  worker = "work"')
VOLUME = '\n[[mounts]]\n  source = "data"\n  destination = "/data"\n  processes = ["web"]\n'
UNWATCHED = 'app = "sim"\n[processes]\n  web = "serve"\n'

_UNSENT = BY_NAME["timed out before"]
_network: ContextVar[SimulatedTransport] = ContextVar("network")


@dataclass(frozen=True, slots=True)
class Hit:
    """Strike the calls of an operation, from the `nth` on, `times` in all, where `on` agrees."""

    operation: str
    kind: Kind
    times: int = 1
    nth: int = 0
    on: Callable[[Call], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class Death:
    """Kill the process at the `nth` call of an operation: before it is sent, or `after` it."""

    operation: str
    nth: int = 0
    after: bool = True


class Hits:
    """The faults of one run, as the transport asks for them."""

    def __init__(self, hits: Sequence[Hit], death: Death | None = None) -> None:
        self._hits = hits
        self._death = death
        self._seen: Counter[int] = Counter()
        self._operations: Counter[str] = Counter()
        self.network: SimulatedTransport

    def strike(self, call: Call) -> Kind | None:
        nth = self._operations[call.operation]
        self._operations[call.operation] += 1
        death = self._death
        if death is not None and (death.operation, death.nth) == (call.operation, nth):
            if death.after:
                self.network.dies_at = (call.ordinal, True)
                return None
            self.network.is_dead = True
            self.network.died.set()
            return _UNSENT
        for number, hit in enumerate(self._hits):
            if hit.operation != call.operation or not hit.on(call):
                continue
            seen = self._seen[number]
            self._seen[number] += 1
            if hit.nth <= seen < hit.nth + hit.times:
                return hit.kind
        return None


def to(name_or_id: str) -> Callable[[Call], bool]:
    """Only calls about this machine."""
    return lambda call: name_or_id in (call.machine, call.name)


@dataclass(slots=True)
class Told:
    """One command from its start to its end: what it said and what it asked for."""

    name: str
    transport: SimulatedTransport
    hits: Hits
    events: list[tuple[float, Event]] = field(default_factory=list)
    finished: RunFinished | None = None
    error: DeployError | None = None
    has_died: bool = False
    is_over: anyio.Event = field(default_factory=anyio.Event)
    calls: list[Call] = field(default_factory=list)
    target: Target | None = None
    order: Order = field(default_factory=Order)
    counts: Mapping[str, int] = field(default_factory=dict)  # group -> machines, of a scale
    toml: str = ""
    begun: Mapping[str, str] = field(default_factory=dict)  # machine -> image before its deploy
    unreleased: list[str] = field(default_factory=list)  # machines, right at its end

    @property
    def end(self) -> RunFinished:
        assert self.finished is not None, f"it did not end by itself: {self.error!r}"
        return self.finished

    @property
    def exit_code(self) -> int:
        return self.error.exit_code if self.error is not None else self.end.exit_code

    @property
    def hints(self) -> str:
        """All that it advised: in its closing line, its error and its notices."""
        if self.has_died:
            return ""
        ends = [self.finished.hint if self.finished else "", self.error.hint if self.error else ""]
        return "\n".join([*ends, *(notice.hint for notice in self.said(Noticed))])

    @property
    def writes(self) -> list[Call]:
        return [call for call in self.calls if call.operation in WRITES]

    @property
    def changes(self) -> list[Call]:
        """Writes that change a machine: no leases, no marks."""
        return [call for call in self.calls if call.operation in CHANGES]

    def of(self, operation: str, machine: str = "") -> list[Call]:
        return [
            call
            for call in self.calls
            if call.operation == operation and machine in ("", call.machine, call.name)
        ]

    def said(self, kind: type[Event]) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]

    def passes(self, direction: str = "forward") -> int:
        return sum(1 for event in self.said(PassStarted) if event.direction == direction)


class Stage:
    """An app on a simulated platform, as a scenario sees it."""

    def __init__(self, *, seed: int = 0, toml: str = WEB, habits: Habits = NO_HABITS) -> None:
        self.toml = toml
        self.world = World(Scenario(seed=seed, machines=0, habits=habits))
        runtime = _CommandRuntime(seed)
        self.runtime = self.world.runtime = runtime
        self.world.platform._runtime = runtime
        self.runs: list[Told] = []
        self.stops_after: int | None = None  # the run with which the play is over
        self.scope: anyio.CancelScope | None = None

    # -- what stands there at first --------------------------------------------------

    async def settle(
        self,
        counts: int | Mapping[str, int],
        *,
        image: str = OLD,
        cold: int = 0,
        toml: str | None = None,
        keys: Mapping[str, Any] | None = None,
    ) -> None:
        """Machines of an earlier deploy; the last `cold` of each group do not run."""
        for group in parse(toml or self.toml).groups:
            count = counts if isinstance(counts, int) else counts.get(group.name, 0)
            for slot in range(1, count + 1):
                launch = slot <= count - cold
                self.add(slot_name(group.name, slot), group, image=image, launch=launch, keys=keys)
        await anyio.sleep(60)

    def add(
        self,
        name: str,
        group: Group,
        *,
        image: str = OLD,
        launch: bool = True,
        keys: Mapping[str, Any] | None = None,
    ) -> str:
        """One machine that stands there already; its id."""
        old = Release(app=APP, deploy_id=OLD_ID, image=image, groups=(group,))
        config = {**created_config(old, group), **UNKNOWN_KEYS, **(keys or {})}
        return self.world.create(name, config, launch=launch).id

    def deploy_elsewhere(self, image: str, *, release: int, only: str = "") -> None:
        """What another tool makes of the app: it copies metadata and writes its own release id.

        `only`: it stops after the machine of this name.
        """
        for name in [only] if only else self.fleet:
            machine = self.machine(name)
            own = {"fly_release_id": f"foreign{release}", "fly_release_version": str(release)}
            config = {**machine.raw, "image": image, "metadata": {**machine.metadata, **own}}
            request = msgspec.convert({"config": config}, UpdateMachine)
            self.world.platform.update(machine, request, owner="another tool")

    # -- commands --------------------------------------------------------------------

    async def deploy(self, image: str | None = NEW, **options: Any) -> Told:
        return await self._command(deploy_app, {"image": image, **options})

    async def resume(self, **options: Any) -> Told:
        return await self._command(resume_app, options)

    async def rollback(self, to_release: str | None = None, **options: Any) -> Told:
        return await self._command(
            lambda target, order, emit: rollback_app(target, order, to_release, emit), options
        )

    async def scale(self, group: str, count: int, **options: Any) -> Told:
        told = await self.start(
            lambda target, order, emit: scale_app(target, order, group, count, emit), options
        )
        told.counts = {group: count}
        await told.is_over.wait()
        return told

    async def history(self) -> list[PastRelease]:
        found: list[PastRelease] = []

        async def read(target: Target, _order: Order, _emit: Any) -> None:
            found.extend(await history_of(target))

        await self._command(read, {})
        return found

    async def status(self) -> str:
        """What `deploy status` shows."""
        found: list[str] = []

        async def read(target: Target, _order: Order, _emit: Any) -> None:
            fleet, routes, holders = await look_at(target)
            found.append(show_status(target, fleet, routes, holders=holders, as_json=False))

        await self._command(read, {})
        return found[0]

    async def plan(self, image: str = NEW, **options: Any) -> tuple[Told, Schedule]:
        found: list[Schedule] = []

        async def read(target: Target, order: Order, _emit: Any) -> None:
            found.append((await plan_app(target, order))[2])

        told = await self._command(read, {"image": image, **options})
        return told, found[0]

    async def start(self, command: Any, options: Mapping[str, Any]) -> Told:
        """Begin a command; it goes on beside the scenario until `is_over`."""
        said = dict(options)
        toml = said.pop("toml", self.toml)
        target = Target(
            app=APP,
            config=parse(toml) if said.pop("reads_toml", True) else None,
            address=ADDRESS,
            token="local",  # noqa: S106 - not a secret: the platform asks for none
            config_path=said.pop("config_path", ""),
        )
        hits = Hits(said.pop("hits", ()), said.pop("dies", None))
        return self._begin(command, target, _order(said), hits, toml)

    async def run(self, command: Any, target: Target, order: Order) -> Told:
        """A command with a target and an order of its own, to its end."""
        told = self._begin(command, target, order, Hits(()), self.toml)
        await told.is_over.wait()
        return told

    def _begin(self, command: Any, target: Target, order: Order, hits: Hits, toml: str) -> Told:
        name = f"run{len(self.runs) + 1}"
        network = hits.network = self.world.transport(name, hits)
        told = Told(name, network, hits, target=target, order=order, toml=toml)
        told.begun = {name: machine.image for name, machine in self.fleet.items()}
        self.runs.append(told)
        self.world._tasks.start_soon(self._live, told, command, target, order)
        self.world._tasks.start_soon(self._death, told)
        return told

    async def _command(self, command: Any, options: Mapping[str, Any]) -> Told:
        told = await self.start(command, options)
        await told.is_over.wait()
        return told

    async def _live(self, told: Told, command: Any, target: Target, order: Order) -> None:
        _network.set(told.transport)

        def emit(event: Event) -> None:
            if not told.transport.is_dead:
                told.events.append((anyio.current_time(), event))
            if isinstance(event, RunStarted):
                self._inherit(told, event.deploy_id)

        try:
            with anyio.fail_after(24 * 3600):
                told.finished = await command(target, order, emit)
        except* DeployError as errors:
            told.error = _first(errors)
        told.calls = [call for call in self.world.story.calls if call.run == told.name]
        told.unreleased = self._unreleased(told)
        if self.stops_after == self.runs.index(told):
            assert self.scope is not None
            self.scope.cancel()  # before anybody hears of the end, and begins the next run
        told.is_over.set()

    def _inherit(self, told: Told, deploy_id: str) -> None:
        """What goes on with a deploy undoes what the first run of that deploy began with."""
        for earlier in self.runs:
            if deploy_id in {event.deploy_id for event in earlier.said(RunStarted)}:
                told.begun = earlier.begun
                return

    def _unreleased(self, told: Told) -> list[str]:
        """Machines on which a lease of this run is still in force; it goes with a machine."""
        granting = ("acquire", "refresh", "create")
        answers = [call.answer for call in told.calls if call.answer and call.operation in granting]
        nonces = {answer.get("nonce") or answer.get("data", {}).get("nonce") for answer in answers}
        now = unix_s()
        return [
            machine.name
            for machine in self.world.machines()
            if machine.state != "destroying"
            if machine.lease and machine.lease.expires_at > now and machine.lease.nonce in nonces
        ]

    async def _death(self, told: Told) -> None:
        await told.transport.died.wait()
        told.has_died = True
        told.calls = [call for call in self.world.story.calls if call.run == told.name]
        told.is_over.set()

    # -- looking ---------------------------------------------------------------------

    @property
    def fleet(self) -> dict[str, Snapshot]:
        """Managed machines by name."""
        return {
            machine.name: machine
            for machine in self.world.snapshot().values()
            if machine.group and not machine.group.startswith("fly_app_")
        }

    @property
    def images(self) -> list[str]:
        """What the machines run, in the order of their names."""
        return [self.fleet[name].image for name in sorted(self.fleet)]

    @property
    def leases(self) -> list[str]:
        return [machine.lease for machine in self.world.snapshot().values() if machine.lease]

    @property
    def marks(self) -> list[str]:
        """The machines that carry an intent."""
        return [name for name, m in self.fleet.items() if m.config["metadata"].get(INTENT)]

    def id(self, name: str) -> str:
        return self.fleet[name].id

    def machine(self, name: str) -> Machine:
        """The platform's own record, to do something to it."""
        return self.world.platform.apps[APP].machines[self.id(name)]

    @property
    def serving(self) -> int:
        return sum(1 for machine in self.fleet.values() if machine.serves)

    def fewest_serving(self, since: float = 60.0) -> int:
        """The smallest number that took traffic at any time."""
        known, changes = self.world.story.groups.keys(), self.world.story.serving
        first = max(number for number, (at, _) in enumerate(changes) if at <= since or number == 0)
        return min(len(ids & known) for _, ids in changes[first:])

    def check(self) -> None:
        """What holds after every scenario, whatever happened in it."""
        for told in self.runs:
            if told.has_died:
                continue
            assert told.unreleased == []
            taken = Counter(c.machine for c in told.of("acquire") if c.is_good)
            assert not [machine for machine, times in taken.items() if times > 1]


def on_stage(
    play: Callable[[Stage], Awaitable[None]],
    *,
    toml: str = WEB,
    seed: int = 0,
    checks: bool = True,
    habits: Habits = NO_HABITS,
    follows: bool = True,
) -> Stage:
    """Let a scenario play; it ends when all is at rest and the leases are over.

    Then it is played again for every command that a run of it advised (law 14), up
    to the end of that run, and the command is run: unless `follows` is false.
    """
    stage = Stage(seed=seed, toml=toml, habits=habits)

    async def main() -> None:
        async with stage.world:
            await play(stage)
            await anyio.sleep(90)
            if checks:
                stage.check()

    with _simulated_network():
        run_on("trio", main, seed=seed, before_time_passes=stage.world.look)
    for number, told in enumerate(stage.runs if follows else ()):
        for nth in range(len(advice_of(told.hints))):
            again = Stage(seed=seed, toml=toml, habits=habits)
            again.stops_after = number
            _play_and_follow(again, play, nth)
    return stage


def _play_and_follow(stage: Stage, play: Callable[[Stage], Awaitable[None]], nth: int) -> None:
    async def main() -> None:
        async with stage.world:
            with anyio.CancelScope() as stage.scope:
                await play(stage)
            for each in stage.runs:
                await each.is_over.wait()
            told = stage.runs[stage.stops_after or 0]
            advice = advice_of(told.hints)
            if nth < len(advice):  # chance may have ended it otherwise
                await follow(stage, told, advice[nth])

    with _simulated_network():
        run_on("trio", main, seed=0, before_time_passes=stage.world.look)


@contextmanager
def _simulated_network() -> Iterator[None]:
    """httpx opens the connections of the run that asks, and no others."""

    def open_transport(**_options: object) -> SimulatedTransport:
        return _network.get()

    path = re.compile(r"/v1/apps/[^/]+/volumes")
    volumes = [("GET", path, "list volumes"), ("POST", path, "create volume")]
    with (
        mock.patch.object(transport, "_ROUTES", (*transport._ROUTES, *volumes)),
        mock.patch.object(httpx, "AsyncHTTPTransport", open_transport),
    ):
        yield


class _CommandRuntime(SimulatedRuntime):
    """A one-off machine does what its first word says: `exit0`, `exit1`, or runs for ever."""

    async def start(self, spec: Spec) -> SimulatedProcess:
        if spec.config.group in TITLES:
            config = msgspec.structs.replace(spec.config, image=spec.config.argv[0])
            spec = replace(spec, config=config)
        return await super().start(spec)


_SETTINGS = frozenset(Settings.__dataclass_fields__)


def _order(options: Mapping[str, Any]) -> Order:
    """Options of `Order` and of its `Settings` side by side."""
    settings = {key: value for key, value in options.items() if key in _SETTINGS}
    rest = {key: value for key, value in options.items() if key not in settings}
    wait_s = settings.pop("wait_timeout_s", 60.0)
    return Order(
        **{"retries": 3, "wait_timeout_s": wait_s, **rest},
        settings=Settings(handles_signals=False, **settings),
    )


def _first(errors: BaseExceptionGroup[DeployError]) -> DeployError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, DeployError)
    return error


def group_of(toml: str, name: str = "web") -> Group:
    config: AppConfig = parse(toml)
    return next(group for group in config.groups if group.name == name)


def unix_s() -> float:
    """The platform's clock."""
    return simulated_clock()
