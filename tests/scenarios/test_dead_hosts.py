"""A machine whose host does not answer: its place is kept, it is replaced once, and named."""

from __future__ import annotations

import pytest

from deploy.events import Result
from deploy.readers.report import Report, headline
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.simulated.habits import Habits
from tests.worlds.simulated.transport import Call
from tests.worlds.stage import BROKEN, NEW, OLD, Death, Hit, Stage, Told, on_stage, to

LOSES_HOSTS = Habits(unreachable=frozenset({"none of these"}))
LOST = BY_NAME["503 before"]
IMAGES = [f"{OLD[:-1]}{number}" for number in range(2, 7)]


def _dead(stage: Stage, name: str) -> str:
    machine_id = stage.id(name)
    stage.world.inhabited.lose(machine_id)
    return machine_id


def _dies_at(stage: Stage, name: str, operation: str) -> tuple[str, Hit]:
    """A machine, and what loses its host when the first call of that kind is made."""
    dying = stage.id(name)

    def dies(_call: object) -> bool:
        stage.world.inhabited.lose(dying)
        return False

    return dying, Hit(operation, LOST, on=dies)


def _alive(stage: Stage, dead: str) -> list[str]:
    """The images of the machines that are not the dead one."""
    return sorted(machine.image for machine in stage.fleet.values() if machine.id != dead)


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_five_releases_beside_a_dead_host_make_no_machine_more(strategy: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dead = _dead(stage, "web-2")
        for image in IMAGES:
            told = await stage.deploy(image, strategy=strategy)
            assert told.exit_code == 0, told.end
            assert _alive(stage, dead) == [image] * 3
        assert dead not in {machine.id for machine in stage.fleet.values()}  # it could be removed

    on_stage(play, habits=LOSES_HOSTS)


@pytest.mark.parametrize("strategy", ["rolling", "bluegreen"])
def test_a_dead_machine_that_cannot_be_removed_is_replaced_once_and_named_each_time(
    strategy: str,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dead = _dead(stage, "web-2")
        never = Hit("destroy", LOST, times=999, on=to(dead))
        for image in IMAGES[:3]:
            told = await stage.deploy(image, strategy=strategy, hits=[never])
            assert (told.exit_code, told.passes()) == (0, 2), told.end  # tried once more, no more
            report = Report.of(told.events)
            assert (report.hiccups_met, report.hiccups_mended) == (2, 0)
            assert "2 hiccups, " in headline(report)
            assert _alive(stage, dead) == [image] * 3
            assert any(dead in each for each in told.end.leftovers), told.end
            assert f"fly machine destroy --force --app sim {dead}" in told.end.hint

    on_stage(play, habits=LOSES_HOSTS)


def test_a_rollback_leaves_the_dead_machine_alone_and_keeps_its_stand_in() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dead = _dead(stage, "web-2")
        never = Hit("destroy", LOST, times=999, on=to(dead))
        await stage.deploy(NEW, retries=1, hits=[never])
        told = await stage.rollback()
        assert told.exit_code == 0, told.end
        assert _alive(stage, dead) == [OLD] * 3
        assert [call for call in told.changes if call.machine == dead] == []

    on_stage(play, habits=LOSES_HOSTS)


@pytest.mark.parametrize("command", ["resume", "rollback"])
@pytest.mark.parametrize("nth", [0, 1, 2])
def test_a_stand_in_that_was_made_and_not_updated_yet_serves_in_its_place(
    nth: int, command: str
) -> None:
    """Nor is it left as it was born, where the run has died before it could be updated."""

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dead = _dead(stage, "web-2")
        died = await stage.deploy(dies=Death("create") if nth == 0 else Death("update", nth - 1))
        assert died.has_died
        again = await (stage.resume() if command == "resume" else stage.rollback())
        assert again.exit_code == 0, again.end
        assert _alive(stage, dead) == [NEW if command == "resume" else OLD] * 3
        assert all(each.serves for each in stage.fleet.values() if each.id != dead)

    on_stage(play, habits=LOSES_HOSTS)


def test_a_blue_that_was_cordoned_when_its_host_died_is_not_said_to_be_as_before() -> None:
    """Its green serves in its place for as long as it cannot be brought back."""

    async def play(stage: Stage) -> None:
        await stage.settle(2)
        dying, watching = _dies_at(stage, "web-2", "stop")
        never = Hit("stop", LOST, times=999, on=to(stage.id("web-1")))
        told = await stage.deploy(strategy="bluegreen", hits=[watching, never])
        assert (told.exit_code, told.end.result) == (3, Result.IN_BETWEEN)
        assert stage.serving == 2  # web-1, and the green of web-2
        assert sorted(stage.images) == [OLD, OLD, NEW]
        stage.world.inhabited.find(dying)
        again = await stage.rollback()
        assert again.exit_code == 0, again.end
        assert (sorted(stage.fleet), stage.images) == (["web-1", "web-2"], [OLD] * 2)
        assert stage.serving == 2

    # before its host is found a rollback keeps the green beside it, see above
    on_stage(play, habits=LOSES_HOSTS, follows=False)


@pytest.mark.parametrize("operation", ["create", "update", "uncordon", "cordon", "stop"])
@pytest.mark.parametrize("is_removable", [True, False])
def test_a_blue_whose_host_dies_during_the_run_keeps_no_green_from_its_place(
    operation: str, *, is_removable: bool
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dying, watching = _dies_at(stage, "web-2", operation)
        never = Hit("destroy", LOST, times=999, on=to(dying))
        hits = [watching] if is_removable else [watching, never]
        told = await stage.deploy(strategy="bluegreen", hits=hits)
        assert (told.exit_code, told.end.result) == (0, Result.DONE), told.end
        assert _alive(stage, dying) == [NEW] * 3
        assert all(each.serves for each in stage.fleet.values() if each.id != dying)

    on_stage(play, habits=LOSES_HOSTS, checks=is_removable)  # else its lease may be left


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_a_host_that_dies_during_the_run_frees_its_place_for_the_others(strategy: str) -> None:
    """Its machine is removed without a lease, though the run had one when the host died."""

    async def play(stage: Stage) -> None:
        await stage.settle(4)
        dying, watching = _dies_at(stage, "web-2", "update")
        told = await stage.deploy(strategy=strategy, max_unavailable=1, hits=[watching])
        assert told.exit_code == 0, told.end
        assert _alive(stage, dying) == [NEW] * 4
        assert dying not in {machine.id for machine in stage.fleet.values()}  # by force
        assert told.end.leftovers == ()

    on_stage(play, habits=LOSES_HOSTS)


def test_a_rollback_brings_the_living_back_and_names_the_dead_that_the_deploy_had_written() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        await stage.deploy()
        dead = _dead(stage, "web-1")
        told = await stage.rollback(max_unavailable=1)
        _assert_stuck(stage, told, dead)
        assert _alive(stage, dead) == [OLD] * 2
        again = await stage.deploy(IMAGES[1])  # as it was advised
        assert again.exit_code == 0, again.end
        assert _alive(stage, dead) == [IMAGES[1]] * 3

    on_stage(play, habits=LOSES_HOSTS)


@pytest.mark.parametrize("strategy", ["rolling", "canary"])
def test_the_living_go_back_though_a_machine_died_that_the_deploy_had_written(
    strategy: str,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        new: list[str] = []

        def dies(call: Call) -> bool:
            new.append(call.machine)
            if new[0] != call.machine:
                stage.world.inhabited.lose(new[0])
            return call.machine != new[0]

        broken = Hit("update", BY_NAME["exits"], on=dies)
        told = await stage.deploy(strategy=strategy, max_unavailable=1, hits=[broken])
        _assert_stuck(stage, told, new[0])
        assert _alive(stage, new[0]) == [OLD] * 2

    on_stage(play, habits=LOSES_HOSTS)


def _assert_stuck(stage: Stage, told: Told, dead: str) -> None:
    name = next(machine.name for machine in stage.fleet.values() if machine.id == dead)
    assert (told.exit_code, told.end.result) == (3, Result.IN_BETWEEN), told.end
    assert told.end.leftovers == (f"{name} ({dead})",)
    assert f"fly machine destroy --force --app sim {dead}" in told.end.hint
    assert "deploy what is to run" in told.end.hint
    assert stage.serving == 3  # this simulation lets the dead go on serving


@pytest.mark.parametrize("strategy", ["rolling", "canary"])
def test_a_host_that_dies_when_its_machine_was_done_undoes_nothing(strategy: str) -> None:
    """It holds no place, it is named at the end, and the next deploy replaces it."""
    done: list[str] = []

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        done.clear()

        def dies(call: Call) -> bool:
            if done and call.machine not in done:
                stage.world.inhabited.lose(done[0])
            done.append(call.machine)
            return done.count(call.machine) == 1 and call.machine != done[0]

        hiccup = Hit("update", LOST, on=dies)
        told = await stage.deploy(strategy=strategy, max_unavailable=1, hits=[hiccup])
        assert (told.exit_code, told.end.result) == (0, Result.DONE), told.end
        assert sorted(stage.images) == [NEW] * 3
        assert "its host is unreachable) does not serve" in told.end.message
        assert f"({done[0]}) does not answer: a deploy replaces it" in told.end.hint
        again = await stage.deploy(strategy=strategy)
        assert (again.exit_code, again.end.hint) == (0, ""), again.end
        assert done[0] not in {machine.id for machine in stage.fleet.values()}
        assert stage.images == [NEW] * 3

    on_stage(play, habits=LOSES_HOSTS)


@pytest.mark.parametrize("operation", ["read", "wait"])
def test_a_host_that_dies_before_its_new_machine_was_seen_to_serve_is_replaced(
    operation: str,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dying = stage.id("web-2")

        def dies(call: Call) -> bool:
            if call.machine == dying and stage.fleet["web-2"].image == NEW:
                stage.world.inhabited.lose(dying)
            return False

        told = await stage.deploy(hits=[Hit(operation, LOST, on=dies)])
        assert (told.exit_code, told.end.result) == (0, Result.DONE), told.end
        assert _alive(stage, dying) == [NEW] * 3

    on_stage(play, habits=LOSES_HOSTS)


def test_a_green_whose_host_dies_before_the_switch_is_replaced() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dying: list[str] = []

        def dies(call: Call) -> bool:
            dying.append(call.machine)
            stage.world.inhabited.lose(dying[0])
            return False

        told = await stage.deploy(strategy="bluegreen", hits=[Hit("uncordon", LOST, on=dies)])
        assert (told.exit_code, told.end.result) == (0, Result.DONE), told.end
        assert _alive(stage, dying[0]) == [NEW] * 3
        assert stage.serving == 3

    on_stage(play, habits=LOSES_HOSTS)


def test_a_canary_whose_host_dies_keeps_no_release_from_being_proved() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        dying: list[str] = []

        def dies(_call: Call) -> bool:
            canaries = [m.id for m in stage.fleet.values() if "canary" in m.name]
            if canaries and not dying:
                dying.extend(canaries)
                stage.world.inhabited.lose(dying[0])
            return False

        hits = [Hit("read", LOST, on=dies), Hit("update", LOST, nth=1)]  # and a pass more
        told = await stage.deploy(strategy="canary", hits=hits)
        assert (told.exit_code, told.end.result) == (0, Result.DONE), told.end
        assert (sorted(stage.fleet), stage.images) == (["web-1", "web-2"], [NEW] * 2)

    on_stage(play, habits=LOSES_HOSTS)


@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_a_green_in_the_place_of_a_dead_blue_is_switched_on(command: str) -> None:
    """Whoever goes on finds it in its place already, and out of rotation."""

    async def play(stage: Stage) -> None:
        await stage.settle(2)
        died = await stage.deploy(strategy="bluegreen", dies=Death("uncordon", after=False))
        assert died.has_died
        dead = _dead(stage, "web-1")
        again = await (stage.resume() if command == "resume" else stage.rollback())
        assert again.exit_code == 0, again.end
        assert _alive(stage, dead) == [NEW if command == "resume" else OLD] * 2
        assert all(each.serves for each in stage.fleet.values() if each.id != dead)

    on_stage(play, habits=LOSES_HOSTS)


def test_a_dead_machine_is_named_by_status_by_scale_and_by_a_run_that_went_back() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dead = _dead(stage, "web-2")
        said = f"the host of web-2 ({dead}) does not answer: a deploy replaces it"
        assert f"warning: {said}" in await stage.status()
        assert "started, host unreachable" in await stage.status()
        scaled = await stage.scale("web", 4)
        assert (scaled.exit_code, len(stage.fleet)) == (0, 4)
        assert said in scaled.end.hint
        sick = await stage.deploy(BROKEN)
        assert (sick.exit_code, sick.end.result) == (1, Result.ROLLED_BACK)
        assert said in sick.end.hint
        told = await stage.deploy(OLD)  # as it was said, though it runs there already
        assert told.exit_code == 0, told.end
        assert _alive(stage, dead) == [OLD] * 4

    on_stage(play, habits=LOSES_HOSTS)


def test_scaling_down_removes_the_dead_first() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        dead = _dead(stage, "web-1")
        told = await stage.scale("web", 2)
        assert (told.exit_code, told.end.result) == (0, Result.DONE), told.end
        assert dead not in {machine.id for machine in stage.fleet.values()}
        assert sorted(stage.fleet) == ["web-2", "web-3"]

    on_stage(play, habits=LOSES_HOSTS)
