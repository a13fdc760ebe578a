"""What the tests of plans share: groups, releases and machines, and a platform that is pure.

`PureFleet` carries actions out as the Machines API would, without time: a new
version with each update, configurations handed back normalised.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from deploy.api.machine import Check, Fleet, Machine
from deploy.plan import forward
from deploy.plan.actions import Action, Cordon, Create, Destroy, Start, Stop, Uncordon, Update, Wait
from deploy.plan.base import Base
from deploy.plan.configs import created_config, updated_config
from deploy.plan.group import Group
from deploy.plan.release import Release
from deploy.plan.stamps import FROM
from deploy.plan.steps import Schedule

OLD, NEW = "registry.test/hello:1", "registry.test/hello:2"
OLD_ID, NEW_ID = "0aaaaaaaaaaaaold", "0bbbbbbbbbbbbnew"
thrifty = settings(max_examples=40)  # what is drawn here is big
OWNED = ("env", "services", "checks", "init", "mounts", "files", "restart", "stop_config")
SERVICE: Mapping[str, Any] = {
    "protocol": "tcp",
    "internal_port": 8080,
    "ports": [{"port": 80, "handlers": ["http"]}],
    "checks": [{"type": "http", "path": "/health", "interval": "2s"}],
}


def group(name: str = "web", **keys: Any) -> Group:
    """A process group; without keys it has one service with one check."""
    empty: dict[str, Any] = {"env": {}, "services": [], "checks": {}, "init": {}, "mounts": []}
    empty |= {"files": [], "restart": {}, "stop_config": {}}
    return Group(name=name, config={**empty, "services": [dict(SERVICE)], **keys})


def release(*groups: Group, **fields: Any) -> Release:
    """The release that is to be reached."""
    said: dict[str, Any] = {"app": "hello", "deploy_id": NEW_ID, "image": NEW, "number": 2}
    return Release(groups=groups or (group(),), **(said | fields))


def old_release(*groups: Group, **fields: Any) -> Release:
    """What was deployed before."""
    return release(*groups, **({"deploy_id": OLD_ID, "image": OLD, "number": 1} | fields))


def plan(
    release: Release, fleet: Fleet, base: Base, **doubts: frozenset[str]
) -> tuple[Action, ...]:
    """What is left to be done; `doubtful` and `refused` are ids, as in a Situation."""
    return forward.plan(forward.Situation(release=release, fleet=fleet, base=base, **doubts))


def machine(
    machine_id: str = "m1", spec: Group | None = None, *, state: str = "started", **fields: Any
) -> Machine:
    """A machine of the old release, normalised as servers do, its checks passing."""
    spec = spec or group()
    config = fields.pop("config", None) or created_config(old_release(spec), spec)
    made = Machine(
        id=machine_id,
        state=state,
        name=fields.pop("name", f"{spec.name}-{machine_id[1:]}"),
        region=fields.pop("region", "ams"),
        version=fields.pop("version", "v0"),
        config=normalised(config),
        **fields,
    )
    return as_running(made) if state == "started" and "checks" not in fields else made


def as_running(one: Machine) -> Machine:
    """Started, every configured check passing."""
    passing = tuple(Check(f"check-{n}", "passing") for n in range(one.configured_checks))
    return replace(one, state="started", checks=passing)


def updated(one: Machine, spec: Group | None = None, *, launch: bool = True) -> Machine:
    """The machine after an update to the new release, as the server hands it back."""
    spec = spec or group()
    config = normalised(updated_config(release(spec), spec, one, launch=launch))
    return replace(one, config=config, version="v1")


def with_metadata(one: Machine, **metadata: str) -> Machine:
    return replace(one, config={**one.config, "metadata": {**one.metadata, **metadata}})


def normalised(config: Mapping[str, Any]) -> dict[str, Any]:
    """As servers hand configurations back: `dns`, nulls and defaults added, empties dropped."""
    kept = copy.deepcopy(dict(config))
    kept.setdefault("dns", {})
    kept.setdefault("guest", {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256})
    kept["schedule"] = kept.get("schedule")
    for key in ("files", "mounts", "checks", "env"):
        if not kept.get(key):
            kept[key] = None
    for service in kept.get("services") or ():
        service.setdefault("force_instance_key", None)
        for check in service.get("checks") or ():
            check.setdefault("headers", None)
    kept["restart"] = kept.get("restart") or {"policy": "on-failure", "max_retries": 10}
    return kept


def keep(config: Mapping[str, Any]) -> dict[str, Any]:
    """A server that changes nothing."""
    return copy.deepcopy(dict(config))


@dataclass
class PureFleet:
    """A platform without time; `normalise` is what it makes of configurations it is sent."""

    fleet: Fleet
    normalise: Callable[[Mapping[str, Any]], dict[str, Any]] = normalised
    versions: dict[str, dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)  # name -> id
    _number: int = 0

    def __post_init__(self) -> None:
        for one in self.fleet:
            self.versions[one.id] = {one.version: one.config}

    def carry_out(self, schedule: Schedule) -> None:
        for stage in schedule:
            for track in stage:
                for step in track.steps:
                    for action in step.actions:
                        self.apply(action)

    def apply(self, action: Action) -> None:
        """As the platform would; cold machines stay down, launched ones come up healthy."""
        machine_id = action.machine_id or self.made.get(action.name, "")
        now = self.fleet.by_id
        match action:
            case Create():
                self._create(action)
            case Update():
                assert now[machine_id].version == action.current_version
                self._put(self._written(now[machine_id], action.config, launch=action.launch))
            case Start() | Wait():
                self._put(as_running(now[machine_id]))
            case Stop():
                self._put(replace(now[machine_id], state="stopped", checks=()))
            case Cordon():
                self._put(replace(now[machine_id], cordoned=True))
            case Uncordon():
                self._put(replace(now[machine_id], cordoned=False))
            case Destroy():
                self.fleet = Fleet.of(one for one in self.fleet if one.id != machine_id)
            case _:
                raise TypeError(f"no way to apply {action!r}")

    def _create(self, action: Create) -> None:
        assert action.name not in {one.name for one in self.fleet}, "names are unique"
        config = dict(action.config)
        if action.standby_for:
            config["standbys"] = [self.made[action.standby_for]]
        self._number += 1
        machine_id = self.made[action.name] = f"n{self._number:04d}"
        born = Machine(
            id=machine_id,
            state="created",
            name=action.name,
            region=action.region,
            version=self._version(),
            config=self.normalise(config),
            cordoned=action.cordoned,
        )
        self.versions[machine_id] = {born.version: config}
        if action.then is not None:
            follow = {**action.then, "metadata": {**action.then["metadata"], FROM: born.version}}
            born = self._written(born, follow, launch=action.launch)
        elif action.launch:
            born = as_running(born)
        self._put(born)

    def _written(self, one: Machine, config: Mapping[str, Any], *, launch: bool) -> Machine:
        state = one.state if one.state in ("created", "stopped") else "stopped"
        changed = replace(
            one, version=self._version(), config=self.normalise(config), state=state, checks=()
        )
        self.versions[one.id][changed.version] = dict(config)
        return as_running(changed) if launch else changed

    def _version(self) -> str:
        self._number += 1
        return f"w{self._number:04d}"

    def _put(self, changed: Machine) -> None:
        others = [one for one in self.fleet if one.id != changed.id]
        self.fleet = Fleet.of([*others, changed])


# -- what hypothesis draws ---------------------------------------------------------------

MOUNTS = [{"name": "data", "path": "/data"}]
states = st.sampled_from(["started", "stopped", "suspended", "created", "failed", "starting"])


@st.composite
def specs(draw: st.DrawFn, name: str, *, mounts: bool = True) -> Group:
    """A process group: with a service, with a check alone, a bare worker, or with a volume."""
    kind = draw(st.sampled_from(["service", "check", "bare", "mounts"] if mounts else ["service"]))
    env = draw(st.dictionaries(st.sampled_from(["A", "B", "RELEASE"]), st.text(max_size=3)))
    if kind == "service":
        return group(name, env=env)
    if kind == "check":
        return group(name, env=env, services=[], checks={"up": {"type": "tcp", "port": 1}})
    mounted = MOUNTS if kind == "mounts" else []
    return group(name, env=env, services=[], mounts=mounted)


@st.composite
def machines_of(draw: st.DrawFn, spec: Group, prefix: str, *, most: int = 5) -> list[Machine]:
    """Machines of a group as they may stand before a deploy."""
    found = []
    for number in range(draw(st.integers(0, most))):
        one = machine(
            f"{prefix}{number}",
            spec,
            state=draw(states),
            name=f"{spec.name}-{number + 1}",
            cordoned=draw(st.sampled_from([False, False, False, True])),
        )
        if draw(st.booleans()):
            one = replace(one, config={**one.config, "x_unknown": {"keep": [1]}})
        found.append(one)
    return found


@st.composite
def situations(
    draw: st.DrawFn, *, strategies: tuple[str, ...] = ("rolling", "canary", "immediate")
) -> tuple[Release, Fleet]:
    """A release to reach, and the fleet that it meets: managed machines and others."""
    strategy = draw(st.sampled_from(strategies))
    plain = strategy in ("canary", "bluegreen")
    web = draw(specs("web", mounts=not plain))
    worker = draw(specs("worker", mounts=not plain))
    wanted = draw(st.sampled_from([(web,), (web, worker), (worker,)]))
    before_web = web if plain else draw(st.sampled_from([web, draw(specs("web"))]))
    before = [
        *draw(machines_of(before_web, "a")),
        *draw(machines_of(worker, "b", most=3)),
    ]
    if plain:
        before = [one for one in before if not one.config.get("mounts")]
    others = [
        Machine(id="z1", state="started", config={"image": OLD}),
        Machine(
            id="z2",
            state="started",
            config={
                "image": OLD,
                "metadata": {
                    "fly_platform_version": "v2",
                    "fly_process_group": "fly_app_console",
                },
            },
        ),
    ]
    chosen = release(*wanted, strategy=strategy, max_unavailable=draw(st.sampled_from([1, 2, 100])))
    return chosen, Fleet.of([*before, *others])
