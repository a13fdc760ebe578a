"""Every call of a clean deploy, times every way in which it can fail: the grid.

`cells` says what there is to run, `judge` runs one and says what came of it;
`boughs` and `judge_bough` do the same for many that share their beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from deploy.plan.strategies import STRATEGY_NAMES
from tests.simulation.branches import branches
from tests.simulation.laws import broken_laws, not_new, not_old
from tests.worlds.simulated.faults import KINDS, READS, Kind, Nature, Rule, Spot
from tests.worlds.simulated.habits import NO_HABITS, Habits
from tests.worlds.simulated.world import BROKEN, Scenario, Story, simulate

POLLS = READS | {"refresh"}
RETRIES = 3  # more than a rule ever strikes
FOREIGN = Habits(
    lease_hides_description=True,
    create_ignores_lease_ttl=True,
    list_lags_s=2.0,
    drops_unknown_keys=True,
)
_OF_A_BOUGH = 128

Bough = tuple[Scenario, tuple[Rule, ...]]
"""A quiet scenario, and rules that strike up to twice: two cells for each of them."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one run came to: an outcome in few words, and every reason why it must not be."""

    scenario: Scenario
    outcome: str
    faults: tuple[str, ...]

    @property
    def title(self) -> str:
        return describe(self.scenario)


def fleets() -> Iterator[Scenario]:
    """Every strategy and path, quiet: what can be struck in larger fleets can be in these.

    One machine, one in each of two groups, three of which one may be out at once, and four of
    which two may be.
    """
    for strategy in STRATEGY_NAMES:
        for retries in (0, RETRIES):
            for machines, groups in ((1, 1), (1, 2), (3, 1), (4, 1)):
                yield Scenario(
                    strategy=strategy,
                    retries=retries,
                    machines=machines,
                    groups=groups,
                    # The more machines, the more of the calls would be refreshes.
                    lease_ttl_s=45 if machines > 3 else 13,
                )


def broken_fleets() -> Iterator[Scenario]:
    """An app that fails its checks, so that the way back is struck as well."""
    for strategy in STRATEGY_NAMES[:3]:
        yield Scenario(strategy=strategy, retries=RETRIES, new=BROKEN)


def foreign_fleets() -> Iterator[Scenario]:
    """On a server that says less of leases than Fly.io does, and whose lists lag."""
    for strategy in STRATEGY_NAMES:
        for retries in (0, RETRIES):
            yield Scenario(strategy=strategy, retries=retries, machines=2, habits=FOREIGN)


def places(story: Story) -> list[tuple[Spot, int]]:
    """The distinct calls of a run: of polls, which repeat, the first, the middle and the last."""
    counts: dict[Spot, int] = {}
    for call in story.calls:
        counts[call.spot] = max(counts.get(call.spot, 0), call.nth + 1)
    return [
        (spot, nth)
        for spot, count in sorted(counts.items())
        for nth in (sorted({0, count // 2, count - 1}) if spot.operation in POLLS else (0,))
    ]


def cells(scenario: Scenario, kinds: Sequence[Kind] = KINDS) -> Iterator[Scenario]:
    """The scenario with each fault at each of its calls, once and twice in a row."""
    for spot, nth in places(simulate(scenario)):
        for kind in kinds:
            if spot.operation not in kind.operations:
                continue
            if not scenario.retries and (kind.late_s or _is_after(scenario, kind)):
                continue  # what comes after the one pass is over, nobody can tell
            for times in (1, 2):
                yield replace(scenario, rules=(Rule(spot, nth, kind, times),))


def boughs(scenario: Scenario, kinds: Sequence[Kind] = KINDS) -> Iterator[Bough]:
    """The same cells, many at a time."""
    rules = [cell.rules[0] for cell in cells(scenario, kinds) if cell.rules[0].times == 2]
    for first in range(0, len(rules), _OF_A_BOUGH):
        yield scenario, tuple(rules[first : first + _OF_A_BOUGH])


def _is_after(scenario: Scenario, kind: Kind) -> bool:
    """Whether it comes true only when a deploy that waits for nothing may have ended."""
    return scenario.strategy == "immediate" and kind.effect.startswith("revert")


def judge(scenario: Scenario) -> Ruling:
    """Run it, and hold it against the laws and against what its fault may lead to."""
    return rule_on(simulate(scenario))


def judge_bough(bough: Bough) -> list[Ruling]:
    """The rulings of all its cells, each as `judge` gives it.

    Where a fault that could have struck twice found one call only, the run is also
    the one in which it strikes once.
    """
    scenario, rules = bough
    twice = branches(scenario, rules, rule_on)
    anew = [_once(branch.rule) for branch in twice if branch.strikes == 2]
    same = [branch for branch in twice if branch.strikes < 2]
    return [
        *(branch.result for branch in twice),
        *(branch.result for branch in branches(scenario, anew, rule_on)),
        *(replace(b.result, scenario=replace(scenario, rules=(_once(b.rule),))) for b in same),
    ]


def _once(rule: Rule) -> Rule:
    return replace(rule, times=1)


def rule_on(story: Story) -> Ruling:
    """What the story of a cell came to."""
    faults = [*broken_laws(story), *unexpected(story)]
    finished = story.run.finished
    outcome = f"exit {finished.exit_code} {finished.result}" if finished else "no end"
    return Ruling(story.scenario, outcome, tuple(faults))


def unexpected(story: Story) -> Iterator[str]:
    """Where a run that kept the laws still did not do what retries are for."""
    scenario, finished = story.scenario, story.run.finished
    if finished is None or not scenario.retries:
        return
    natures = {rule.kind.nature for rule in scenario.rules}
    effects = {rule.kind.effect for rule in scenario.rules}
    why = [*not_new(story)] if finished.exit_code == 0 else [*not_old(story)]
    if scenario.new == BROKEN and Nature.ODD not in natures:
        allowed: set[int] = {1}
    elif scenario.strategy == "immediate" and effects & {"revert", "revert anew", "exit"}:
        allowed, why = {0, 1, 3}, _of_immediate(story, effects, why)
    elif natures <= {Nature.HICCUP}:
        allowed = {0}
    elif natures == {Nature.APP}:
        allowed = {0, 1}
    elif "steal" in effects or any(rule.spot.phase == "back" for rule in scenario.rules):
        allowed, why = {0, 1, 3, 5}, []  # somebody else holds a machine: it stands as it stands
    else:
        allowed = {0, 1, 4, 5}
    if scenario.new == BROKEN:
        allowed -= {0}
    if any(_shows_no_api(rule) for rule in scenario.rules):
        allowed |= {4}
    if finished.exit_code not in allowed or why:
        yield (
            f"expected: exit {sorted(allowed)}, got {finished.exit_code} ({finished.message})"
            f" {'; '.join(why)}"
        )


def _of_immediate(story: Story, effects: set[str], why: list[str]) -> list[str]:
    """What must not be. It waits for nothing, so it may end before a write is reverted.

    An app that exits may be seen by the last look: then all is new, and left to be taken up.
    """
    if "exit" not in effects:
        return []
    if story.run.finished is None or story.run.finished.exit_code != 3:
        return why
    return [each for each in not_new(story) if "still carries the intent" not in each]


def _shows_no_api(rule: Rule) -> bool:
    return rule.kind.garbled and rule.times > 1 and rule.spot.phase == "look"


def describe(scenario: Scenario) -> str:
    """A scenario in one line."""
    path = f"{scenario.retries} retries" if scenario.retries else "legacy"
    of = f"{scenario.machines}x{scenario.groups}"
    broken = " broken" if scenario.new == BROKEN else ""
    rules = "; ".join(str(rule) for rule in scenario.rules) or "quiet"
    habits = "" if scenario.habits == NO_HABITS else " on a server with habits"
    return f"{scenario.strategy} {path} {of}{broken}{habits} seed {scenario.seed}: {rules}"
