"""Which machines a deploy is about, and what each of them needs."""

from __future__ import annotations

import anyio
import pytest

from deploy.errors import UsageProblem
from deploy.events import Result
from deploy.local.lifecycle import Stop as Stopping
from deploy.plan.selection import Selection
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.stage import (
    BROKEN,
    NEW,
    OLD,
    VOLUME,
    WEB,
    WORKER,
    Hit,
    Stage,
    group_of,
    on_stage,
    to,
)

NO_WEB = WORKER.replace('  web = "serve"\n', "").partition("[http_service]")[0]
SLEEPY = WEB.replace("internal_port", 'auto_stop_machines = "stop"\n  internal_port')
SERVING_WORKER = WORKER + '\n[[services]]\n  internal_port = 9000\n  processes = ["worker"]\n'


# -- cold machines -----------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 3])
def test_cold_machines_are_updated_side_by_side_and_stay_cold(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(8, cold=6)
        told = await stage.deploy(retries=retries, max_unavailable=1)
        assert (told.exit_code, stage.images) == (0, [NEW] * 8)
        states = [stage.fleet[name].state for name in sorted(stage.fleet)]
        assert states == ["started"] * 2 + ["stopped"] * 6
        cold = [stage.id(f"web-{n}") for n in range(3, 9)]
        sent = [call.sent_s for call in told.of("update") if call.machine in cold]
        assert max(sent) - min(sent) < 0.5

    on_stage(play)


def test_a_stopped_machine_stays_stopped() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        machine = stage.machine("web-2")
        stage.world.platform._lifecycle.stop(machine, stop=Stopping.of(machine.config))
        await anyio.sleep(10)
        told = await stage.deploy()
        assert (told.exit_code, stage.images) == (0, [NEW] * 2)
        assert stage.fleet["web-2"].state == "stopped"
        assert told.of("start") == []

    on_stage(play)


def test_a_suspended_machine_may_end_stopped_but_does_not_run() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        stage.world.platform._lifecycle.suspend(stage.machine("web-2"))
        await anyio.sleep(10)
        told = await stage.deploy()
        assert (told.exit_code, stage.images) == (0, [NEW] * 2)
        assert stage.fleet["web-2"].state in ("stopped", "suspended")

    on_stage(play)


@pytest.mark.parametrize("retries", [0, 3])
def test_a_machine_that_autostops_while_it_is_updated_is_a_success(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)

        async def autostop() -> None:
            """The platform stops it as soon as it is up, before its checks have a result."""
            machine = stage.machine("web-1")
            while machine.config.image != NEW or machine.state != "started":
                await machine.next_change()
            stage.world.platform._lifecycle.stop(machine, stop=Stopping.of(machine.config))

        stage.world._tasks.start_soon(autostop)
        told = await stage.deploy(retries=retries)
        assert told.exit_code == 0, told.end
        assert stage.images == [NEW] * 2
        assert stage.fleet["web-1"].state == "stopped"
        assert told.of("start") == []

    on_stage(play, toml=SLEEPY)


def test_standbys_are_cleared_when_services_appear() -> None:
    async def play(stage: Stage) -> None:
        first = await stage.deploy(OLD)
        assert first.exit_code == 0
        assert stage.fleet["worker-2"].config["standbys"]
        told = await stage.deploy(toml=SERVING_WORKER)
        assert told.exit_code == 0
        assert not stage.fleet["worker-2"].config.get("standbys")

    on_stage(play, toml=WORKER)


def test_a_standby_stays_one_and_is_not_launched() -> None:
    async def play(stage: Stage) -> None:
        await stage.deploy(OLD)
        standby = stage.fleet["worker-2"].config["standbys"]
        told = await stage.deploy()
        assert told.exit_code == 0
        assert stage.fleet["worker-2"].config["standbys"] == standby
        assert stage.fleet["worker-2"].state in ("created", "stopped")

    on_stage(play, toml=WORKER)


# -- groups ------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 3])
def test_removed_groups_are_destroyed_when_all_that_is_new_is_healthy(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(toml=WEB, retries=retries)
        assert told.exit_code == 0
        assert sorted(stage.fleet) == ["web-1", "web-2"]
        first_destroyed_s = min(call.sent_s for call in told.of("destroy"))
        last_seen_s = max(at for at, e in told.events if getattr(e, "phase", "") == "checking")
        assert first_destroyed_s > last_seen_s

    on_stage(play, toml=WORKER)


def test_a_removed_group_is_kept_when_what_is_new_fails() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(BROKEN, toml=WEB, wait_timeout_s=20.0)
        assert (told.exit_code, told.of("destroy")) == (1, [])
        assert stage.images == [OLD] * 4

    on_stage(play, toml=WORKER)


def test_update_only_neither_adds_nor_removes_groups() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle({"web": 2})
        told = await stage.deploy(update_only=True)
        assert (told.exit_code, sorted(stage.fleet)) == (0, ["web-1", "web-2"])

    on_stage(play, toml=WORKER)


def test_without_high_availability_a_new_group_gets_one_machine() -> None:
    async def play(stage: Stage) -> None:
        told = await stage.deploy(high_availability=False)
        assert told.exit_code == 0
        assert sorted(stage.fleet) == ["web-1", "worker-1"]

    on_stage(play, toml=WORKER)


def test_a_new_group_with_mounts_gets_one_machine() -> None:
    async def play(stage: Stage) -> None:
        told = await stage.deploy()
        assert (told.exit_code, sorted(stage.fleet)) == (0, ["web-1"])

    on_stage(play, toml=WEB + VOLUME)


# -- replacement -------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 3])
def test_changed_mounts_replace_the_machine_and_destroy_the_old_one_last(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        before = {machine.id for machine in stage.fleet.values()}
        told = await stage.deploy(toml=WEB + VOLUME, retries=retries)
        assert told.exit_code == 0, told.end
        assert stage.images == [NEW] * 2
        assert not before & {machine.id for machine in stage.fleet.values()}
        for machine in stage.fleet.values():
            assert [mount["path"] for mount in machine.config["mounts"]] == ["/data"]
            assert machine.config["x_unknown"] == {"keep": [1, 2]}
        assert max(c.heard_s or 0 for c in told.of("create")) < told.of("destroy")[0].sent_s
        serving = [len(ids) for at, ids in stage.world.story.serving if at > told.calls[0].sent_s]
        assert min(serving) >= 2

    on_stage(play)


def test_a_replacement_that_is_sick_goes_and_the_old_machine_stays() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        before = {machine.id for machine in stage.fleet.values()}
        told = await stage.deploy(BROKEN, toml=WEB + VOLUME, wait_timeout_s=20.0)
        assert (told.exit_code, told.end.result) == (1, Result.ROLLED_BACK)
        assert {machine.id for machine in stage.fleet.values()} == before
        assert stage.serving == 2

    on_stage(play)


def test_a_volume_on_an_unreachable_host_stops_the_run_by_name() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        lost = stage.id("web-2")
        stage.runtime.lose_host(lost)
        told = await stage.deploy()
        assert told.exit_code == 1
        assert "web-2" in told.end.message
        assert lost in told.end.hint
        assert told.writes == []
        stage.runtime.find_host(lost)

    on_stage(play, toml=WEB + VOLUME)


def test_a_volume_on_an_unreachable_host_can_be_left_out() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        lost = stage.id("web-2")
        stage.runtime.lose_host(lost)
        told = await stage.deploy(selection=Selection(exclude_machines=frozenset({lost})))
        assert told.exit_code == 0, told.end
        assert stage.fleet["web-1"].image == NEW

    on_stage(play, toml=WEB + VOLUME)


def test_a_host_without_room_keeps_a_machine_with_a_volume_where_it_is() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        full = stage.id("web-2")
        hits = [Hit("update", BY_NAME["409 host full"], times=99, on=to(full))]
        told = await stage.deploy(hits=hits, retries=2)
        assert told.of("create") == []
        assert told.exit_code == 1
        assert stage.images == [OLD] * 2

    on_stage(play, toml=WEB + VOLUME)


# -- selection ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "names", "updated"),
    [
        ("only_machines", {"web-2"}, {"web-2"}),
        ("exclude_machines", {"web-1"}, {"web-2", "worker-1", "worker-2"}),
        ("process_groups", {"worker"}, {"worker-1", "worker-2"}),
        ("regions", {"local"}, {"web-1", "web-2", "worker-1", "worker-2"}),
    ],
)
@pytest.mark.parametrize("retries", [0, 3])
def test_a_selection_deploys_to_those_and_no_others(
    field: str, names: set[str], updated: set[str], retries: int
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        ids = {stage.id(name) for name in updated}
        selection = Selection(**{field: frozenset(names)})
        told = await stage.deploy(selection=selection, retries=retries)
        assert told.exit_code == 0
        assert {n for n, m in stage.fleet.items() if m.image == NEW} == updated
        assert {call.machine for call in told.changes} == ids
        arbiter = min(machine.id for machine in stage.fleet.values())
        assert {call.machine for call in told.of("acquire")} == ids | {arbiter}
        assert len(stage.fleet) == 4

    on_stage(play, toml=WORKER)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(only_machines=frozenset({"nobody"})),
        Selection(regions=frozenset({"syd"})),
        Selection(process_groups=frozenset({"nobody"})),
    ],
    ids=["machine", "region", "group"],
)
def test_a_selection_that_matches_nothing_is_an_error(selection: Selection) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(selection=selection)
        assert told.exit_code == 2
        assert told.writes == []
        assert stage.images == [OLD] * 2

    on_stage(play)


def test_excluded_regions_are_left_alone() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(selection=Selection(exclude_regions=frozenset({"local"})))
        assert (told.exit_code, told.writes) == (2, [])

    on_stage(play)


# -- dry ---------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen", "immediate"])
def test_a_plan_shows_what_a_deploy_does_and_changes_nothing(strategy: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3, cold=1)
        told, order = await stage.plan(strategy=strategy)
        assert told.writes == []
        planned = [
            action.verb
            for stages in order
            for track in stages
            for step in track.steps
            for action in step.actions
        ]
        real = await stage.deploy(strategy=strategy)
        assert len([v for v in planned if v == "create"]) == len(real.of("create"))
        assert len([v for v in planned if v == "destroy"]) == len(real.of("destroy"))
        assert real.exit_code == 0

    on_stage(play)


# -- scale -------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 3])
def test_scaling_up_and_down_and_deploying_after(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        up = await stage.scale("web", 4, retries=retries)
        assert (up.exit_code, stage.images, stage.serving) == (0, [OLD] * 4, 4)
        assert (await stage.deploy(retries=retries)).exit_code == 0
        down = await stage.scale("web", 1, retries=retries)
        assert (down.exit_code, stage.images) == (0, [NEW])
        assert sorted(stage.fleet) == ["web-1"]
        again = await stage.scale("web", 1, retries=retries)
        assert (again.exit_code, again.writes) == (0, [])

    on_stage(play)


def test_scaling_a_group_that_nobody_knows_is_an_error() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.scale("nobody", 3)
        assert isinstance(told.error, UsageProblem)
        assert told.writes == []

    on_stage(play)


def test_a_cloned_machine_that_another_tool_made_is_deployed_to_and_not_destroyed() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        await stage.deploy()
        clone = dict(stage.fleet["web-1"].config)
        stage.world.create("somebodys-clone", clone)
        await anyio.sleep(10)
        told = await stage.deploy("registry.test/hello:3")
        assert told.exit_code == 0
        assert len(stage.fleet) == 3
        assert set(stage.images) == {"registry.test/hello:3"}

    on_stage(play)


def test_a_machine_of_a_sibling_group_is_no_matter() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(1)
        spec = group_of(WORKER, "worker")
        stage.add("worker-7", spec)
        await anyio.sleep(10)
        told = await stage.deploy(selection=Selection(process_groups=frozenset({"web"})))
        assert told.exit_code == 0
        assert stage.fleet["worker-7"].image == OLD

    on_stage(play)
