"""What `deploy plan` and `deploy status` print: values in, text out.

Pure. Text from the platform goes through `printable`: a name can hold anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from deploy.api.machine import Fleet, Machine
from deploy.commands.recovery import PastRelease
from deploy.plan.forward import Action, Create, Destroy, Update
from deploy.plan.intent import read_intent
from deploy.plan.release import Release
from deploy.plan.strategy import Schedule
from deploy.retries import Retries
from deploy.wording import printable


def show_plan(
    release: Release, fleet: Fleet, order: Schedule, retries: Retries, *, as_json: bool
) -> str:
    """The steps of a deploy in their order, and the path that it would take."""
    if as_json:
        return json.dumps(_plan_json(release, fleet, order, retries))
    lines = [
        printable(retries.sentence),
        printable(
            f"{release.app}: {release.image}, {release.strategy}, {len(fleet.managed)} machines"
        ),
    ]
    number = 0
    for stage in order:
        for track in stage:
            for step in track.steps:
                number += 1
                title = _step_title(track.group, step.counted, step.gate.value)
                lines.append(f"{number}. {printable(title)}")
                lines += [f"     {printable(_action(action))}" for action in step.actions]
    if not number:
        lines.append("nothing to do: every machine is on this release")
    return "\n".join(lines)


def show_status(
    app: str, fleet: Fleet, routes: Sequence[Mapping[str, Any]], *, as_json: bool
) -> str:
    """Each machine with its version, state and checks; a warning where the app is mixed."""
    machines = fleet.managed
    if as_json:
        return json.dumps(
            {"v": 1, "app": app, "machines": [_machine_json(m) for m in machines], "routes": routes}
        )
    if not machines:
        return f"{app} has no machines yet"
    rows: list[tuple[str, ...]] = [
        ("machine", "name", "group", "region", "version", "state", "checks", "image")
    ]
    rows += [_machine_row(machine) for machine in machines]
    lines = _table(rows)
    lines += [_route(route) for route in routes]
    return "\n".join([*lines, *_warnings(app, machines)])


def show_history(app: str, releases: Sequence[PastRelease], *, as_json: bool) -> str:
    """The releases that the platform's versions know, newest first."""
    if as_json:
        return json.dumps({"v": 1, "app": app, "releases": [asdict(each) for each in releases]})
    if not releases:
        return f"{app} has no machines, and so no history"
    rows = [("release", "deploy", "machines", "image", "")]
    rows += [
        (str(r.number), r.deploy, str(r.machines), r.image, "runs now" if r.is_current else "")
        for r in releases
    ]
    return "\n".join(_table(rows))


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    clean = [tuple(printable(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in clean
    ]


def _warnings(app: str, machines: Fleet) -> list[str]:
    images = sorted({machine.image for machine in machines})
    intents = {intent.deploy: intent for m in machines if (intent := read_intent(m))}
    lines = [
        f"warning: deploy {intent.deploy} of {printable(intent.image)} is unfinished; "
        f"`deploy resume` finishes it, `deploy rollback` undoes it"
        for intent in intents.values()
    ]
    if len(images) > 1:
        lines.append(
            f"warning: {printable(app)} runs {len(images)} images "
            f"({', '.join(printable(image) for image in images)}); "
            "deploy the one that you want to bring all machines to it"
        )
    return lines


def _machine_row(machine: Machine) -> tuple[str, ...]:
    passing = sum(1 for check in machine.checks if check.status == "passing")
    return (
        machine.id,
        machine.name,
        machine.group,
        machine.region,
        machine.version,
        f"{machine.state}, cordoned" if machine.cordoned else machine.state,
        f"{passing}/{machine.configured_checks}" if machine.configured_checks else "-",
        machine.image,
    )


def _machine_json(machine: Machine) -> dict[str, Any]:
    return {
        "id": machine.id,
        "name": machine.name,
        "group": machine.group,
        "region": machine.region,
        "version": machine.version,
        "state": machine.state,
        "cordoned": machine.cordoned,
        "image": machine.image,
        "release": machine.metadata.get("fly_release_version", ""),
        "checks": [
            {"name": check.name, "status": check.status, "output": check.output}
            for check in machine.checks
        ],
    }


def _route(route: Mapping[str, Any]) -> str:
    asked, address = route.get("port"), route.get("address") or route.get("url")
    return printable(f"service port {asked} is at {address}")


def _step_title(group: str, counted: bool, gate: str) -> str:
    waits = "" if gate == "none" else f", each until {gate}"
    return f"{group or 'clean up'}{', within max-unavailable' if counted else ''}{waits}:"


def _action(action: Action) -> str:
    name = action.name or action.machine_id
    match action:
        case Create():
            extra = f" in place of {action.replaces}" if action.replaces else ""
            launched = "" if action.launch else ", not started"
            return f"create {name}{extra}{launched}"
        case Update():
            return f"update {action.machine_id} {name}{'' if action.launch else ', left stopped'}"
        case Destroy():
            return f"destroy {action.machine_id or name}"
        case _:
            return f"{action.verb} {action.machine_id or name}"


def _plan_json(release: Release, fleet: Fleet, order: Schedule, retries: Retries) -> dict[str, Any]:
    return {
        "v": 1,
        "app": release.app,
        "image": release.image,
        "strategy": release.strategy,
        "digest": release.digest,
        "path": retries.path,
        "retries": retries.count,
        "sentence": retries.sentence,
        "machines": len(fleet.managed),
        "stages": [
            [
                {
                    "group": track.group,
                    "steps": [
                        {
                            "gate": step.gate.value,
                            "counted": step.counted,
                            "actions": [
                                {"do": a.verb, "machine": a.machine_id, "name": a.name}
                                for a in step.actions
                            ],
                        }
                        for step in track.steps
                    ],
                }
                for track in stage
            ]
            for stage in order
        ],
    }
