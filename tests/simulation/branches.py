"""Runs with one fault each that share their beginning: the process is copied where they part.

Until its fault strikes, a run is the quiet one to the byte. So the quiet run is
simulated once, and at each call that a fault is meant for the process that
simulates it is forked: the child goes on with the fault, and tells how it ended.
"""

from __future__ import annotations

import gc
import os
import pickle
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NoReturn, TypeVar

from tests.worlds.simulated.faults import Kind, Rule, Spot
from tests.worlds.simulated.transport import Call, Rules
from tests.worlds.simulated.world import Scenario, Story, World, tell

Place = tuple[Spot, int]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Branch(Generic[T]):
    """What a run with `rule` came to, and how often the rule has struck."""

    rule: Rule
    result: T
    strikes: int


def branches(
    scenario: Scenario, rules: Sequence[Rule], judge: Callable[[Story], T]
) -> list[Branch[T]]:
    """`judge` of the story of each rule, as if each were simulated from its beginning.

    The scenario is a quiet one, and every rule is of a call that its run makes.
    """
    tree: _Tree[T] = _Tree(rules)

    async def play(world: World) -> None:
        try:
            await world.deploy(faults=tree)
            await world.rest()
            if tree.struck is not None:
                world.story.scenario = replace(scenario, rules=(tree.struck.only,))
                tree.tell(Branch(tree.struck.only, judge(world.story), tree.struck.strikes))
        except BaseException:
            if tree.struck is not None:
                traceback.print_exc()
                os._exit(1)  # what trio puts away at its end, it shares with the parent
            raise

    tell(scenario, play)
    if tree.failed:
        raise AssertionError(f"no ruling on {', '.join(map(str, tree.failed))}")
    if missed := [rule for of_place in tree.waiting.values() for rule in of_place]:
        raise AssertionError(f"nothing to strike: {', '.join(map(str, missed))}")
    return tree.ended


class _Struck(Rules):
    """The one rule of a child, counted."""

    def __init__(self, rule: Rule) -> None:
        super().__init__((rule,))
        self.only = rule
        self.strikes = 0

    def strike(self, call: Call) -> Kind | None:
        kind = super().strike(call)
        self.strikes += kind is not None
        return kind


class _Tree(Generic[T]):
    """Faults that fork: in the parent nothing ever strikes, in a child its one rule does."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.waiting: dict[Place, list[Rule]] = {}
        for rule in rules:
            self.waiting.setdefault((rule.spot, rule.nth), []).append(rule)
        self.struck: _Struck | None = None
        self.ended: list[Branch[T]] = []
        self.failed: list[Rule] = []
        self._pipe = -1

    def strike(self, call: Call) -> Kind | None:
        if self.struck is None:
            for rule in self.waiting.pop((call.spot, call.nth), ()):
                if self._part(rule):
                    break
        return None if self.struck is None else self.struck.strike(call)

    def _part(self, rule: Rule) -> bool:
        """Fork: True in the child; False in the parent, when the child has ended."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            gc.disable()  # it would write to, and so copy, all the memory that is shared
            os.close(reader)
            self._pipe, self.struck = writer, _Struck(rule)
            return True
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        if status:
            self.failed.append(rule)  # told at the end: what is raised here, the run would catch
        else:
            self.ended.append(pickle.loads(told))  # noqa: S301 - written by our own child
        return False

    def tell(self, branch: Branch[T]) -> NoReturn:
        """The end of a child."""
        with os.fdopen(self._pipe, "wb") as pipe:
            pickle.dump(branch, pipe)
        os._exit(0)
