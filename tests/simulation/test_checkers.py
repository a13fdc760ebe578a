"""The checkers can fail: an orchestrator broken on purpose, one law at a time, is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tenacity import stop_after_attempt

from deploy import ending, evidence, legacy, retrying
from deploy.api import connection
from deploy.api.client import MachinesClient
from deploy.api.machine import Fleet, Machine
from deploy.commands import taking_up
from deploy.errors import CallFailed, Meaning
from deploy.events import RunFinished
from deploy.hints import Left
from deploy.orchestrator import (
    actions,
    deployment,
    health,
    held,
    lease,
    look,
    outcome,
    passes,
    watch,
    window,
)
from deploy.orchestrator.machine_checks import MachineChecks
from deploy.plan import base, configs
from deploy.plan import forward as plan
from tests.simulation.enumeration import unexpected
from tests.simulation.laws import broken_laws
from tests.simulation.weather import (
    Weather,
    draw,
    draw_first,
    draw_fourth,
    draw_second,
    faults_of,
    live_through,
)
from tests.worlds.simulated.faults import BY_NAME, Rule, Spot
from tests.worlds.simulated.world import BROKEN, NEW, Scenario, simulate

Break = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """`breaks` is what was done to it, `law` whose checker has to say so."""

    name: str
    breaks: Break
    law: str
    scenario: Scenario


def at(operation: str, role: str, phase: str, kind: str, times: int = 1) -> tuple[Rule, ...]:
    return (Rule(Spot(operation, role, phase), 0, BY_NAME[kind], times),)


UPDATE_FAILS = at("update", "web first", "work", "503 before")
STUBBORN = at("update", "web first", "work", "503 before", 99)


def creates_blindly(monkeypatch: pytest.MonkeyPatch) -> None:
    create = MachinesClient.create

    async def again(self: MachinesClient, **options: Any) -> Any:
        try:
            return await create(self, **options)
        except CallFailed as failure:
            if failure.meaning is not Meaning.UNSETTLED:
                raise
            return await create(self, **options)

    monkeypatch.setattr(MachinesClient, "create", again)


def updates_blindly(monkeypatch: pytest.MonkeyPatch) -> None:
    update = MachinesClient.update

    async def again(self: MachinesClient, machine_id: str, **options: Any) -> Machine:
        try:
            return await update(self, machine_id, **options)
        except CallFailed:
            return await update(self, machine_id, **options)

    monkeypatch.setattr(MachinesClient, "update", again)


def ignores_max_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "unavailable_limit", lambda *_: 99)


def keeps_its_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: lease.Leases) -> None:
        self._held._is_over = True

    monkeypatch.setattr(lease.Leases, "release_all", nothing)


def trusts_any_list(monkeypatch: pytest.MonkeyPatch) -> None:
    async def listed(self: look.Lookout) -> Fleet:
        fleet = await self._list_once()
        self._memory.looked(fleet.managed)
        return fleet

    monkeypatch.setattr(look.Lookout, "look", listed)


def retries_a_broken_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "ends_at_once", lambda _: False)


def retries_once_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "stop_after_attempt", lambda n: stop_after_attempt(n + 1))


class AnyVersion(str):
    """A version that every other equals."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    def __ne__(self, other: object) -> bool:
        return not isinstance(other, str)


def waits_for_any_version(monkeypatch: pytest.MonkeyPatch) -> None:
    until = health.Health.until

    async def whatever(self: health.Health, expected: health.Expectation) -> None:
        await until(self, replace(expected, version=AnyVersion("")))

    monkeypatch.setattr(health.Health, "until", whatever)
    monkeypatch.setattr(retrying, "confirmed_forward", passes.forward)


def writes_without_a_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease.Leases, "nonce", lambda *_: "")


def writes_without_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(passes, "_hold", nothing)
    monkeypatch.setattr(lease.Leases, "nonce", lambda *_: "")


def leases_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return

    monkeypatch.setattr(lease.Leases, "_take_arbiter", nothing)


def has_an_arbiter_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    take = lease.Leases._take_arbiter

    async def another(self: lease.Leases, app: Fleet, this: Any) -> None:
        await take(self, Fleet(app.machines[::-1]), this)

    monkeypatch.setattr(lease.Leases, "_take_arbiter", another)


def leases_again(monkeypatch: pytest.MonkeyPatch) -> None:
    usable = held.HeldLeases.is_usable
    acquire = lease.Leases.acquire

    async def anew(self: lease.Leases, machines: Any, *, app: Fleet) -> bool:
        monkeypatch.setattr(held.HeldLeases, "is_usable", lambda *_: False)
        try:
            return await acquire(self, machines, app=app)
        finally:
            monkeypatch.setattr(held.HeldLeases, "is_usable", usable)

    monkeypatch.setattr(lease.Leases, "acquire", anew)


def writes_on_a_lost_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held.HeldLeases, "nonce", lambda self, id_: self._held[id_].nonce)


def overwrites_whatever_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    update = MachinesClient.update

    async def careless(self: MachinesClient, machine_id: str, **options: Any) -> Machine:
        return await update(self, machine_id, **{**options, "current_version": ""})

    monkeypatch.setattr(MachinesClient, "update", careless)


def manages_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "is_managed", property(lambda _: True))


def drops_unknown_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    def poorer(*args: Any, **options: Any) -> dict[str, Any]:
        config = configs.updated_config(*args, **options)
        config.pop("x_unknown", None)
        return config

    monkeypatch.setattr(plan, "updated_config", poorer)


def tells_what_is_hoped_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_runs", lambda *_: "new")


def calls_everything_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment.Deployment, "left", lambda *_: ())
    monkeypatch.setattr(outcome.Outcome, "is_complete", property(lambda _: True))


def stays_where_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "can_go_back", lambda *_: False)


def forgets_its_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pretends(*_: object, **__: object) -> None:
        return

    monkeypatch.setattr(MachinesClient, "destroy", pretends)
    monkeypatch.setattr(
        ending, "RunFinished", lambda **fields: RunFinished(**{**fields, "leftovers": ()})
    )


def goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def bold(deployment: deployment.Deployment) -> outcome.Ending:
        once = passes.Pass(1, 1, is_decisive=lambda _: False)
        return outcome.Ending(await passes.forward(deployment, once))

    monkeypatch.setattr(legacy, "run", bold)


def waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.api.patience._jittered_s", lambda *_: 1800.0)


def stumbles(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stumble(_: look.Lookout) -> Fleet:
        raise KeyError("machines")

    monkeypatch.setattr(look.Lookout, "look", stumble)


def never_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def not_read(self: actions.Actions, machine_id: str) -> None:
        self._memory.settled(machine_id)

    monkeypatch.setattr(actions.Actions, "settle", not_read)
    monkeypatch.setattr(retrying, "stop_after_attempt", lambda _: stop_after_attempt(1))


def keeps_its_plan_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = passes._tell_plan

    def in_the_first_pass(deployment: deployment.Deployment, *order: Any) -> None:
        if not deployment.memory.hiccups:
            tell(deployment, *order)

    monkeypatch.setattr(passes, "_tell_plan", in_the_first_pass)


def leases_only_what_it_saw_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async def just_look(deployment: deployment.Deployment, _: Fleet) -> Fleet:
        return await deployment.lookout.look()

    monkeypatch.setattr(passes, "_look_under_leases", just_look)


def fails_where_a_machine_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no(*_: object) -> bool:
        return False

    monkeypatch.setattr(lease.Leases, "_has_vanished", no)


def takes_health_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.Health, "_lasts_s", lambda *_: 0.0)
    monkeypatch.setattr(watch.Watch, "sick", lambda *_: [])


def believes_its_own_done(monkeypatch: pytest.MonkeyPatch) -> None:
    takes_health_for_a_moment(monkeypatch)
    monkeypatch.setattr(evidence.Evidence, "sick", property(lambda _: ()))


def waits_for_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_raise_on_end", lambda *_: None)


def promises_that_any_app_can_be_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_left", lambda _: Left.FORWARD)


def takes_a_rollback_for_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(*_: object) -> outcome.Outcome:
        return outcome.Outcome()

    monkeypatch.setattr(passes, "back", at_once)


def forgets_the_machines_of_its_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MachineChecks, "clean_up", _nothing)


def takes_machine_checks_for_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MachineChecks, "pass_on", _nothing)


def leaves_what_another_brought_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_was_brought_down", lambda *_: False)


def leaves_what_a_dead_run_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_remove_dead_one_offs", _nothing)


def believes_any_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking_up, "_refuse_outdated", _nothing)


async def _nothing(*_: object, **__: object) -> None:
    return


MUTANTS = (
    Mutant(
        name="machines of checks are left over",
        breaks=forgets_the_machines_of_its_checks,
        law="machine checks run and go",
        scenario=Scenario(machine_checks="exit0"),
    ),
    Mutant(
        name="machine checks do not run",
        breaks=takes_machine_checks_for_passed,
        law="machine checks run and go",
        scenario=Scenario(machine_checks="exit1"),
    ),
    Mutant(
        name="health is a moment that passed",
        breaks=takes_health_for_a_moment,
        law="nothing old goes while the new is sick",
        scenario=Scenario(strategy="bluegreen", new=f"{NEW}-late"),
    ),
    Mutant(
        name="done is said of what turned sick",
        breaks=believes_its_own_done,
        law="done means serving",
        scenario=Scenario(machines=3, new=f"{NEW}-late"),
    ),
    Mutant(
        name="health is a moment that passed, of an app that flaps",
        breaks=takes_health_for_a_moment,
        law="the app stays available",
        scenario=Scenario(strategy="bluegreen", new=f"{NEW}-flap"),
    ),
    Mutant(
        name="done is said of what flaps",
        breaks=believes_its_own_done,
        law="done means serving",
        scenario=Scenario(machines=5, new=f"{NEW}-flap"),
    ),
    Mutant(
        name="an app that ends with 0 is waited for",
        breaks=waits_for_what_has_ended,
        law="an app failure is not retried",
        scenario=Scenario(new=f"{NEW}-exitzero"),
    ),
    Mutant(
        name="an app that crashes again and again is waited for",
        breaks=waits_for_what_has_ended,
        law="an app failure is not retried",
        scenario=Scenario(new=f"{NEW}-crash"),
    ),
    Mutant(
        name="a machine that never leaves failed is waited for",
        breaks=waits_for_what_has_ended,
        law="an app failure is not retried",
        scenario=Scenario(new=f"{NEW}-nopull"),
    ),
    Mutant(
        name="a resume is advised for an app that fails",
        breaks=promises_that_any_app_can_be_finished,
        law="every hint comes true",
        scenario=Scenario(retries=0, new=BROKEN),
    ),
    Mutant(
        name="a rollback undoes nothing",
        breaks=takes_a_rollback_for_done,
        law="every hint comes true",
        scenario=Scenario(retries=0, new=BROKEN),
    ),
    Mutant(
        name="a create is repeated blindly",
        breaks=creates_blindly,
        law="no write without knowledge",
        scenario=Scenario(
            strategy="canary", rules=at("create", "web canary", "work", "reply lost")
        ),
    ),
    Mutant(
        name="an update is repeated blindly",
        breaks=updates_blindly,
        law="no write without knowledge",
        scenario=Scenario(rules=UPDATE_FAILS),
    ),
    Mutant(
        name="a write is repeated within the pass",
        breaks=updates_blindly,
        law="n means n",
        scenario=Scenario(rules=at("update", "web first", "work", "429")),
    ),
    Mutant(
        name="max_unavailable is ignored",
        breaks=ignores_max_unavailable,
        law="the app stays available",
        scenario=Scenario(machines=8),
    ),
    Mutant(
        name="leases are kept",
        breaks=keeps_its_leases,
        law="leases are released",
        scenario=Scenario(),
    ),
    Mutant(
        name="an empty list is believed",
        breaks=trusts_any_list,
        law="no duplicates no orphans",
        scenario=Scenario(rules=at("list", "", "look", "empty list", 2)),
    ),
    Mutant(
        name="a broken app is tried again",
        breaks=retries_a_broken_app,
        law="an app failure is not retried",
        scenario=Scenario(new=BROKEN),
    ),
    Mutant(
        name="only the first pass tells the plan",
        breaks=keeps_its_plan_to_itself,
        law="the plan is told before it is carried out",
        scenario=Scenario(rules=at("mark", "web first", "mark", "503 before")),
    ),
    Mutant(
        name="one retry too many",
        breaks=retries_once_too_often,
        law="n means n",
        scenario=Scenario(machines=1, retries=2, rules=STUBBORN),
    ),
    Mutant(
        name="a wait names no version",
        breaks=waits_for_any_version,
        law="expected",
        scenario=Scenario(rules=at("update", "web first", "work", "reverted")),
    ),
    Mutant(
        name="a write carries no nonce",
        breaks=writes_without_a_nonce,
        law="every write is owned",
        scenario=Scenario(),
    ),
    Mutant(
        name="no lease is taken",
        breaks=writes_without_leases,
        law="leases are held",
        scenario=Scenario(),
    ),
    Mutant(
        name="leases are taken without an arbiter",
        breaks=leases_all_at_once,
        law="leases are held",
        scenario=Scenario(),
    ),
    Mutant(
        name="the arbiter is another one",
        breaks=has_an_arbiter_of_its_own,
        law="leases are held",
        scenario=Scenario(),
    ),
    Mutant(
        name="a lease is taken twice",
        breaks=leases_again,
        law="leases are held",
        scenario=Scenario(rules=UPDATE_FAILS),
    ),
    Mutant(
        name="a lost lease stops nothing",
        breaks=writes_on_a_lost_lease,
        law="every write is owned",
        scenario=Scenario(
            machines=2,
            retries=1,
            new="registry.test/hello:2-slow",
            wait_timeout_s=200.0,
            rules=at("refresh", "web other", "work", "409 leased", 99),
        ),
    ),
    Mutant(
        name="an update does not say what it replaces",
        breaks=overwrites_whatever_is_there,
        law="every write is owned",
        scenario=Scenario(),
    ),
    Mutant(
        name="unmanaged machines are managed",
        breaks=manages_everything,
        law="unmanaged things are untouched",
        scenario=Scenario(),
    ),
    Mutant(
        name="unknown keys are dropped",
        breaks=drops_unknown_keys,
        law="unmanaged things are untouched",
        scenario=Scenario(),
    ),
    Mutant(
        name="the report tells what is hoped for",
        breaks=tells_what_is_hoped_for,
        law="the report tells the truth",
        scenario=Scenario(new=BROKEN),
    ),
    Mutant(
        name="everything counts as done",
        breaks=calls_everything_done,
        law="it converges or stands still",
        scenario=Scenario(),
    ),
    Mutant(
        name="what failed stays as it is",
        breaks=stays_where_it_failed,
        law="expected",
        scenario=Scenario(new=BROKEN),
    ),
    Mutant(
        name="the canary is forgotten",
        breaks=forgets_its_canary,
        law="it converges or stands still",
        scenario=Scenario(strategy="canary"),
    ),
    Mutant(
        name="legacy goes on after a failure",
        breaks=goes_on_after_a_failure,
        law="legacy begins nothing after a failure",
        scenario=Scenario(retries=0, rules=UPDATE_FAILS),
    ),
    Mutant(
        name="a backoff has no bound",
        breaks=waits_for_ever,
        law="it ends by itself",
        scenario=Scenario(machines=1, retries=1, rules=UPDATE_FAILS),
    ),
    Mutant(
        name="the run ends with a traceback",
        breaks=stumbles,
        law="it ends by itself",
        scenario=Scenario(),
    ),
    Mutant(
        name="nothing is tried again",
        breaks=never_looks_again,
        law="expected",
        scenario=Scenario(rules=UPDATE_FAILS),
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_an_orchestrator_that_breaks_a_law_is_caught(
    mutant: Mutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant.breaks(monkeypatch)
    story = simulate(mutant.scenario)
    found = [*broken_laws(story), *unexpected(story)]
    assert any(each.startswith(mutant.law) for each in found), found


@pytest.mark.parametrize(
    ("seed", "breaks", "law"),
    [
        (4034, leases_only_what_it_saw_first, "run2: leases are held"),
        (22715, fails_where_a_machine_has_gone, "run1: an app failure is not retried"),
        (20001361, leaves_what_a_dead_run_left, "machine checks run and go"),
        (21000386, leaves_what_another_brought_down, "run2: it converges or stands still"),
    ],
)
def test_one_of_two_runs_that_breaks_a_law_is_caught(
    seed: int, breaks: Break, law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _is_caught(draw_first(seed), breaks, law, monkeypatch)


@pytest.mark.parametrize("seed", [7031, 13357])
def test_a_rollback_that_believes_an_old_list_is_caught(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _is_caught(draw_fourth(seed), believes_any_list, "what was left is found", monkeypatch)


def believes_the_first_list(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: object) -> set[str]:
        return set()

    monkeypatch.setattr(look.Lookout, "outdated", none)


def test_a_deploy_that_believes_an_old_list_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    _is_caught(draw_second(60006327), believes_the_first_list, "run2: leases are held", monkeypatch)


def takes_any_page_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_unexpected", lambda _: "")


@pytest.mark.parametrize("seed", [150000548, 150000709])
def test_who_takes_a_strangers_page_for_an_answer_is_caught(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weather = draw(seed)
    assert weather.stranger is not None
    _is_caught(weather, takes_any_page_for_an_answer, "leases are released", monkeypatch)


def _is_caught(weather: Weather, breaks: Break, law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults_of(weather, live_through(weather)) == []
    breaks(monkeypatch)
    found = faults_of(weather, live_through(weather))
    assert any(each.startswith(law) for each in found), found


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_same_fault_breaks_no_law_of_the_orchestrator_as_it_is(mutant: Mutant) -> None:
    assert broken_laws(simulate(mutant.scenario)) == []
