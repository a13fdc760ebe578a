"""One pass over the fleet, step by step, forward and back."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from deploy.errors import CallFailed, LeaseHeld, NotInTime, Overtaken, UsageProblem
from deploy.events import HiccupMet, Noticed, PassFinished, PassStarted, Planned
from deploy.local.state import HeldLease
from deploy.orchestrator import passes
from deploy.orchestrator.memory import SETTLE_S
from deploy.orchestrator.outcome import NOT_BEGUN
from deploy.plan.configs import created_config
from deploy.plan.intent import BACK, Intent, read_intent
from deploy.plan.selection import Selection
from deploy.plan.stamps import INTENT, Role, canary_name
from deploy.run import App
from tests.contract.clocks import BACKENDS
from tests.deploy.orchestrator.bench import ONLY_PASS, Bench, on_bench, release_for
from tests.worlds.simulated.faults import BY_NAME, CHANGES, Kind
from tests.worlds.simulated.world import APP, NEW, OLD, Scenario
from tests.worlds.stage import Hit, to

UNAVAILABLE = BY_NAME["503 before"]
THEIRS = release_for(deploy_id="0dddddddddother", image="registry.test/hello:3", number=9)


async def _intents(bench: Bench) -> list[Intent | None]:
    found = (read_intent(machine) for machine in (await bench.fleet()).managed)
    return [intent for intent in found if intent is not None]


# -- forward -----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pass_looks_leases_looks_again_announces_and_carries_out(backend: str) -> None:
    async def story(bench: Bench) -> None:
        outcome = await passes.forward(bench.deployment, ONLY_PASS)
        assert (outcome.done, outcome.left) == (2, 0)
        order = [c.operation for c in bench.calls("list", "acquire", "mark", "update")][:6]
        assert order == ["list", "acquire", "acquire", "list", "mark", "update"]
        assert [call.machine for call in bench.calls("mark")] == [min(bench.memory.known)]
        assert await _intents(bench) == [Intent.of(bench.memory.release)]
        (began,), (ended,) = bench.of(PassStarted), bench.of(PassFinished)
        assert (began.number, began.of, began.direction) == (1, 1, "forward")
        assert (ended.done, ended.left, ended.reason) == (2, 0, "")

    on_bench(story, backend=backend)


def test_the_plan_is_told_once_by_the_first_pass_that_has_one() -> None:
    async def story(bench: Bench) -> None:
        for _ in range(2):
            await passes.forward(bench.deployment, ONLY_PASS)
        (planned,) = bench.of(Planned)
        assert planned.actions == (("web-1", "web", "update"), ("web-2", "web", "update"))
        assert planned.unchanged == 0

    on_bench(story)


def test_an_app_that_is_there_already_gets_no_write_at_all() -> None:
    async def story(bench: Bench) -> None:
        outcome = await passes.forward(bench.deployment, ONLY_PASS)
        assert (outcome.done, outcome.left) == (0, 0)
        assert {call.operation for call in bench.world.story.calls} == {"list", "read"}
        assert bench.memory.base is not None
        assert bench.of(Planned)[0].unchanged == 2

    async def main(bench: Bench) -> None:
        for slot in (1, 2):
            machine = bench.world.platform.apps[APP].machines[bench.id(f"web-{slot}")]
            bench.world.platform.destroy(machine, force=True)
        await anyio.sleep(30)
        there = release_for(deploy_id="0aaaaaaaabefore")
        for slot in (1, 2):
            bench.world.create(f"web-{slot}", created_config(there, there.groups[0]))
        await anyio.sleep(30)
        await story(bench)

    on_bench(main)


def test_the_base_is_fixed_by_the_first_look_under_leases_and_stays() -> None:
    async def story(bench: Bench) -> None:
        await passes.forward(bench.deployment, ONLY_PASS)
        base = bench.memory.known_base
        assert {machine.image for machine in base.machines} == {OLD}
        await passes.forward(bench.deployment, ONLY_PASS)
        assert bench.memory.known_base is base
        assert bench.image("web-1") == NEW

    on_bench(story)


def test_a_look_that_fails_is_the_outcome_and_a_hiccup_that_is_told() -> None:
    async def story(bench: Bench) -> None:
        outcome = await passes.forward(bench.deployment, ONLY_PASS)
        assert isinstance(outcome.cause, CallFailed)
        assert (outcome.done, outcome.left) == (0, 1)
        assert bench.of(PassFinished)[0].reason == str(outcome.cause)
        assert len(bench.of(HiccupMet)) == 1
        assert bench.calls(*CHANGES) == []

    on_bench(story, hits=[Hit("list", UNAVAILABLE, times=999)], wait_timeout_s=5.0)


def test_somebody_elses_lease_ends_it_before_anything() -> None:
    async def story(bench: Bench) -> None:
        machine = bench.world.platform.apps[APP].machines[bench.id("web-2")]
        until = int(bench.world.platform.clock() + 600)
        machine.lease = HeldLease("x", until, "bob", "d9/run9")
        outcome = await passes.forward(bench.deployment, ONLY_PASS)
        assert isinstance(outcome.cause, LeaseHeld)
        assert bench.of(HiccupMet) == []
        assert bench.calls("mark", *CHANGES) == []

    on_bench(story)


def test_a_pass_that_is_halted_before_it_began_has_not_begun() -> None:
    async def story(bench: Bench) -> None:
        bench.halt.set(NotInTime("over"))
        assert await passes.forward(bench.deployment, ONLY_PASS) == NOT_BEGUN
        assert bench.world.story.calls == []
        assert len(bench.of(PassFinished)) == 1

    on_bench(story)


def test_a_selection_of_nothing_and_a_strategy_that_does_not_suit_are_refused_unleased() -> None:
    async def story(bench: Bench) -> None:
        outcome = await passes.forward(bench.deployment, ONLY_PASS)
        assert isinstance(outcome.cause, UsageProblem)
        assert bench.calls("acquire") == []

    on_bench(story, selection=Selection(regions=frozenset({"syd"})))
    worker = tuple(group for group in release_for(2).groups if not group.has_checks)
    on_bench(story, release=replace(release_for(strategy="bluegreen"), groups=worker))


def test_only_selected_machines_and_the_arbiter_are_leased_and_only_they_written_to() -> None:
    async def story(bench: Bench) -> None:
        await passes.forward(bench.deployment, ONLY_PASS)
        arbiter = min(machine.id for machine in (await bench.fleet()).managed)
        leased = {call.machine for call in bench.calls("acquire")}
        assert leased == {bench.id("web-2"), arbiter}
        assert (bench.image("web-1"), bench.image("web-2")) == (OLD, NEW)

    on_bench(story, selection=Selection(only_machines=frozenset({"web-2"})))


def test_what_another_deploy_has_changed_since_is_not_undone() -> None:
    async def story(bench: Bench) -> None:
        bench.memory.began(await bench.fleet())
        theirs = created_config(THEIRS, THEIRS.groups[0])
        bench.world.create("web-9", theirs)
        bench.memory.was_overtaken()
        outcome = await passes.forward(bench.deployment, ONLY_PASS)
        assert isinstance(outcome.cause, Overtaken)
        assert THEIRS.deploy_id in outcome.cause.message
        assert bench.calls("mark", *CHANGES) == []

    on_bench(story)


def test_an_unfinished_deploy_is_taken_over_and_that_is_said() -> None:
    async def story(bench: Bench) -> None:
        client = bench.tools.client
        await client.write_metadata(bench.id("web-2"), INTENT, Intent.of(THEIRS).dump())
        await passes.forward(bench.deployment, ONLY_PASS)
        assert ["taking over deploy" in event.message for event in bench.of(Noticed)] == [True]
        assert await _intents(bench) == [Intent.of(bench.memory.release)]

    on_bench(story)


def test_an_app_that_was_created_meanwhile_is_fine_and_one_of_somebody_else_is_not() -> None:
    taken = Kind(name="taken", status=422, body='{"error":"name taken"}')

    async def fine(bench: Bench) -> None:
        outcome = await passes.forward(bench.deployment, ONLY_PASS)
        assert outcome.is_complete
        assert bench.memory.app_exists

    async def theirs(bench: Bench) -> None:
        outcome = await passes.forward(bench.deployment, ONLY_PASS)
        assert isinstance(outcome.cause, CallFailed)
        assert outcome.cause.operation == "create app"
        assert not bench.memory.app_exists

    create = Hit("create app", taken)
    nobody = Scenario(machines=0)
    app = App(exists=False, organization="personal")
    on_bench(fine, scenario=nobody, app=app, hits=[create])
    forbidden = Hit("read app", Kind(name="no", status=403, body='{"error":"no"}'))
    on_bench(theirs, scenario=nobody, app=app, hits=[create, forbidden])


# -- back --------------------------------------------------------------------------------


def test_a_pass_back_says_first_that_it_goes_back_and_then_undoes() -> None:
    async def story(bench: Bench) -> None:
        await passes.forward(bench.deployment, ONLY_PASS)
        assert bench.image("web-1") == NEW
        outcome = await passes.back(bench.deployment, ONLY_PASS)
        assert outcome.is_complete
        assert (bench.image("web-1"), bench.image("web-2")) == (OLD, OLD)
        assert await _intents(bench) == [Intent.of(bench.memory.release).turned_back()]
        turned = bench.calls("mark")[-1].sent_s
        assert [c for c in bench.calls("update") if c.sent_s > turned][1:]
        assert [event.direction for event in bench.of(PassStarted)] == ["forward", BACK]

    on_bench(story)


def test_it_begins_ten_seconds_after_the_last_write_that_nobody_answered() -> None:
    async def story(bench: Bench) -> None:
        bench.memory.began(await bench.fleet())
        bench.memory.unanswered(anyio.current_time())
        began_s, lists = anyio.current_time(), len(bench.calls("list"))
        await passes.back(bench.deployment, ONLY_PASS)
        assert bench.calls("list")[lists].sent_s >= began_s + SETTLE_S

    on_bench(story)


def test_a_halt_cuts_that_wait() -> None:
    async def story(bench: Bench) -> None:
        bench.memory.began(await bench.fleet())
        bench.memory.unanswered(anyio.current_time())

        async def halt() -> None:
            await anyio.sleep(2)
            bench.halt.set(NotInTime("over"))

        began_s = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(halt)
            assert await passes.back(bench.deployment, ONLY_PASS) == NOT_BEGUN
        assert anyio.current_time() - began_s == pytest.approx(2)

    on_bench(story)


# -- when it is over ---------------------------------------------------------------------


def test_tidying_up_removes_what_serves_nobody_and_nothing_else() -> None:
    async def story(bench: Bench) -> None:
        ours = release_for()
        spec = ours.groups[0]
        bird = created_config(ours, spec, Role(ours.deploy_id))
        theirs = created_config(THEIRS, THEIRS.groups[0], Role(THEIRS.deploy_id))
        bench.world.create(canary_name("web", ours.deploy_id), bird)
        bench.world.create(canary_name("web", THEIRS.deploy_id), theirs)
        for name, cordoned in (("green", True), ("switched", False)):
            role = Role(ours.deploy_id, name)
            config = created_config(ours, spec, role)
            made = bench.world.create(f"web-{name}-{ours.deploy_id[-6:]}", config)
            bench.world.platform.cordon(made, cordoned=cordoned)
        await bench.deployment.lookout.look()
        for machine in await bench.fleet():
            bench.memory.own.add(machine.id)
        await passes.tidy(bench.deployment)
        left = sorted(machine.name for machine in (await bench.fleet()).managed)
        tail = ours.deploy_id[-6:]
        assert left == sorted(
            ["web-1", "web-2", f"web-switched-{tail}", canary_name("web", THEIRS.deploy_id)]
        )

    on_bench(story)


def test_what_cannot_be_tidied_up_is_said() -> None:
    async def story(bench: Bench) -> None:
        await passes.tidy(bench.deployment)
        (notice,) = bench.of(Noticed)
        assert "not everything could be tidied up" in notice.message

    on_bench(story, hits=[Hit("list", BY_NAME["503 before"], times=99)], wait_timeout_s=3.0)


def test_in_the_end_the_marks_are_taken_off() -> None:
    async def story(bench: Bench) -> None:
        await passes.forward(bench.deployment, ONLY_PASS)
        await bench.deployment.marks.remove(await bench.fleet())
        assert await _intents(bench) == []

    on_bench(story)


def test_a_hiccup_on_one_machine_does_not_end_the_pass_for_the_others() -> None:
    async def story(bench: Bench) -> None:
        hits.append(Hit("update", UNAVAILABLE, on=to(bench.id("web-1"))))
        outcome = await passes.forward(bench.deployment, ONLY_PASS)
        assert (outcome.done, outcome.left, len(outcome.failures)) == (2, 1, 1)
        assert (bench.image("web-1"), bench.image("web-3")) == (OLD, NEW)

    hits: list[Hit] = []
    on_bench(story, scenario=Scenario(machines=3), hits=hits)
