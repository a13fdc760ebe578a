"""Law 14 in a simulated world: what its last run advised is done, and has to come true.

Each command is followed in a copy of the process, so that the world itself stays as
it is for whoever judges it.
"""

from __future__ import annotations

import gc
import os
import pickle
import traceback
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import sniffio

from deploy.commands.order import order_of
from tests.worlds.advice import Advice, advice_of, parse, run_command
from tests.worlds.simulated.commanded import commands_in
from tests.worlds.simulated.story import Run, Story

if TYPE_CHECKING:
    from tests.worlds.simulated.world import World

_OTHER_IDS = 1_000_003  # than those of the deploys before


async def follow_advice(world: World) -> list[tuple[Advice, Story]]:
    """The story of each command that the run which ended last advised, from now on.

    On trio only: a copy of a process has no loop of asyncio's.
    """
    if sniffio.current_async_library() != "trio":
        return []
    run = max(world.story.runs, key=lambda each: each.ended_s)
    if run.died or run.finished is None:
        return []
    followed = []
    for advice in advice_of(run.finished.hint):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            gc.disable()  # it would write to, and so copy, all the memory that is shared
            os.close(reader)
            await _live_on(world, run, advice, writer)
        os.close(writer)
        followed.append((advice, _told_by(child, reader)))
    return followed


def _told_by(child: int, reader: int) -> Story:
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, "nobody knows what became of following an advice"
    story: Story = pickle.loads(told)  # noqa: S301 - written by our own child
    return story


async def _live_on(world: World, run: Run, advice: Advice, writer: int) -> NoReturn:
    """The life of the copy; what trio would put away at its end, it shares with the other."""
    try:
        world.inhabited.closes_every = 0  # a platform at rest loses no answer
        name, options = parse(advice.command)
        order = order_of(options)
        with commands_in(world.scenario.seed + _OTHER_IDS):
            told = await world.deploy(
                name="advised",
                image=run.release.image,
                retries=order.retries,
                settings=replace(world.settings, wait_for_lease_s=order.settings.wait_for_lease_s),
                command=partial(run_command, name, options),
            )
        told.is_rollback = name == "rollback"
        world.story.after = world.snapshot()
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(world.story, pipe)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
