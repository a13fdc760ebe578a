"""The laws of a deploy, held over simulated deploys: quiet ones, large ones, unlucky ones."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.plan.strategies import STRATEGY_NAMES
from tests.simulation.enumeration import (
    boughs,
    cells,
    describe,
    fleets,
    foreign_fleets,
    judge,
    judge_bough,
    unexpected,
)
from tests.simulation.laws import broken_laws, managed
from tests.simulation.laws_of_calls import no_lease_is_lost_that_nobody_took
from tests.simulation.weather import (
    HICCUPS,
    Host,
    Weather,
    draw,
    draw_first,
    draw_fourth,
    draw_second,
    draw_third,
    faults_of,
    live_through,
)
from tests.worlds.simulated.faults import BY_NAME, KINDS, Rule, Spot
from tests.worlds.simulated.habits import NO_HABITS
from tests.worlds.simulated.story import USUAL_LATENCY_S
from tests.worlds.simulated.transport import Chaos
from tests.worlds.simulated.world import BROKEN, Scenario, simulate

LOST = BY_NAME["500 after"]
JUST_TOO_LATE = replace(BY_NAME["carried out late"], late_s=31.0)
# Each broke a law of the orchestrator when it was found.
ONCE_BROKEN = (
    65,
    85,
    210,
    361,
    385,
    432,
    653,
    707,
    861,
    918,
    1172,
    5709,
    5861,
    20292,
    20570,
    30356,
    31014,
    31242,
    31319,
    31513,
    32239,
    32256,
    40040,
    40105,
    40492,
    41232,
    42370,
    43725,
    45441,
    60666,
    62851,
    63962,
    71285,
    71845,
    80824,
    82087,
)
RIVALS_ONCE_BROKEN = (
    1127,
    2900,
    3014,
    4034,
    5513,
    6576,
    20636,
    22715,
    35198,
    41471,
    52338,
    59572,
    66410,
    94346,
    161921,
    202888,
    204013,
    8000250,
    9003112,
    21000386,
)
JUST_AS_DRAWN = (
    4000389,
    4001153,
    4001240,
    4001384,
    4001385,
    4002216,
    4002341,
    5100331,
    5102569,
    8003510,
    9000198,
    9004441,
    9005863,
    10000748,
    11002189,
    12000004,
    23001396,
    31004641,
    30005474,
    30006127,
    32000238,
    77001251,
    88006071,
    88015647,
    88027065,
    88029998,
)
WITH_HABITS = (
    23002851,
    23001705,
    700158,
    700181,
    4002625,
    5001900,
    9002057,
    10002590,
    11001183,
    20001170,
    20002821,
    21101113,
    21101172,
)
WITH_A_HOST_LOST = (  # any machine's, and some of them for good
    40022820,
    40000090,
    40000195,
    40000337,
    40000645,
    40000898,
    40000973,
    40001438,
    40001515,
    40010877,
    40011023,
    40011789,
    40012424,
)
WITH_ANOTHER_TOOL = (  # or more habits
    47000832,
    47001840,
    60003525,
    60007026,
    *(60006327, 71036015, 71045995, 71052146),  # rivals, and lists that lag
    *(71064886, 71087176, 71090888, 71101985, 71107947),
    73002069,
)
OF_THE_FOURTH_DRAWING = (
    *(90020045, 110005952, 110021282, 110029958, 110046820),
    *(120018037, 120020071, 120029631, 120056287, 130021047, 140019459),
    *(140022062, 160016129, 180001059, 170008643, 170018770, 170023361),
    *(170024414, 170028980, 180007397, 180010321, 180013794, 180013846),
    *(180017800, 190010411, 190011343, 200012900, 210011729, 210012350),
    *(210014561, 220016604, 220020591, 240000185, 230015017, 240012369),
    *(230039008, 240038197, 240045055, 230068313, 250061067, 250066660),
    *(250075806, 260029953, 260031610, 260069349, 270001778, 300002123),
    *(300023555, 300024899, 290030426, 290046173, 300049375),
    310002017,
)
WITH_SLOW_DESTROYS = (
    *(70005151, 81008042, 82002996, 82004420, 88005249, 89002586, 89004096),
    *(90004591, 100004613, 100006153, 90006377, 100007001, 90011547),
    *(90018933, 90023574, 90024088, 100032561, 90037857, 90039422, 100040080),
    *(90045004, 100049332, 100050345),
)
ONCE_STRUCK = (
    Rule(Spot("acquire", "web first", "hold"), 0, BY_NAME["409 leased"]),
    Rule(Spot("release", "web first", "over"), 0, BY_NAME["HTML"]),
    Rule(Spot("uncordon", "web green first", "work"), 0, BY_NAME["HTML"]),
    Rule(Spot("list", "", "work"), 8, BY_NAME["timed out before"]),
    Rule(Spot("update", "web first", "work"), 0, BY_NAME["exits"], 2),
    Rule(Spot("create", "web green first", "work"), 0, LOST),
    Rule(Spot("create", "web canary", "work"), 0, BY_NAME["carried out late"]),
    Rule(Spot("update", "web first", "work"), 0, JUST_TOO_LATE),
    Rule(Spot("create", "web green first", "work"), 0, BY_NAME["404 for a new machine"]),
    Rule(Spot("refresh", "web green first", "work"), 0, BY_NAME["409 leased"]),
    Rule(Spot("refresh", "web first", "work"), 0, BY_NAME["409 leased"], 2),
)
ONCE_STRUCK_THERE = (
    Rule(Spot("update", "web other", "work"), 0, BY_NAME["half a body"], 2),
    Rule(Spot("uncordon", "web green first", "work"), 0, BY_NAME["500 after"], 2),
    Rule(Spot("stop", "web other", "work"), 0, BY_NAME["409 leased"], 2),
    Rule(Spot("create", "web canary", "work"), 0, BY_NAME["404 for a new machine"], 2),
    Rule(Spot("read", "web other", "clear"), 0, BY_NAME["timed out before"], 2),
    Rule(Spot("read", "web other", "clear"), 1, BY_NAME["timed out before"], 2),
    Rule(Spot("read", "web other", "clear"), 1, BY_NAME["404"], 2),
    Rule(Spot("read", "web first", "work"), 0, BY_NAME["404"], 2),
    Rule(Spot("read", "web first", "work"), 1, BY_NAME["404"], 2),
    Rule(Spot("read", "web other", "work"), 0, BY_NAME["404"], 2),
)
QUIET = [
    *fleets(),
    *(
        Scenario(strategy=strategy, retries=retries, machines=8, groups=2, lease_ttl_s=45)
        for strategy in STRATEGY_NAMES
        for retries in (0, 3)
    ),
]


@pytest.mark.parametrize("scenario", QUIET, ids=describe)
def test_a_quiet_deploy_ends_wholly_new(scenario: Scenario) -> None:
    story = simulate(scenario)
    assert broken_laws(story) == []
    assert story.finished.exit_code == 0


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
@pytest.mark.parametrize("word", ["bad", "exit1", "oom", "silent"])
def test_a_broken_app_ends_wholly_old(strategy: str, word: str) -> None:
    story = simulate(Scenario(strategy=strategy, new=f"registry.test/hello:2-{word}"))
    assert broken_laws(story) == []
    assert story.finished.exit_code == 1


@pytest.mark.parametrize("strategy", ["canary", "bluegreen"])
def test_a_broken_app_takes_nothing_old_out_of_service(strategy: str) -> None:
    story = simulate(Scenario(strategy=strategy, new=BROKEN, machines=3, groups=2))
    served = {id_ for id_, machine in managed(story.before).items() if machine.serves}
    started_s = story.run.started_s
    assert all(served <= serving for at, serving in story.serving if at >= started_s)


@pytest.mark.parametrize("seed", range(2))
def test_fifty_machines_with_hiccups_end_wholly_new(seed: int) -> None:
    scenario = Scenario(seed=seed, machines=50, retries=8)
    story = simulate(scenario, Chaos(seed, 0.1, HICCUPS))
    assert broken_laws(story) == []
    assert story.finished.exit_code == 0


def test_three_hundred_machines_with_hiccups_end_wholly_new() -> None:
    scenario = Scenario(machines=300, retries=8, wait_timeout_s=120.0, lease_ttl_s=120)
    story = simulate(scenario, Chaos(0, 0.005, HICCUPS))
    assert broken_laws(story) == []
    assert story.finished.exit_code == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("machines", [3, 60, 1000])
def test_a_slow_client_loses_no_lease_that_nobody_took(machines: int) -> None:
    """Each request costs it processor time: at a thousand machines it is busy all the time."""
    cpu_s = (0.0, 10 ** random.Random(machines).uniform(-2.0, -1.5))
    story = simulate(Scenario(machines=machines, cpu_s=cpu_s, wait_timeout_s=120.0))
    assert list(no_lease_is_lost_that_nobody_took(story)) == []
    assert broken_laws(story) == []
    assert story.finished.exit_code == 0


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
def test_any_single_fault_at_any_call_keeps_the_laws(strategy: str, retries: int) -> None:
    """A sample of the grid that `scripts/simulate --all` runs in whole."""
    quiet = Scenario(strategy=strategy, retries=retries, machines=3)
    rules = [rule for _, of_bough in boughs(quiet) for rule in of_bough]
    sample = random.Random(strategy).sample(rules, 8)
    for ruling in judge_bough((quiet, tuple(sample))):
        assert ruling.faults == (), ruling.title


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_any_single_fault_about_a_machine_check_keeps_the_laws(strategy: str, retries: int) -> None:
    scenario = Scenario(strategy=strategy, retries=retries, machines=2, machine_checks="exit0")
    rules = [rule for _, of_bough in boughs(scenario) for rule in of_bough]
    about = [rule for rule in rules if rule.spot.role == "machine check"]
    assert {rule.spot.operation for rule in about} >= {"create", "destroy", "read"}
    sample = random.Random(f"{strategy}{retries}").sample(about, 4)
    for ruling in judge_bough((scenario, tuple(sample))):
        assert ruling.faults == (), ruling.title


@pytest.mark.parametrize("strategy", ["rolling", "canary", "bluegreen"])
def test_a_release_that_fails_its_machine_check_ends_wholly_old(strategy: str) -> None:
    story = simulate(Scenario(strategy=strategy, groups=2, machine_checks="exit1"))
    assert broken_laws(story) == []
    assert story.finished.exit_code == 1


@pytest.mark.parametrize("quiet", [*foreign_fleets()], ids=describe)
def test_any_single_fault_on_a_server_with_habits_keeps_the_laws(quiet: Scenario) -> None:
    """A sample, and what broke a law there once: the list lags."""
    rules = [rule for _, of_bough in boughs(quiet) for rule in of_bough]
    sample = random.Random(quiet.strategy).sample(rules, 3)
    sample += [rule for rule in ONCE_STRUCK_THERE if rule in rules and rule not in sample]
    for ruling in judge_bough((quiet, tuple(sample))):
        assert ruling.faults == (), ruling.title


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    seed=st.integers(0, 2**16),
    strategy=st.sampled_from(STRATEGY_NAMES),
    retries=st.sampled_from([0, 1, 3, 5]),
    machines=st.integers(1, 5),
    groups=st.integers(1, 2),
    cold=st.integers(0, 1),
    rate=st.floats(0.0, 0.3),
    broken=st.booleans(),
)
def test_any_schedule_of_faults_keeps_the_laws(
    *,
    seed: int,
    strategy: str,
    retries: int,
    machines: int,
    groups: int,
    cold: int,
    rate: float,
    broken: bool,
) -> None:
    scenario = Scenario(
        seed=seed, strategy=strategy, retries=retries, machines=machines, groups=groups, cold=cold
    )
    if broken:
        scenario = replace(scenario, new=BROKEN)
    assert broken_laws(simulate(scenario, Chaos(seed, rate, KINDS))) == []


@pytest.mark.parametrize("seed", ONCE_BROKEN)
def test_a_world_that_once_broke_a_law_keeps_them_all(seed: int) -> None:
    drawn = _as_once(draw_first(seed))
    # They were found when the network had one speed.
    weather = replace(drawn, scenario=replace(drawn.scenario, latency_s=USUAL_LATENCY_S))
    assert faults_of(weather, live_through(weather)) == [], weather


@pytest.mark.parametrize("seed", [90475, 90570, 91014, 91840, 102095, 209854])
def test_a_slow_world_that_once_broke_a_law_keeps_them_all(seed: int) -> None:
    weather = _as_once(draw_first(seed))
    assert faults_of(weather, live_through(weather)) == [], weather


def _as_once(weather: Weather) -> Weather:
    """As these worlds were when they were found: no server had habits.

    No call of a rival failed, and none waited; nobody deployed again after a death.
    """
    scenario = replace(weather.scenario, habits=NO_HABITS, machine_checks="")
    weather = _as_lost_once(replace(weather, scenario=scenario, deploys_again=False))
    if weather.play != "rivals":
        return weather
    return replace(weather, rate=0.0, scenario=replace(weather.scenario, wait_for_lease_s=0.0))


def _as_lost_once(weather: Weather) -> Weather:
    """As hosts were lost at first: that of the first machine, for half a minute."""
    host = Host(share=0.0, at_call=0, after_s=weather.second_after_s, for_s=30.0)
    habits = replace(weather.scenario.habits, removes_lost=False)
    return replace(weather, host=host, scenario=replace(weather.scenario, habits=habits))


@pytest.mark.parametrize("seed", WITH_A_HOST_LOST)
def test_a_world_in_which_a_host_is_lost_keeps_the_laws_that_it_once_broke(seed: int) -> None:
    weather = draw_first(seed)
    assert weather.play == "host loss"
    assert faults_of(weather, live_through(weather)) == [], weather


@pytest.mark.parametrize("seed", WITH_HABITS)
def test_a_world_whose_server_has_habits_keeps_the_laws_that_it_once_broke(seed: int) -> None:
    weather = _as_lost_once(draw_first(seed))
    assert faults_of(weather, live_through(weather)) == [], weather


@pytest.mark.parametrize("seed", [5000644, 5001303, 6000713, 6002701, 20001361, 23001470])
def test_a_world_with_machine_checks_that_once_broke_a_law_keeps_them_all(seed: int) -> None:
    weather = _as_lost_once(draw_first(seed))
    assert weather.scenario.machine_checks
    assert faults_of(weather, live_through(weather)) == [], weather


@pytest.mark.parametrize("seed", JUST_AS_DRAWN)
def test_a_world_that_once_broke_a_law_keeps_them_all_just_as_it_was_drawn(seed: int) -> None:
    weather = _as_lost_once(
        replace(draw_first(seed), deploys_again=False)
    )  # which was not drawn yet
    assert faults_of(weather, live_through(weather)) == [], weather


@pytest.mark.parametrize(
    "seed", [7002920, 7005372, 7006250, 7007256, 9004895, 9005049, 11000708, 32001615]
)
def test_a_new_deploy_over_one_that_died_keeps_the_laws(seed: int) -> None:
    weather = draw_first(seed)
    assert weather.what_follows == "deploy"
    assert faults_of(weather, live_through(weather)) == [], weather


@pytest.mark.parametrize("seed", RIVALS_ONCE_BROKEN)
def test_rivals_that_once_broke_a_law_keep_them_all(seed: int) -> None:
    drawn = draw_first(seed)
    scenario = replace(drawn.scenario, habits=NO_HABITS, machine_checks="")
    weather = replace(drawn, scenario=scenario)
    assert faults_of(weather, live_through(weather)) == [], weather


@pytest.mark.parametrize("seed", WITH_ANOTHER_TOOL)
def test_a_world_with_another_tool_that_once_broke_a_law_keeps_them_all(seed: int) -> None:
    weather = draw_second(seed)
    assert faults_of(weather, live_through(weather)) == [], weather


@pytest.mark.parametrize("seed", WITH_SLOW_DESTROYS)
def test_a_world_with_slow_destroys_that_once_broke_a_law_keeps_them_all(seed: int) -> None:
    weather = draw_third(seed)
    assert faults_of(weather, live_through(weather)) == [], weather


@pytest.mark.parametrize("seed", OF_THE_FOURTH_DRAWING)
def test_a_world_of_the_fourth_drawing_that_once_broke_a_law_keeps_them_all(seed: int) -> None:
    weather = draw_fourth(seed)
    assert faults_of(weather, live_through(weather)) == [], weather


@pytest.mark.parametrize("seed", range(9000, 9020))
def test_whatever_the_weather_the_laws_hold(seed: int) -> None:
    """More of these: scripts/simulate SEED --runs N."""
    weather = draw(seed)
    assert faults_of(weather, live_through(weather)) == [], weather


@pytest.mark.parametrize("rule", ONCE_STRUCK, ids=str)
@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
def test_a_fault_that_once_broke_a_law_breaks_none(rule: Rule, strategy: str) -> None:
    for retries in (3,) if rule.kind.late_s else (0, 3):
        ruling = judge(Scenario(strategy=strategy, retries=retries, rules=(rule,)))
        assert ruling.faults == (), ruling.title


def test_a_machine_put_back_with_its_mark_keeps_nobody_from_taking_the_deploy_up() -> None:
    """Nor does a rollback take it for the newest deploy's, which would destroy it."""
    rule = Rule(Spot("update", "web first", "work"), 0, BY_NAME["reverted as a new version"])
    story = simulate(Scenario(strategy="immediate", rules=(rule,)))
    assert [advice.promise for advice, _ in story.advised] == ["finishes it", "undoes it"]
    assert broken_laws(story) == []


def test_one_seed_tells_one_story() -> None:
    scenario = Scenario(seed=7, strategy="canary", machines=3, groups=2)
    first, second = (simulate(scenario, Chaos(7, 0.1, KINDS)) for _ in range(2))
    other = simulate(replace(scenario, seed=8), Chaos(8, 0.1, KINDS))
    assert first.log() == second.log()
    assert first.log() != other.log()


def test_what_is_expected_of_retries_is_not_met_without_them() -> None:
    """The grid's own expectation can fail."""
    cell = next(
        cell for cell in cells(Scenario(machines=1)) if cell.rules[0].kind.name == "500 after"
    )
    quiet = simulate(cell)
    assert list(unexpected(quiet)) == []
    quiet.run.finished = replace(quiet.finished, exit_code=3)
    assert list(unexpected(quiet)) != []
