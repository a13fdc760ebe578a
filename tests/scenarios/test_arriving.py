"""A deploy that arrives, or goes back, through what the platform does to it."""

from __future__ import annotations

import anyio
import pytest

from deploy.events import HiccupMet, Noticed, Result
from tests.worlds.simulated.faults import BY_NAME, READS, Kind
from tests.worlds.stage import (
    BROKEN,
    NEW,
    OLD,
    UNWATCHED,
    WORKER,
    Hit,
    Stage,
    group_of,
    on_stage,
    to,
)

FULL = BY_NAME["409 host full"]
BUSY = BY_NAME["409 replacing"]
LOST = BY_NAME["reply lost"]
UNAVAILABLE = BY_NAME["503 before"]


def test_an_app_that_is_already_there_gets_no_write_on_a_server_that_normalises() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        assert (await stage.deploy()).exit_code == 0
        (sent,) = [v.sent for v in stage.machine("web-1").versions if v.sent["image"] == NEW]
        kept = stage.machine("web-1").raw
        assert kept != sent
        assert "dns" in kept
        again = await stage.deploy()
        assert (again.exit_code, again.end.result) == (0, Result.UNCHANGED)
        assert again.writes == []

    on_stage(play)


def test_a_forced_deploy_writes_to_an_app_that_is_already_there() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        await stage.deploy()
        again = await stage.deploy(force=True)
        assert again.exit_code == 0
        assert len(again.of("update")) == 2

    on_stage(play)


@pytest.mark.parametrize("retries", [1, 3])
def test_two_update_failures_then_success(retries: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit("update", UNAVAILABLE, times=2, on=to(stage.id("web-2")))]
        told = await stage.deploy(hits=hits, retries=retries)
        if retries > 1:
            assert (told.exit_code, stage.images) == (0, [NEW] * 3)
            assert told.passes() == 3
            assert len(told.said(HiccupMet)) == 2
        else:
            assert (told.exit_code, told.end.result) == (1, Result.ROLLED_BACK)
            assert stage.images == [OLD] * 3

    on_stage(play)


def test_retries_spent_ends_wholly_old() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3, cold=1)
        before = {name: (m.state, m.config["env"]) for name, m in stage.fleet.items()}
        hits = [Hit("update", UNAVAILABLE, times=3, on=to(stage.id("web-1")))]
        told = await stage.deploy(hits=hits, retries=2)
        assert (told.exit_code, told.end.result) == (1, Result.ROLLED_BACK)
        assert (told.passes(), told.passes("back")) == (3, 1)
        assert stage.images == [OLD] * 3
        assert stage.serving == 2
        assert {name: (m.state, m.config["env"]) for name, m in stage.fleet.items()} == before
        assert {machine.runs for machine in told.end.machines} == {"old"}

    on_stage(play)


def test_retries_spent_with_hold_stays_in_between_and_says_what_runs_where() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit("update", UNAVAILABLE, times=9, on=to(stage.id("web-1")))]
        told = await stage.deploy(hits=hits, retries=1, rolls_back=False)
        assert (told.exit_code, told.end.result) == (3, Result.IN_BETWEEN)
        assert told.passes("back") == 0
        runs = {machine.name: machine.runs for machine in told.end.machines}
        assert runs == {"web-1": "old", "web-2": "new", "web-3": "new"}
        assert "resume" in told.end.hint or "finishes it" in told.end.hint

    on_stage(play)


@pytest.mark.parametrize("retries", [0, 3])
def test_what_waits_for_its_place_does_not_begin_after_the_run_is_halted(retries: int) -> None:
    rejected = Kind(name="rejected", status=422, body='{"error":"invalid"}')

    async def play(stage: Stage) -> None:
        await stage.settle(6)
        hits = [Hit("update", rejected, nth=1)]
        told = await stage.deploy(
            strategy="immediate", max_concurrent=1, hits=hits, retries=retries, rolls_back=False
        )
        assert told.exit_code == 3
        assert len(told.of("update")) == 2

    on_stage(play)


@pytest.mark.parametrize("image", [BROKEN, "registry.test/hello:exit1", "registry.test/hello:oom"])
def test_one_application_failure_stops_retrying(image: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(image, wait_timeout_s=30.0)
        assert (told.exit_code, told.end.result) == (1, Result.ROLLED_BACK)
        assert told.passes() == 1
        assert len({call.machine for call in told.of("update")}) == 1  # one was tried, alone
        assert stage.images == [OLD] * 3
        assert stage.serving == 3
        assert told.end.message

    on_stage(play)


def test_a_failing_check_is_reported_with_its_last_output() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(BROKEN, wait_timeout_s=30.0)
        assert "HTTP 500 from /health" in told.end.message

    on_stage(play)


def test_a_machine_that_runs_out_of_memory_fails_at_once_and_not_at_the_timeout() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(1)
        began_s = anyio.current_time()
        told = await stage.deploy("registry.test/hello:oom", wait_timeout_s=600.0)
        assert told.exit_code == 1
        assert "out of memory" in told.end.message
        assert anyio.current_time() - began_s < 60

    on_stage(play)


def test_an_image_that_cannot_be_pulled_is_not_retried() -> None:
    refused = Kind(name="no image", status=400, body='{"error":"failed to get manifest hello:2"}')

    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(hits=[Hit("update", refused, times=9)])
        assert (told.exit_code, told.passes()) == (1, 1)
        assert stage.images == [OLD] * 2

    on_stage(play)


@pytest.mark.parametrize(("status", "word"), [(400, "invalid"), (422, "invalid"), (403, "token")])
def test_a_rejected_request_ends_the_run_with_nothing_changed(status: int, word: str) -> None:
    rejected = Kind(name="rejected", status=status, body=f'{{"error":"{word} argument"}}')

    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(hits=[Hit("update", rejected)])
        assert told.exit_code == 4
        assert told.passes() == 1
        assert word in told.end.message
        assert stage.images == [OLD] * 2

    on_stage(play)


# -- replies that are lost -------------------------------------------------------------


def test_a_create_whose_reply_was_lost_is_adopted_and_not_repeated() -> None:
    async def play(stage: Stage) -> None:
        told = await stage.deploy(hits=[Hit("create", LOST)])
        assert told.exit_code == 0
        assert sorted(stage.fleet) == ["web-1", "web-2"]
        carried_out = [call.name for call in told.of("create") if call.was_carried_out]
        assert sorted(carried_out) == ["web-1", "web-2"]

    on_stage(play)


@pytest.mark.parametrize("strategy", ["bluegreen", "canary"])
def test_a_green_or_a_canary_whose_reply_was_lost_is_adopted(strategy: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(strategy=strategy, hits=[Hit("create", LOST)])
        assert told.exit_code == 0
        assert stage.images == [NEW] * 3
        assert told.end.leftovers == ()

    on_stage(play)


def test_an_update_whose_reply_was_lost_is_seen_and_not_sent_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(hits=[Hit("update", LOST, on=to(stage.id("web-2")))])
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)
        assert len(told.of("update", stage.id("web-2"))) == 1

    on_stage(play)


def test_a_replacement_after_a_failed_wait_makes_no_duplicate() -> None:
    lost = BY_NAME["502 before"]

    async def play(stage: Stage) -> None:
        await stage.settle(3)
        stage.runtime.lose_host(stage.id("web-2"))
        hits = [Hit("wait", lost, times=40, on=lambda call: call.machine not in before)]
        before = {machine.id for machine in stage.fleet.values()}
        told = await stage.deploy(hits=hits, wait_timeout_s=20.0)
        assert told.exit_code == 0, told.end
        assert len(told.of("create")) == 1
        here = [m for m in stage.fleet.values() if m.image == NEW]
        assert len(here) == 3

    on_stage(play)


def test_a_revert_by_the_platform_is_no_success() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        hits = [Hit("update", BY_NAME["reverted"], times=99)]
        told = await stage.deploy(hits=hits, retries=1, wait_timeout_s=20.0)
        assert told.exit_code in (1, 3)
        assert told.passes() == 2
        assert stage.images == [OLD] * 2

    on_stage(play)


def test_a_revert_that_happens_once_is_mended_by_the_next_pass() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy(hits=[Hit("update", BY_NAME["reverted"])])
        assert (told.exit_code, stage.images) == (0, [NEW] * 2)

    on_stage(play)


@pytest.mark.parametrize(("nth", "times"), [(0, 1), (0, 2), (1, 1), (2, 1), (3, 1), (4, 2)])
def test_a_list_that_answers_nothing_once_or_twice_creates_nothing(nth: int, times: int) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit("list", BY_NAME["empty list"], nth=nth, times=times)]
        told = await stage.deploy(hits=hits)
        assert told.exit_code == 0
        assert told.of("create") == []
        assert stage.images == [NEW] * 3

    on_stage(play)


# -- health ----------------------------------------------------------------------------


def test_a_write_waits_for_a_refresh_that_is_late_and_costs_no_pass() -> None:
    """The first machine has to stay healthy for so long that the next lease is about to end."""

    async def play(stage: Stage) -> None:
        await stage.settle(2)
        silent = BY_NAME["timed out before"]
        hits = [Hit("refresh", silent, nth=1, times=2, on=to(m.id)) for m in stage.fleet.values()]
        told = await stage.deploy(hits=hits, max_unavailable=1, min_healthy_s=10.0)
        assert (told.exit_code, told.passes(), stage.images) == (0, 1, [NEW] * 2), told.end

    on_stage(play)


def test_zero_check_results_are_not_a_pass() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy("registry.test/hello:silent", retries=1, wait_timeout_s=20.0)
        assert told.exit_code != 0
        assert told.passes() == 2 or told.passes() == 1
        assert stage.images == [OLD] * 2

    on_stage(play)


def test_a_slow_start_inside_its_time_is_no_failure() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy("registry.test/hello:slow", wait_timeout_s=120.0, retries=0)
        assert told.exit_code == 0
        assert told.said(HiccupMet) == []

    on_stage(play)


@pytest.mark.parametrize("operation", sorted(READS - {"versions", "read app", "read lease"}))
def test_a_failed_read_never_fails_a_healthy_machine(operation: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        hits = [Hit(operation, BY_NAME["429 with Retry-After"], times=3, nth=1)]
        told = await stage.deploy(hits=hits)
        assert (told.exit_code, told.passes()) == (0, 1)
        assert stage.images == [NEW] * 3

    on_stage(play)


def test_a_machine_without_checks_is_watched_for_a_bad_exit() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        told = await stage.deploy("registry.test/hello:exit1")
        assert told.exit_code == 1
        assert "exit code 1" in told.end.message
        assert stage.images == [OLD] * 2

    on_stage(play, toml=UNWATCHED)


def test_a_machine_that_may_end_does_its_work_and_stops_and_is_no_failure() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(1, image="registry.test/hello:1")
        told = await stage.deploy("registry.test/hello:exit0")
        assert told.exit_code == 0

    on_stage(play, toml=f'{UNWATCHED}\n[[restart]]\npolicy = "never"\n')


@pytest.mark.parametrize("policy", ["", '[[restart]]\npolicy = "on-failure"'])
def test_one_that_is_there_to_run_has_failed_where_it_ends(policy: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(1, image="registry.test/hello:1")
        told = await stage.deploy("registry.test/hello:exit0", retries=3)
        assert (told.exit_code, told.end.message.partition(";")[0]) == (
            1,
            "machine web-1 exited: exit code 0",
        )
        assert 'policy = "never"' in told.hints

    on_stage(play, toml=f"{UNWATCHED}\n{policy}\n")


def test_waiting_for_many_machines_costs_few_lists() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(30)
        told = await stage.deploy("registry.test/hello:2", max_unavailable=30)
        took_s = told.events[-1][0] - told.events[0][0]
        assert told.exit_code == 0
        assert len(told.of("list")) <= took_s + 4  # one observer, at one list a second
        assert len(told.of("read")) <= 2 * 30  # a look at each when it is due, and one more

    on_stage(play)


# -- mixed ----------------------------------------------------------------------------


def test_mixed_images_before_a_deploy_are_brought_together() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        stage.add("web-3", group_of(stage.toml), image="registry.test/hello:0")
        await anyio.sleep(30)
        told = await stage.deploy()
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)

    on_stage(play)


def test_mixed_images_before_a_failed_deploy_are_mixed_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        stage.add("web-3", group_of(stage.toml), image="registry.test/hello:0")
        await anyio.sleep(30)
        told = await stage.deploy(BROKEN, wait_timeout_s=20.0)
        assert told.exit_code == 1
        assert stage.images == [OLD, OLD, "registry.test/hello:0"]

    on_stage(play)


def test_a_fix_for_a_sick_app_ships() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3, image="registry.test/hello:1-bad")
        assert stage.serving == 0
        told = await stage.deploy()
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)
        assert stage.serving == 3

    on_stage(play)


def test_a_host_without_room_for_an_update_gets_the_machine_replaced_elsewhere() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        full = stage.id("web-2")
        told = await stage.deploy(hits=[Hit("update", FULL, times=99, on=to(full))])
        assert told.exit_code == 0
        assert stage.images == [NEW] * 3
        assert full not in {machine.id for machine in stage.fleet.values()}
        assert len(told.of("create")) == 1
        destroyed = told.of("destroy", full)[0]
        assert all(call.sent_s <= destroyed.sent_s for call in told.of("update"))

    on_stage(play)


def test_a_concurrent_update_by_the_platform_is_waited_out() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(3)
        told = await stage.deploy(hits=[Hit("update", BUSY, times=2)])
        assert (told.exit_code, stage.images) == (0, [NEW] * 3)

    on_stage(play)


def test_nobody_elses_machines_and_keys_are_touched() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(2)
        stage.world.create("builder", {"image": OLD})
        metadata = {"fly_platform_version": "v2", "fly_process_group": "fly_app_console"}
        stage.world.create("console", {"image": OLD, "metadata": metadata})
        told = await stage.deploy()
        strangers = {m.id for m in stage.world.machines() if m.name in ("builder", "console")}
        assert len(strangers) == 2
        assert not [call for call in told.writes if call.machine in strangers]
        for machine in stage.fleet.values():
            assert machine.config["x_unknown"] == {"keep": [1, 2]}
            assert machine.config["guest"] == {"cpus": 4}

    on_stage(play)


def test_a_new_group_beside_an_old_one_gets_its_machines() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle({"web": 2})
        told = await stage.deploy()
        assert told.exit_code == 0
        assert sorted(stage.fleet) == ["web-1", "web-2", "worker-1", "worker-2"]
        standby = stage.fleet["worker-2"]
        assert standby.config["standbys"] == [stage.id("worker-1")]
        assert standby.state == "stopped"

    on_stage(play, toml=WORKER)


def test_two_hundred_machines_of_which_half_are_cold() -> None:
    async def play(stage: Stage) -> None:
        await stage.settle(200, cold=100)
        hits = [Hit("update", UNAVAILABLE, times=20, nth=50)]
        told = await stage.deploy(hits=hits, max_concurrent=100, lease_ttl_s=120)
        assert told.exit_code == 0
        assert set(stage.images) == {NEW}
        assert len(stage.fleet) == 200
        lowest = min(len(ids) for at, ids in stage.world.story.serving if at > 120)
        assert lowest >= 100 - 33
        notices = [notice.message for notice in told.said(Noticed)]
        assert not [message for message in notices if "lease" in message]

    on_stage(play)
