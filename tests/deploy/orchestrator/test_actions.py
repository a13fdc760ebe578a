"""Carrying out one action where the platform answers oddly, seen through whole deploys."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from deploy.plan.release import created_config
from tests.contract.clocks import run_on
from tests.worlds.fleets import release
from tests.worlds.simulated.faults import BY_NAME, Kind
from tests.worlds.simulated.world import APP
from tests.worlds.stage import NEW, OLD, VOLUME, WEB, Hit, Stage, group_of, on_stage, to

LOST = BY_NAME["reply lost"]
GONE = Kind(name="gone", status=404, body='{"error":"machine not found"}')


# -- names -------------------------------------------------------------------------------


def test_a_name_that_another_deploy_took_is_5_and_its_machine_is_left_alone() -> None:
    async def play(stage: Stage) -> None:
        theirs = created_config(release(group_of(WEB)), group_of(WEB))

        def somebody_was_faster(_: Any) -> bool:
            if not stage.fleet:
                stage.world.create("web-1", theirs)
            return False

        hits = [Hit("create", LOST, on=somebody_was_faster)]
        told = await stage.deploy(hits=hits, retries=3)
        assert told.exit_code in (3, 5)
        assert len(stage.fleet) == 1
        assert not [c for c in told.changes if c.machine == stage.id("web-1")]

    on_stage(play)


class _NoNames(dict[str, str]):
    """The names of a platform that does not care whether they are unique."""

    def __contains__(self, _name: object) -> bool:
        return False


@pytest.mark.parametrize("names_are_unique", [True, False])
def test_a_lost_create_is_looked_for_before_it_is_sent_again(names_are_unique: bool) -> None:
    """The answer is lost, and lists do not show the machine for a while."""

    async def play(stage: Stage) -> None:
        async def hide_the_first() -> None:
            while not stage.fleet:  # noqa: ASYNC110 - looked at from outside
                await anyio.sleep(0.001)
            stage.world.platform.hide(APP, stage.id("web-1"), for_s=8)

        if not names_are_unique:
            stage.world.platform.apps[APP].by_name = _NoNames()
        stage.world._tasks.start_soon(hide_the_first)
        told = await stage.deploy(hits=[Hit("create", LOST)])
        assert told.exit_code == 0
        assert sorted(machine.name for machine in stage.world.machines()) == ["web-1", "web-2"]

    on_stage(play)


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


# -- volumes -----------------------------------------------------------------------------


def _with_volumes(volumes: list[dict[str, Any]]) -> Callable[[httpx.Request], httpx.Response]:
    """The volumes' endpoint, which the local platform has not."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=volumes)
        made = {"id": f"vol_{len(volumes) + 1}", **json.loads(request.content)}
        volumes.append(made)
        return httpx.Response(200, json=made)

    return answer


@pytest.mark.parametrize(
    ("volumes", "taken"),
    [
        ([], "vol_1"),
        ([{"id": "vol_a", "name": "data", "region": "ams"}], "vol_a"),
        ([{"id": "vol_a", "name": "other", "region": "ams"}], "vol_2"),
        ([{"id": "vol_a", "name": "data", "attached_machine_id": "m1"}], "vol_2"),
    ],
    ids=["none", "a free one", "another's name", "one in use"],
)
def test_a_new_machine_takes_a_free_volume_of_the_name_or_a_new_one(
    volumes: list[dict[str, Any]], taken: str
) -> None:
    from deploy.api.client import connect
    from deploy.api.patience import Patience
    from deploy.orchestrator.actions import Actions
    from deploy.orchestrator.ledger import Ledger

    async def main() -> list[dict[str, Any]]:
        transport = httpx.MockTransport(_with_volumes(volumes))
        async with connect("http://127.0.0.1:1", "t", "sim", transport=transport) as client:
            actions = object.__new__(Actions)
            actions._client = client
            actions._ledger = Ledger()
            actions._patience = Patience(0.0, None)  # type: ignore[arg-type]  # nothing is repeated
            return await actions._with_volumes([{"name": "data", "path": "/data"}], "")

    (mount,) = run_on("trio", main)
    assert mount == {"name": "data", "path": "/data", "volume": taken}


def test_a_new_machine_is_created_with_the_volume_that_was_made_for_it() -> None:
    async def play(stage: Stage) -> None:
        told = await stage.deploy()
        (created,) = told.of("create")
        assert [mount["path"] for mount in created.json["config"]["mounts"]] == ["/data"]
        (volume,) = stage.world.platform.volumes("sim")
        assert created.json["config"]["mounts"][0]["volume"] == volume.id
        assert volume.attached_machine_id == stage.id("web-1")

    on_stage(play, toml=WEB + VOLUME)
