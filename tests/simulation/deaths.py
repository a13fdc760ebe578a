"""The process of a deploy dies at a call, and another computer takes up what it left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import anyio

from deploy.commands.order import Order
from deploy.commands.resume import resume_app
from deploy.commands.rollback import rollback_app
from deploy.commands.target import Target
from deploy.errors import UsageProblem
from deploy.events import Emit, RunFinished
from tests.simulation.laws import broken_laws, not_new, not_old
from tests.worlds.simulated.world import Command, Scenario, Story, World, simulate, tell

LEASE_S = 13
WAYS = ("resume", "rollback", "deploy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Just before, or just after, the n-th call (from 1) of the scenario's deploy."""

    scenario: Scenario
    call: int
    after: bool
    way: str

    def __str__(self) -> str:
        of = f"{self.scenario.machines}x{self.scenario.groups}"
        when = "after" if self.after else "before"
        return f"{self.scenario.strategy} {of} dies {when} call {self.call}, then {self.way}"


def deaths(scenario: Scenario, ways: tuple[str, ...] = WAYS) -> Iterator[Death]:
    """Every moment of a quiet deploy, and every way to go on from there."""
    for call in range(1, len(simulate(scenario).calls) + 1):
        for after in (False, True):
            for way in ways:
                yield Death(scenario=scenario, call=call, after=after, way=way)


def judge_death(death: Death) -> tuple[str, tuple[str, ...]]:
    """(outcome, faults): wholly new, or wholly old, after at most one lease time."""

    async def play(world: World) -> None:
        await world.deploy(dies_at=(death.call, death.after))
        if death.way == "deploy":
            await anyio.sleep(LEASE_S + 1)  # to a new deploy the dead one is a rival
        again = await world.deploy(name="run2", command=COMMANDS[death.way])
        again.is_rollback = death.way == "rollback"
        await world.rest()

    story = tell(death.scenario, play)
    return _outcome(story), tuple(_faults(story))


async def roll_back(target: Target, order: Order, emit: Emit) -> RunFinished | None:
    """Undo the newest deploy; None where there is nothing that could be."""
    try:
        return await rollback_app(target, order, None, emit)
    except UsageProblem:  # the fleet's own first release has nothing before it
        return None


COMMANDS: dict[str, Command | None] = {
    "resume": resume_app,
    "rollback": roll_back,
    "deploy": None,
}


def _outcome(story: Story) -> str:
    run = story.run
    if run.had_nothing_to_do:
        return "nothing to do"
    return f"exit {run.finished.exit_code} {run.finished.result}" if run.finished else run.error


def _faults(story: Story) -> Iterator[str]:
    run = story.run
    yield from broken_laws(story)
    is_done = run.finished is not None and not run.finished.exit_code
    if run.had_nothing_to_do and not run.refusal:
        has_begun = any(call.operation == "mark" and call.was_carried_out for call in story.calls)
        yield from not_new(story) if has_begun else not_old(story)
    elif not is_done:
        yield f"it ends with {_outcome(story)}"
    longest_s = LEASE_S + 3 * (story.runs[0].ended_s - story.runs[0].started_s) + 60.0
    if run.ended_s - run.started_s > longest_s:
        yield f"it took {run.ended_s - run.started_s:.0f} s"
