"""One run from its report: what the index of deploys tells, and a page of it. Pure."""

from __future__ import annotations

import msgspec

from rollout.outcomes.record import Record
from rollout.outcomes.site.parts import facts, listed, section, table, text


class Machine(msgspec.Struct):
    """How a machine stood at the end."""

    machine_id: str = ""
    name: str = ""
    group: str = ""
    state: str = ""
    runs: str = ""
    detail: str = ""


class Run(Record):
    """A record with what only people want to know."""

    path: str = ""
    strategy: str = ""
    image: str = ""
    message: str = ""
    hint: str = ""
    passes_used: int = 0
    hiccups_met: int = 0
    machines: list[Machine] = msgspec.field(default_factory=list)
    machine_durations_s: dict[str, float] = msgspec.field(default_factory=dict)

    @property
    def begun_at(self) -> float:
        """When it began, in Unix time."""
        return self.at if self.result is None else self.at - self.duration_s


def run_page(run: Run) -> str:
    """What the report says; the timeline is in the journal of the computer that deployed."""
    head = facts(
        (
            ("Result", (run.result or "no end on record").replace("-", " ")),
            ("Cause", run.why),
            ("Path", run.path),
            ("Command", run.command),
            ("Image", run.image),
            ("Strategy", run.strategy),
            ("Passes", run.passes_used),
            ("Hiccups", f"{run.hiccups_met} met, {run.hiccups_mended} recovered"),
            ("Took", f"{run.duration_s:.1f} s"),
        )
    )
    message = f'<p class="lead">{text(run.message)}</p>' if run.message else ""
    next_step = listed([f"next: {run.hint}"] if run.hint else [])
    return (
        f"<header><h1>{text(run.app)} {text(run.key)}</h1>{message}{next_step}</header>"
        f"<section>{head}</section>{section('Machines', _machines(run))}"
    )


def _machines(run: Run) -> str:
    """Each machine with how long it took, as a part of the longest."""
    if not run.machines:
        return ""
    longest = max([*run.machine_durations_s.values(), 0.001])
    rows = []
    for machine in run.machines:
        took = run.machine_durations_s.get(machine.machine_id, 0.0)
        bar = (
            f'<div class="scale" role="img" aria-label="{took:.1f} s">'
            f'<i style="left:0;width:{100 * took / longest:.1f}%"></i></div>'
        )
        cells = (machine.name or machine.machine_id, machine.group, machine.state, machine.runs)
        rows.append([*map(text, cells), f"{took:.1f} s{bar}", text(machine.detail)])
    return table(("Machine", "Group", "State", "Runs", "Took", ""), rows)
