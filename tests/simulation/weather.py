"""A whole world out of one seed: the fleet, the release, and everything that befalls them.

A seed draws the strategy, the path and the fleet; how the new app behaves, and whether
machine checks try it; the server's habits; how often calls fail, in bursts or evenly; how
slow the network is; an outage, or a stranger who answers; a rival; a death with a resume, a
rollback or another deploy after it; a host that is lost for a while, or for good. The laws
have to hold in all of it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import anyio

from deploy.plan.strategies import STRATEGY_NAMES
from tests.simulation.deaths import COMMANDS, LEASE_S
from tests.simulation.laws import broken_laws
from tests.simulation.laws_of_calls import has_written
from tests.simulation.rivals import broken_after_another, broken_beside_another, broken_by_rivals
from tests.worlds.simulated import other_tool
from tests.worlds.simulated.faults import KINDS, STRANGERS, Kind, Nature
from tests.worlds.simulated.habits import NO_HABITS, Habits
from tests.worlds.simulated.story import USUAL_LATENCY_S
from tests.worlds.simulated.transport import Call
from tests.worlds.simulated.world import BROKEN, OLD, Scenario, Story, World, tell

HICCUPS = tuple(kind for kind in KINDS if kind.nature is Nature.HICCUP)
_GROUPS = ("web", "worker")
_LATENCIES = (USUAL_LATENCY_S, USUAL_LATENCY_S, (0.01, 0.3), (0.05, 1.0), (0.3, 2.0))
_MISBEHAVING = ("late", "flap", "crash", "exitzero", "nopull", "noimage")
_HABITS: Mapping[str, Sequence[Any]] = {
    "create_ignores_lease_ttl": (True,),
    "drops_unknown_keys": (True,),
    "empty_lists": (2, 4),
    "lease_hides_description": (True,),
    "list_lags_s": (2.0, 5.0),
    "longest_lease_s": (8,),
    "odd_machine": (True,),
    "refuses_refresh": ((409,), (412,), (400,)),
    "refuses_release": ((409,), (412, 412)),
}
PLAYS = ("deploy", "outage", "rivals", "death", "host loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Which host is lost: that of the machine at this share of those that are there.

    `at_call` of the deploy, or `after_s` where that is 0; for `for_s`.
    """

    share: float
    at_call: int
    after_s: float
    for_s: float

    def __str__(self) -> str:
        when = f"at call {self.at_call}" if self.at_call else f"after {self.after_s:.1f} s"
        for_ = f"for {self.for_s:g} s" if self.for_s < math.inf else "for good"
        return f"of machine {self.share:.2f} {when} {for_}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What the seed has drawn. Times are in seconds from the start of the deploy.

    After a death the command is `way`, or the same deploy once more if it `deploys_again`.
    The rival is a deploy of our own, or, `beside_another`, another tool's; after a death
    that one deploys before the command.
    """

    scenario: Scenario
    play: str
    rate: float
    burst: tuple[float, float] | None
    outage: tuple[float, float]
    second_after_s: float
    dies_at: tuple[int, bool]
    way: str
    deploys_again: bool
    host: Host
    beside_another: bool = False
    stranger: Kind | None = None

    def __str__(self) -> str:
        one = self.scenario
        path = f"{one.retries} retries" if one.retries else "legacy"
        of = f"{one.machines}x{one.groups}, {one.cold} cold, max {one.max_unavailable}"
        waits_s = one.wait_for_lease_s
        more = {
            "outage": f" {self.outage[1] - self.outage[0]:.0f} s at {self.outage[0]:.1f} s"
            + (f", a stranger answers: {self.stranger}" if self.stranger else ""),
            "death": f" {'after' if self.dies_at[1] else 'before'} call {self.dies_at[0]}, "
            f"then {'another tool, then ' if self.beside_another else ''}{self.what_follows}",
            "host loss": f" {self.host}",
            "rivals": (" with another tool" if self.beside_another else "")
            + (f" that wait {waits_s:g} s for each other" if waits_s else ""),
        }.get(self.play, "")
        burst = " in bursts" if self.burst else ""
        fail = f"{self.rate:.1%} of calls fail{burst}"
        what = f"to {one.new.rpartition('/')[2]}"
        habits = f"; a server with {one.habits}" if one.habits != NO_HABITS else ""
        what += f", tried by {one.machine_checks}" if one.machine_checks else ""
        slow = f", messages take up to {one.latency_s[1]:g} s" if one.latency_s[1] > 0.1 else ""
        return f"{one.strategy} {path} {of} {what}, {fail}{slow}; {self.play}{more}{habits}"

    @property
    def what_follows(self) -> str:
        """The command that comes after a death."""
        return "deploy" if self.play == "death" and self.deploys_again else self.way


def draw(seed: int) -> Weather:
    """What this seed holds."""
    weather = draw_fourth(seed)
    proxy = random.Random(f"proxy/{seed}")
    if weather.play == "outage" and proxy.random() < 0.3:
        weather = replace(weather, stranger=proxy.choice(STRANGERS))
    closes = random.Random(f"closes/{seed}")
    if closes.random() < 0.05:
        return _on_a_server(weather, closes_every=closes.choice((7, 20, 50)))
    return weather


def _on_a_server(weather: Weather, **habits: Any) -> Weather:
    """The same on a server that has these habits, too."""
    all_of_them = replace(weather.scenario.habits, **habits)
    return replace(weather, scenario=replace(weather.scenario, habits=all_of_them))


def draw_fourth(seed: int) -> Weather:
    """What it held before servers closed what they had kept, and strangers answered for them."""
    weather = draw_third(seed)
    lists = random.Random(f"lists/{seed}")
    if lists.random() < 0.05:
        takes_up = weather.play == "death" and not weather.beside_another
        takes_up &= weather.what_follows != "deploy"  # which waits for what others are seen to do
        return _on_a_server(weather, list_lags_s=lists.choice((9.0, 15.0)) if takes_up else 9.0)
    return weather


def draw_third(seed: int) -> Weather:
    """What it held before lists showed things as they were before a whole deploy."""
    weather = draw_second(seed)
    ends = random.Random(f"ends/{seed}")
    if ends.random() < 0.1:
        return _on_a_server(weather, destroys_for_s=ends.choice((3.0, 12.0, 60.0)))
    return weather


def draw_second(seed: int) -> Weather:
    """What it held before machines took time to go."""
    weather = draw_first(seed)
    more = random.Random(f"more/{seed}")
    if weather.play in ("rivals", "death") and more.random() < 0.3:
        return replace(weather, beside_another=True)
    if more.random() < 0.05:
        return _on_a_server(weather, **_more_habits(more))
    return weather


def _more_habits(chance: random.Random) -> Mapping[str, Any]:
    """One that no first drawing has."""
    return chance.choice(
        (
            {"versions_without_config": True},
            {"paced": chance.randint(1, 3), "retry_after_s": chance.choice((3, 20, 86400))},
            {"empty_lists": 2, "full_lists": chance.randint(1, 6)},
        )
    )


def draw_first(seed: int) -> Weather:
    """What it held before there was more to be drawn: so seeds keep what they once found."""
    chance = random.Random(f"weather/{seed}")
    play = chance.choices(PLAYS, weights=(50, 15, 15, 15, 5))[0]
    machines = chance.choice((1, 2, 3, 3, 5, 8))
    begins_s = chance.uniform(0.0, 10.0)
    latency_s = random.Random(f"latency/{seed}").choice(_LATENCIES)
    waits_s = random.Random(f"queue/{seed}").choice((0.0, 0.0, 60.0)) if play == "rivals" else 0.0
    scenario = Scenario(
        seed=seed,
        strategy=chance.choice(STRATEGY_NAMES),
        retries=chance.choice((0, 1, 3, 5)),
        machines=machines,
        groups=chance.choice((1, 1, 2)),
        cold=chance.choice((0, 0, 0, 1)) if machines > 1 else 0,
        new=chance.choice((Scenario().new,) * 5 + (BROKEN, f"{OLD[:-1]}2-silent")),
        max_unavailable=chance.choice((Decimal("0.33"), Decimal("0.5"), 1, 2)),
        settles_s=300.0,
        latency_s=latency_s,
        wait_for_lease_s=waits_s,
    )
    app = random.Random(f"app/{seed}")
    if app.random() < 0.2:
        scenario = replace(scenario, new=f"{OLD[:-1]}2-{app.choice(_MISBEHAVING)}")
    scenario = replace(scenario, habits=_habits(random.Random(f"habits/{seed}")))
    tried = random.Random(f"checks/{seed}")
    if tried.random() < 0.1:
        word = tried.choice(("exit0", "exit0", "exit0", "exit1"))
        scenario = replace(scenario, machine_checks=word)
    lost = random.Random(f"host/{seed}")
    if play == "host loss" and lost.random() < 0.5:
        scenario = replace(scenario, habits=replace(scenario.habits, removes_lost=True))
    return Weather(
        scenario=scenario,
        play=play,
        rate=chance.choice((0.0, 0.01, 0.05, 0.1, 0.2, 0.3)),
        burst=(chance.uniform(2, 20), chance.uniform(1, 5)) if chance.random() < 0.3 else None,
        outage=(begins_s, begins_s + 10 ** chance.uniform(0.0, 2.8)),
        second_after_s=chance.choice((0.0, 0.0, chance.uniform(0, 8))),
        dies_at=(chance.randint(1, 20 * machines), chance.random() < 0.5),
        way=chance.choice(("resume", "rollback")),
        deploys_again=random.Random(f"again/{seed}").random() < 0.3,
        host=Host(
            share=lost.random(),
            at_call=lost.randint(1, 40 * machines) if lost.random() < 0.5 else 0,
            after_s=lost.uniform(0.0, 60.0),
            for_s=math.inf if lost.random() < 0.5 else lost.choice((3.0, 30.0, 120.0)),
        ),
    )


def _habits(chance: random.Random) -> Habits:
    """Of one server in five: up to three that are no faults."""
    if chance.random() >= 0.2:
        return NO_HABITS
    chosen = chance.sample(sorted(_HABITS), chance.randint(1, 3))
    return replace(NO_HABITS, **{key: chance.choice(_HABITS[key]) for key in chosen})


class Sky:
    """Faults as the weather has them: evenly, or only while a burst lasts.

    What comes true late may do so after our run: of what is not `ours`, nobody could tell.
    """

    def __init__(self, weather: Weather, run: str, *, ours: bool = True) -> None:
        self._chance = random.Random(f"sky/{weather.scenario.seed}/{run}")
        self._rate = weather.rate
        self._kinds = tuple(kind for kind in KINDS if _may_befall(weather.scenario, kind))
        self._burst = weather.burst
        self._is_ours = ours
        self._is_late = weather.beside_another  # the rollback: no lease is left of the dead run
        self._is_undone = (weather.play, weather.what_follows) == ("death", "rollback")

    def strike(self, call: Call) -> Kind | None:
        if self._burst is not None:
            every_s, lasts_s = self._burst
            if call.sent_s % (every_s + lasts_s) > lasts_s:
                return None
        if self._chance.random() >= self._rate:
            return None
        fitting = [kind for kind in self._kinds if call.operation in kind.operations]
        if not fitting:
            return None  # the bundled platform's own pages
        kind = self._chance.choice(fitting)
        if kind.late_s and self._is_undone and (call.operation == "create" or self._is_late):
            return None  # it may land when the rollback is over; no lease keeps a create away
        if kind.late_s and not self._is_ours:
            return None
        return kind


class Counting:
    """The faults of another, and a moment that has come with the `nth` call of the run."""

    def __init__(self, sky: Sky, nth: int, has_come: anyio.Event) -> None:
        self._sky = sky
        self._nth = nth
        self._has_come = has_come

    def strike(self, call: Call) -> Kind | None:
        if call.ordinal == self._nth:
            self._has_come.set()
        return self._sky.strike(call)


def _may_befall(scenario: Scenario, kind: Kind) -> bool:
    """Not what comes true only when a deploy that waits for nothing has ended."""
    if kind.late_s:
        return bool(scenario.retries)
    return scenario.strategy != "immediate" or not kind.effect.startswith("revert")


def live_through(weather: Weather) -> Story:
    """The story of what the seed has drawn."""
    plays = {
        "deploy": _deploy,
        "outage": _outage,
        "rivals": _rivals,
        "death": _death,
        "host loss": _host_loss,
    }

    async def play(world: World) -> None:
        await plays[weather.play](world, weather)
        await world.rest()

    return tell(weather.scenario, play)


def faults_of(weather: Weather, story: Story) -> list[str]:
    """The laws that it breaks, those between rivals included: to a new deploy a dead one is one."""
    if weather.beside_another and weather.play == "rivals":
        return broken_beside_another(story)
    if any(has_written(story, other) for other in story.others):
        return broken_after_another(story, goes_over=weather.what_follows == "deploy")
    are_rivals = weather.play == "rivals" or weather.what_follows == "deploy"
    return broken_by_rivals(story) if are_rivals else broken_laws(story)


def shortest(weather: Weather, breaks: Callable[[Weather], bool]) -> Weather:
    """A plainer weather that still `breaks` a law: simplified for as long as that goes."""
    while True:
        plainer = next((each for each in _plainer(weather) if breaks(each)), None)
        if plainer is None:
            return weather
        weather = plainer


def _plainer(weather: Weather) -> Iterator[Weather]:
    """The same with one thing less in it, the largest first; each changes something."""
    one = weather.scenario
    scenarios = [
        replace(one, habits=replace(one.habits, **{key: getattr(NO_HABITS, key)}))
        for key in NO_HABITS.__slots__
    ]
    scenarios += [replace(one, latency_s=USUAL_LATENCY_S), replace(one, groups=1)]
    scenarios += [replace(one, cold=0), replace(one, wait_for_lease_s=0.0)]
    scenarios += [replace(one, machine_checks="")]
    scenarios += [replace(one, new=Scenario().new), replace(one, max_unavailable=1)]
    scenarios += [replace(one, machines=n) for n in (1, 2, 3) if one.cold < n < one.machines]
    scenarios += [replace(one, retries=n) for n in (1, 3) if n < one.retries]
    weathers = [replace(weather, burst=None), replace(weather, second_after_s=0.0)]
    weathers += [replace(weather, deploys_again=False), replace(weather, beside_another=False)]
    weathers += [replace(weather, stranger=None)]
    weathers += [replace(weather, rate=rate) for rate in (0.0, 0.01, 0.05) if rate < weather.rate]
    weathers += [replace(weather, scenario=scenario) for scenario in scenarios]
    yield from (each for each in weathers if each != weather)


async def _deploy(world: World, weather: Weather) -> None:
    await world.deploy(faults=Sky(weather, "run1"))


async def _outage(world: World, weather: Weather) -> None:
    now = anyio.current_time()
    begins_s, ends_s = weather.outage
    outage = (now + begins_s, now + ends_s)
    await world.deploy(faults=Sky(weather, "run1"), outage=outage, stranger=weather.stranger)


async def _rivals(world: World, weather: Weather) -> None:
    """Two at once."""
    image = f"{OLD[:-1]}3"
    sky = Sky(weather, "run2", ours=not weather.beside_another)

    async def second() -> None:
        await anyio.sleep(weather.second_after_s)
        if weather.beside_another:
            await other_tool.deploy(world, image, sky)
        else:
            await world.deploy(name="run2", image=image, faults=sky)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second)
        await world.deploy(faults=Sky(weather, "run1"))


async def _death(world: World, weather: Weather) -> None:
    quiet = replace(weather, rate=min(weather.rate, 0.05))
    await world.deploy(faults=Sky(quiet, "run1"), dies_at=weather.dies_at)
    await anyio.sleep(weather.second_after_s)
    if weather.beside_another:
        await anyio.sleep(LEASE_S + 1)
        await other_tool.deploy(world, f"{OLD[:-1]}3", Sky(quiet, "run3", ours=False))
    if weather.what_follows == "deploy":
        await anyio.sleep(LEASE_S + 1)  # to a new deploy the dead one is a rival
    command = COMMANDS[weather.what_follows]
    again = await world.deploy(name="run2", command=command, faults=Sky(quiet, "run2"))
    again.is_rollback = weather.what_follows == "rollback"


async def _host_loss(world: World, weather: Weather) -> None:
    """The host of a machine is lost during the deploy, be it one that the deploy has made."""
    host, is_time = weather.host, anyio.Event()
    sky = Counting(Sky(weather, "run1"), host.at_call, is_time)

    async def lose() -> None:
        if host.at_call:
            await is_time.wait()
        else:
            await anyio.sleep(host.after_s)
        there = [machine.id for machine in world.machines() if machine.config.group in _GROUPS]
        lost = there[int(host.share * len(there))]
        world.set_host(lost, "unreachable")
        if host.for_s < math.inf:
            await anyio.sleep(host.for_s)
            world.set_host(lost, "ok")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lose)
        await world.deploy(faults=sky)
        if not world.story.lost:  # it was over before
            tasks.cancel_scope.cancel()
