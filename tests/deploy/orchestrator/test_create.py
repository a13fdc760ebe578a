"""Making machines so that there is never a second one, whatever answers are lost."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from deploy.api.client import connect
from deploy.api.patience import Patience
from deploy.errors import CallFailed, LeaseHeld, LeaseLost, Meaning, NotInTime
from deploy.local.leases import Leases as PlatformLeases
from deploy.local.state import Machine
from deploy.orchestrator.create import Creator
from deploy.orchestrator.halt import Cut, Halt
from deploy.orchestrator.lease import LeaseTerms, holding
from deploy.orchestrator.memory import SETTLE_S, Memory
from deploy.orchestrator.shared_list import SharedList
from deploy.orchestrator.tools import Tools
from deploy.plan.actions import Create
from deploy.plan.configs import created_config
from tests.contract.clocks import run_on
from tests.deploy.orchestrator.bench import Bench, on_bench, release_for
from tests.worlds.fleets import release
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.world import APP, NEW, Scenario
from tests.worlds.stage import VOLUME, WEB, Hit, Stage, group_of, on_stage

LOST = BY_NAME["reply lost"]
NOBODY = Scenario(machines=0)


def _creator(bench: Bench) -> Creator:
    parts = bench.deployment
    return Creator(parts.tools, parts.memory, parts.leases, SharedList(parts.tools))


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


def _web(name: str = "web-1", **fields: Any) -> Create:
    """A machine of the bench's release."""
    wanted = release_for()
    said = {"config": created_config(wanted, wanted.groups[0]), "region": "ams"} | fields
    return Create(name=name, group="web", **said)


def test_a_create_brings_its_lease_and_is_remembered_as_ours() -> None:
    async def story(bench: Bench) -> None:
        machine = await _creator(bench).create(_web())
        assert bench.memory.is_own(machine.id)
        assert bench.deployment.leases.holds(machine.id)
        (sent,) = bench.calls("create")
        assert (sent.json["name"], sent.json["region"]) == ("web-1", "ams")
        assert not sent.json.get("skip_launch")
        assert bench.calls("acquire") == []

    on_bench(story, scenario=NOBODY)


def test_one_that_is_to_be_updated_at_once_is_made_without_starting_it() -> None:
    async def story(bench: Bench) -> None:
        await _creator(bench).create(_web(then={"metadata": {}}, cordoned=True))
        (sent,) = bench.calls("create")
        assert (sent.json["skip_launch"], sent.json["skip_service_registration"]) == (True, True)

    on_bench(story, scenario=NOBODY)


@pytest.mark.parametrize("fault", ["reply lost", "503 after", "HTML", "503 before"])
def test_a_lost_answer_is_remembered_and_the_next_try_looks_first(fault: str) -> None:
    async def story(bench: Bench) -> None:
        creator = _creator(bench)
        with pytest.raises(CallFailed) as caught:
            await creator.create(_web())
        assert caught.value.meaning is Meaning.UNSETTLED
        assert bench.memory.lost_creates.keys() == {"web-1"}
        machine = await creator.create(_web())
        has_landed = fault in ("reply lost", "503 after")
        assert len(bench.calls("create")) == (1 if has_landed else 2)
        assert [one.id for one in bench.world.machines()] == [machine.id]
        assert bench.deployment.leases.nonce(machine.id)
        assert bench.memory.lost_creates == {}

    on_bench(story, scenario=NOBODY, hits=[Hit("create", BY_NAME[fault])])


def test_who_has_lost_the_arbiter_takes_no_lease_of_what_it_finds_made() -> None:
    """Nor does that become the arbiter: the one that a rival waits for is another."""

    async def story(bench: Bench) -> None:
        fleet, creator = await bench.fleet(), _creator(bench)
        await bench.deployment.leases.acquire(fleet.managed, app=fleet)
        with pytest.raises(CallFailed):
            await creator.create(_web("web-2"))
        await anyio.sleep(15)
        with pytest.raises(LeaseLost):
            await creator.create(_web("web-2"))
        assert [call.machine for call in bench.calls("acquire")] == [bench.id("web-1")]

    never = Hit("refresh", BY_NAME["503 before"], times=1000)
    on_bench(story, scenario=Scenario(machines=1), hits=[never, Hit("create", LOST)])


def test_what_never_landed_is_made_again_only_when_ten_seconds_are_over() -> None:
    async def story(bench: Bench) -> None:
        creator = _creator(bench)
        with pytest.raises(CallFailed):
            await creator.create(_web())
        lost_at = bench.memory.lost_creates["web-1"]
        await creator.create(_web())
        assert bench.calls("create")[1].sent_s >= lost_at + SETTLE_S

    on_bench(story, scenario=NOBODY, hits=[Hit("create", BY_NAME["503 before"])])


def test_a_refusal_is_no_lost_answer() -> None:
    async def story(bench: Bench) -> None:
        with pytest.raises(CallFailed):
            await _creator(bench).create(_web())
        assert bench.memory.lost_creates == {}
        assert bench.memory.own == set()

    on_bench(story, scenario=NOBODY, hits=[Hit("create", BY_NAME["429"])])


def test_a_name_that_an_earlier_run_of_this_deploy_gave_is_adopted() -> None:
    async def story(bench: Bench) -> None:
        there = bench.world.create("web-1", _web().config)
        machine = await _creator(bench).create(_web())
        assert machine.id == there.id
        assert bench.deployment.leases.nonce(there.id)
        assert bench.memory.ids == {"web-1": there.id}

    on_bench(story, scenario=NOBODY)


def test_a_name_that_somebody_else_gave_is_left_to_them() -> None:
    async def story(bench: Bench) -> None:
        theirs = release_for(deploy_id="0dddddddddother")
        bench.world.create("web-1", created_config(theirs, theirs.groups[0]))
        with pytest.raises(LeaseHeld, match="another deploy") as caught:
            await _creator(bench).create(_web())
        assert "wait for that deploy" in caught.value.hint
        assert bench.memory.own == set()

    on_bench(story, scenario=NOBODY)


@pytest.mark.parametrize("deploy_id", ["0dddddddddother", release_for().deploy_id])
def test_a_name_is_free_only_once_its_machine_is_gone(deploy_id: str) -> None:
    async def story(bench: Bench) -> None:
        wanted = release_for(deploy_id=deploy_id)
        going = bench.world.create("web-1", created_config(wanted, wanted.groups[0]))
        bench.world.platform.destroy_slowly(5.0)
        bench.world.platform.destroy(going, force=True)
        with pytest.raises(NotInTime, match="is free once machine"):
            await _creator(bench).create(_web())
        await anyio.sleep(20)
        machine = await _creator(bench).create(_web())
        assert machine.id != going.id

    on_bench(story, scenario=NOBODY)


def test_nothing_is_made_once_the_run_is_halted_while_it_waits_for_its_turn() -> None:
    async def story(bench: Bench) -> None:
        creator = _creator(bench)
        bench.halt.set(NotInTime("over"))
        with pytest.raises(Cut):
            await creator.create(_web())
        assert bench.calls("create") == []
        assert not bench.memory.has_written

    on_bench(story, scenario=NOBODY)


def test_a_standby_names_the_machine_that_it_stands_by_for_also_one_of_an_earlier_run() -> None:
    async def story(bench: Bench) -> None:
        creator = _creator(bench)
        with pytest.raises(NotInTime, match="web-1") as caught:
            await creator.create(_web("web-2", standby_for="web-1", launch=False))
        assert caught.value.meaning.is_hiccup
        first = bench.world.create("web-1", _web().config)
        await creator.create(_web("web-2", standby_for="web-1", launch=False))
        mine = await creator.create(_web("web-3"))
        await creator.create(_web("web-4", standby_for="web-3", launch=False))
        by_name = {one.name: one for one in bench.world.machines()}
        assert by_name["web-2"].raw["standbys"] == [first.id]
        assert by_name["web-4"].raw["standbys"] == [mine.id]

    on_bench(story, scenario=NOBODY)


# -- leases ------------------------------------------------------------------------------


class _NoLeaseTtl(PlatformLeases):
    """Of a platform that does not know `lease_ttl`."""

    def for_writer(self, machine: Machine, *, owner: str, ttl_s: int | None) -> None:
        """Nothing comes with a machine."""


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("strategy", ["canary", "bluegreen"])
def test_where_no_lease_comes_with_a_machine_it_is_taken(strategy: str, retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.deploy()
        platform = stage.world.platform
        platform.leases = _NoLeaseTtl(platform.identity, platform.leases._keep)
        told = await stage.deploy(image=NEW, strategy=strategy, retries=retries)
        assert told.exit_code == 0
        assert told.passes() == 1
        assert all(call.nonce for call in told.changes if call.operation != "create")

    on_stage(play)


# -- volumes ---------------------------------------------------------------------------


def _with_volumes(
    volumes: list[dict[str, Any]] | None, sent: list[dict[str, Any]]
) -> Callable[[httpx.Request], httpx.Response]:
    """A platform that keeps these volumes, or none at all; `sent` gets the creates."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/lease"):
            return httpx.Response(200, json={})
        if request.url.path.endswith("/machines"):
            sent.append(json.loads(request.content))
            made = {"id": "m9", "state": "created", "nonce": "n9", **sent[-1]}
            return httpx.Response(200, json=made)
        if volumes is None:
            return httpx.Response(404, json={"error": "not found"})
        if request.method == "GET":
            return httpx.Response(200, json=volumes)
        made = {"id": f"vol_{len(volumes) + 1}", **json.loads(request.content)}
        volumes.append(made)
        return httpx.Response(200, json=made)

    return answer


def _mounted(
    volumes: list[dict[str, Any]] | None, mounts: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The mounts that a new machine is asked for on a platform with these volumes."""
    sent: list[dict[str, Any]] = []

    async def main() -> None:
        transport = httpx.MockTransport(_with_volumes(volumes, sent))
        async with connect("http://127.0.0.1:1", "t", "sim", transport=transport) as client:
            patience = Patience(0.0, random.Random(1))
            tools = Tools(client=client, patience=patience, halt=Halt(), emit=lambda _: None)
            memory = Memory(release())
            async with holding(tools, memory, LeaseTerms(run_id="r")) as leases:
                creator = Creator(tools, memory, leases, SharedList(tools))
                config = {"image": "x", "mounts": mounts}
                await creator.create(Create(name="web-1", group="web", config=config))

    run_on("trio", main)
    (asked,) = sent
    found: list[dict[str, Any]] = asked["config"]["mounts"]
    return found


@pytest.mark.parametrize(
    ("volumes", "taken"),
    [
        ([], "vol_1"),
        ([{"id": "vol_a", "name": "data", "region": "ams"}], "vol_a"),
        ([{"id": "vol_a", "name": "other", "region": "ams"}], "vol_2"),
        ([{"id": "vol_a", "name": "data", "attached_machine_id": "m1"}], "vol_2"),
        (None, None),
    ],
    ids=["none", "a free one", "another's name", "one in use", "a platform without volumes"],
)
def test_a_new_machine_takes_a_free_volume_of_the_name_or_a_new_one(
    volumes: list[dict[str, Any]] | None, taken: str | None
) -> None:
    mount = {"name": "data", "path": "/data"}
    got = mount | ({"volume": taken} if taken else {})
    assert _mounted(volumes, [mount]) == [got]


def test_two_mounts_never_take_the_same_volume_and_a_chosen_one_is_left() -> None:
    free = [{"id": "vol_a", "name": "data", "region": "ams"}]
    mounts = [
        {"name": "data", "path": "/one"},
        {"name": "data", "path": "/two"},
        {"name": "data", "path": "/three", "volume": "vol_z"},
    ]
    taken = [mount["volume"] for mount in _mounted(free, mounts)]
    assert taken == ["vol_a", "vol_2", "vol_z"]


def test_a_new_machine_is_created_with_the_volume_that_was_made_for_it() -> None:
    async def play(stage: Stage) -> None:
        told = await stage.deploy()
        (created,) = told.of("create")
        assert [mount["path"] for mount in created.json["config"]["mounts"]] == ["/data"]
        (volume,) = stage.world.platform.volumes("sim")
        assert created.json["config"]["mounts"][0]["volume"] == volume.id
        assert volume.attached_machine_id == stage.id("web-1")

    on_stage(play, toml=WEB + VOLUME)
