"""Finishing and undoing what another run began, from any computer, and what ran before.

Everything here is read from the platform: the stamps and intents that a deploy
leaves, and the versions that the platform keeps. Nothing needs the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from deploy.api.client import MachinesClient, connect
from deploy.api.machine import Fleet, Machine
from deploy.api.patience import Patience
from deploy.commands.order import (
    Order,
    new_id,
    patience,
    planner_of,
    read_fleet,
    release_of,
    start_run,
)
from deploy.commands.target import Target
from deploy.errors import CallFailed, UsageProblem
from deploy.events import Emit, RunFinished
from deploy.orchestrator.ledger import Ledger
from deploy.orchestrator.passes import TakenUp
from deploy.plan.base import Base, Versions
from deploy.plan.forward import Action, Update, Wait, should_launch, where
from deploy.plan.intent import BACK, Intent, carriers, read_intent
from deploy.plan.release import (
    DEFAULT_MAX_UNAVAILABLE,
    DEPLOY,
    FROM,
    INTENT,
    ROLE,
    WAS,
    Release,
    fly_release,
    is_made_by,
    is_stamped,
    next_number,
    replaced_by,
    was,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRelease:
    """One release as the platform's versions tell of it; `machines` of the present ones ran it."""

    number: int
    deploy: str
    image: str
    machines: int
    is_current: bool


async def resume_app(target: Target, order: Order, emit: Emit) -> RunFinished | None:
    """Finish the deploy that was left unfinished, in its own direction; None if there is none.

    Raises UsageProblem when fly.toml and the options no longer describe the
    release that was begun.
    """
    fleet, versions, intent = await _find(target, None)
    if intent is None:
        return None
    said = replace(order, image=intent.image, strategy=intent.strategy)
    release = release_of(target, said, intent.deploy)
    if release.digest != intent.digest and intent.direction != BACK:
        raise UsageProblem(
            f"the release that deploy {intent.deploy} began is not what fly.toml describes now",
            hint="bring fly.toml and --env back to what they were, or `deploy` anew, "
            "or `deploy rollback`",
        )
    release = replace(release, number=_number(fleet, intent.deploy))
    return await start_run(
        "resume",
        target,
        said,
        release,
        planner_of(order.settings.selection),
        emit,
        datetime.now(UTC),
        taken_up=_taken_up(fleet, versions, intent.deploy, intent.direction),
        take_up_again=partial(_take_up, intent.deploy, intent.direction),
    )


async def rollback_app(
    target: Target, order: Order, to: str | None, emit: Emit
) -> RunFinished | None:
    """Bring back what was before the newest deploy, or release `to`; None if there is none."""
    if to is not None:
        return await _rollback_to(target, order, to, emit)
    fleet, versions, intent = await _find(target, _newest_deploy)
    if intent is None:
        return None
    base = Base.before(intent.deploy, fleet, versions)
    if base.lost:
        raise UsageProblem(
            f"the platform no longer has the configuration that {', '.join(sorted(base.lost))} "
            "ran before",
            hint="`deploy history` shows what there is for `deploy rollback --to RELEASE`",
        )
    if not base.machines:
        raise UsageProblem(
            f"there was nothing before deploy {intent.deploy}: it was the first",
            hint="`deploy history` shows the releases",
        )
    release = Release(
        app=target.app,
        deploy_id=intent.deploy,
        image=intent.image,
        groups=(),
        strategy="rolling",
        max_unavailable=order.max_unavailable or DEFAULT_MAX_UNAVAILABLE,
    )
    return await start_run(
        "rollback",
        target,
        order,
        release,
        _nothing,
        emit,
        datetime.now(UTC),
        taken_up=_with_hidden(_taken_up(fleet, versions, intent.deploy, BACK), intent),
        take_up_again=partial(_take_up, intent.deploy, BACK),
    )


async def history_of(target: Target) -> list[PastRelease]:
    """The releases that the platform's versions still know, newest first."""
    async with connect(target.address, target.token, target.app) as client:
        fleet = (await read_fleet(client)).managed
        known = await _versions(client, fleet.machines, patience())
    ran: dict[tuple[int, str, str], set[str]] = {}
    for machine in fleet:
        configs = [*known.get(machine.id, {}).values(), machine.config]
        for config in configs:
            metadata = config.get("metadata") or {}
            number = str(metadata.get("fly_release_version", "0"))
            key = (
                int(number) if number.isdecimal() else 0,
                str(metadata.get("fly_release_id", "")),
                str(config.get("image", "")),
            )
            ran.setdefault(key, set()).add(machine.id)
    current = {(m.metadata.get("fly_release_id", ""), m.image) for m in fleet}
    return [
        PastRelease(
            number=number,
            deploy=deploy,
            image=image,
            machines=len(machines),
            is_current=(deploy, image) in current,
        )
        for (number, deploy, image), machines in sorted(ran.items(), reverse=True)
    ]


# -- rollback --to ---------------------------------------------------------------------


async def _rollback_to(target: Target, order: Order, to: str, emit: Emit) -> RunFinished:
    """An earlier release as a new one: every machine gets the configuration that it had then."""
    async with connect(target.address, target.token, target.app) as client:
        fleet = (await read_fleet(client)).managed
        known = await _versions(client, fleet.machines, patience())
    configs = {
        machine.id: config
        for machine in fleet
        if (config := _config_of(machine, known, fleet, to)) is not None
    }
    missing = sorted(machine.id for machine in fleet if machine.id not in configs)
    if missing or not configs:
        raise UsageProblem(
            f"release {to} cannot be brought back: no version of it is left for "
            f"{', '.join(missing) or 'any machine'}",
            hint="`deploy history` shows the releases that the platform still knows",
        )
    deploy_id = new_id(datetime.now(UTC))
    images = sorted({str(config.get("image", "")) for config in configs.values()})
    release = Release(
        app=target.app,
        deploy_id=deploy_id,
        image=", ".join(images),
        groups=(),
        max_unavailable=order.max_unavailable or DEFAULT_MAX_UNAVAILABLE,
        number=next_number(fleet),
    )

    def planner(release: Release, fleet: Fleet, base: Base, ledger: Ledger) -> tuple[Action, ...]:
        return tuple(
            _bring_back(machine, configs[machine.id], base, release)
            for machine in fleet.managed
            if machine.id in configs and not is_stamped(machine, deploy_id)
        ) + _unseen(fleet, ledger, deploy_id)

    return await start_run("rollback", target, order, release, planner, emit, datetime.now(UTC))


def _bring_back(
    machine: Machine, config: Mapping[str, Any], base: Base, release: Release
) -> Update:
    old = base.machines.by_id.get(machine.id, machine)
    launch = should_launch(old.state, standby=bool(config.get("standbys")))
    kept = {key: value for key, value in config.items() if value is not None}
    if machine.config.get("mounts"):
        kept["mounts"] = machine.config["mounts"]
    metadata = {k: v for k, v in (kept.get("metadata") or {}).items() if k not in (INTENT, ROLE)}
    stamps = {
        DEPLOY: release.deploy_id,
        "fly_release_id": release.deploy_id,
        "fly_release_version": str(release.number),
        FROM: machine.version or "unknown",
        WAS: was(old),
    }
    intent = machine.metadata.get(INTENT)
    kept["metadata"] = {**metadata, **stamps} | ({INTENT: intent} if intent else {})
    return Update(
        **where(machine),
        config=kept,
        current_version=machine.version,
        launch=launch,
        serves=launch,
    )


def _unseen(fleet: Fleet, ledger: Ledger, deploy_id: str) -> tuple[Action, ...]:
    return tuple(
        Wait(**where(machine), version=machine.version)
        for machine in fleet.managed
        if is_stamped(machine, deploy_id)
        and (machine.id in ledger.doubtful or not machine.is_serving)
        and machine.state == "started"
    )


def _config_of(
    machine: Machine, known: Versions, fleet: Fleet, to: str
) -> Mapping[str, Any] | None:
    """The machine's own version of release `to`, else a sibling's of the same group."""
    siblings = [m for m in fleet.group(machine.group) if m.id != machine.id]
    for one in (machine, *siblings):
        for config in (one.config, *known.get(one.id, {}).values()):
            metadata = config.get("metadata") or {}
            if to in (metadata.get("fly_release_version"), metadata.get("fly_release_id")):
                return config
    return None


# -- what a deploy left ------------------------------------------------------------------


async def _find(target: Target, fallback: Any) -> tuple[Fleet, Versions, Intent | None]:
    """The machines, their versions where they matter, and the deploy that is unfinished."""
    async with connect(target.address, target.token, target.app) as client:
        fleet = await read_fleet(client)
        intents = [intent for m in fleet.managed if (intent := read_intent(m)) is not None]
        intent = max(intents, key=lambda i: (i.deploy, i.direction == BACK), default=None)
        if intent is None and fallback is not None:
            intent = fallback(fleet)
        if intent is None:
            return fleet, {}, None
        stamped = [m for m in fleet.managed if is_stamped(m, intent.deploy)]
        return fleet, await _versions(client, stamped, patience()), intent


def _newest_deploy(fleet: Fleet) -> Intent | None:
    """The deploy that wrote the highest release, finished or not, as what is to be undone."""
    stamped = [m for m in fleet.managed if is_stamped(m, m.metadata.get(DEPLOY, ""))]
    if not stamped:
        return None
    newest = max(stamped, key=lambda m: (fly_release(m)[1], m.metadata[DEPLOY]))
    return Intent(deploy=newest.metadata[DEPLOY], digest="", image=newest.image, strategy="rolling")


async def _versions(
    client: MachinesClient, machines: Iterable[Machine], patience: Patience
) -> Versions:
    found: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    for machine in machines:
        try:
            read = partial(client.versions, machine.id)
            found[machine.id] = dict(await patience.ask(read))
        except CallFailed as failure:
            if failure.status != 404:
                raise
    return found


async def _take_up(
    deploy_id: str, direction: str, client: MachinesClient, patience: Patience, fleet: Fleet
) -> TakenUp:
    """The same under leases: a write of the dead run's may have landed after the first look."""
    stamped = [m for m in fleet.managed if is_stamped(m, deploy_id)]
    versions = await _versions(client, stamped, patience)
    return _taken_up(fleet, versions, deploy_id, direction)


def _taken_up(fleet: Fleet, versions: Versions, deploy_id: str, direction: str) -> TakenUp:
    base = Base.before(deploy_id, fleet, versions)
    managed = fleet.managed
    replaced = {replaced_by(machine, deploy_id) for machine in managed} - {""}
    stamped = {machine.id for machine in managed if is_stamped(machine, deploy_id)}
    made = frozenset(machine.id for machine in managed if is_made_by(machine, deploy_id))
    own = made - base.machines.by_id.keys()
    marked = {m.id for m in managed if read_intent(m) is not None}
    return TakenUp(
        base=base,
        goal=direction,
        written=frozenset(stamped | own | (replaced & managed.by_id.keys())),
        own=own,
        made=made,
        carried=frozenset(marked or carriers(managed)),
    )


def _with_hidden(taken_up: TakenUp, intent: Intent) -> TakenUp:
    """The same, with whether the run before may have made machines that no list shows yet."""
    before = taken_up.base.machines
    firsts = {"canary": len({machine.group for machine in before}), "bluegreen": len(before)}
    return replace(taken_up, may_hide=len(taken_up.made) < firsts.get(intent.strategy, 0))


def _number(fleet: Fleet, deploy_id: str) -> int:
    """The release number that the deploy gave already, else the next."""
    given = [fly_release(m)[1] for m in fleet.managed if is_stamped(m, deploy_id)]
    return max(given, default=next_number(fleet))


def _nothing(release: Release, fleet: Fleet, base: Base, ledger: Ledger) -> tuple[Action, ...]:
    """The planner of a run that only goes back."""
    del release, fleet, base, ledger
    return ()
