"""Carrying out one action where the platform answers oddly, seen through whole deploys."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.worlds.simulated.faults import BY_NAME, Kind
from tests.worlds.stage import NEW, OLD, Hit, Stage, on_stage, to

LOST = BY_NAME["reply lost"]
GONE = Kind(name="gone", status=404, body='{"error":"machine not found"}')


# -- versions ----------------------------------------------------------------------------


def test_an_update_of_a_machine_that_somebody_changed_is_planned_anew() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        other = stage.id("web-2")

        def changed_meanwhile(call: Any) -> bool:
            machine = stage.machine("web-2")
            if call.machine == other and machine.config.image == OLD and not changed:
                changed.append(machine.version)
                version = type(machine.versions[0])
                machine.versions.appendleft(version("01CHANGED", machine.raw, machine.raw))
            return False

        changed: list[str] = []
        told = await stage.deploy(hits=[Hit("update", LOST, on=changed_meanwhile)])
        assert (told.exit_code, stage.images) == (0, [NEW] * 2)
        sent = [json.loads(c.body)["current_version"] for c in told.of("update", other)]
        assert sent == [changed[0], "01CHANGED"]

    on_stage(play)


def test_an_update_with_an_unknown_outcome_is_read_before_anything_is_written_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        hits = [Hit("update", BY_NAME["503 before"], on=to(stage.id("web-1")))]
        told = await stage.deploy(hits=hits)
        first, second = told.of("update", stage.id("web-1"))
        reads = [
            call
            for call in told.calls
            if call.operation in ("read", "list") and first.sent_s < call.sent_s < second.sent_s
        ]
        assert told.exit_code == 0
        assert reads

    on_stage(play)


# -- what is gone ------------------------------------------------------------------------


def test_a_machine_that_is_gone_already_counts_as_destroyed() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(strategy="canary", hits=[Hit("destroy", LOST)])
        assert (told.exit_code, told.end.leftovers) == (0, ())
        assert stage.images == [NEW] * 2

    on_stage(play)


def test_a_machine_that_vanishes_in_the_middle_is_not_made_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        gone = stage.id("web-3")

        def vanish(call: Any) -> bool:
            machine = stage.world.platform.apps["sim"].machines[gone]
            if call.machine == gone and not machine.is_gone:
                stage.world.platform._lifecycle.destroy(machine)
            return False

        told = await stage.deploy(hits=[Hit("update", GONE, on=vanish)], retries=2)
        assert told.of("create") == []
        assert {machine.image for machine in stage.fleet.values()} == {NEW}
        assert len(stage.fleet) == 2

    on_stage(play)


@pytest.mark.parametrize("operation", ["start", "stop", "cordon", "uncordon"])
def test_what_asks_for_a_state_may_be_asked_twice(operation: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(strategy="bluegreen", hits=[Hit(operation, LOST, times=2)])
        assert (told.exit_code, stage.images, stage.serving) == (0, [NEW] * 2, 2)

    on_stage(play)
