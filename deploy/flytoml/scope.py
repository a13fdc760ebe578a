"""Which process groups an entry of fly.toml is for.

Almost every section may carry `processes = [...]`. What an entry without it is
for depends on the section, as flyctl has it: a service must say it when there
is a choice, [[vm]] means every group, everything else the default group ("app",
or else the first by name).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from deploy.flytoml.tables import Problem, Table, did_you_mean, shown

DEFAULT_GROUP = "app"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scoped(Generic[T]):
    """Something that fly.toml says for some groups, and where it says it."""

    groups: tuple[str, ...]
    value: T
    path: str


@dataclass(frozen=True, slots=True)
class Scope:
    """The process groups of one fly.toml, in its order; never empty."""

    groups: tuple[str, ...]

    @property
    def default(self) -> str:
        return DEFAULT_GROUP if DEFAULT_GROUP in self.groups else min(self.groups)

    def of(self, entry: Table, *, unsaid: Literal["default", "all", "only"]) -> tuple[str, ...]:
        """The groups that `entry` names; a name that is no group is a problem."""
        names = entry.texts("processes")
        if not names:
            return self._unsaid(entry, unsaid)
        for name in names:
            if name not in self.groups:
                have = ", ".join(shown(group) for group in self.groups)
                fix = did_you_mean(name, self.groups) or f"name one of {have}"
                entry.problem("processes", f"names {shown(name)}, which is no process group", fix)
        return tuple(group for group in self.groups if group in names)

    def _unsaid(self, entry: Table, unsaid: Literal["default", "all", "only"]) -> tuple[str, ...]:
        if unsaid == "all":
            return self.groups
        if unsaid == "only" and len(self.groups) > 1 and entry.value("processes") is None:
            fix = f"write processes = [{shown(self.default)}]"
            entry.problem("processes", "is missing, and there are several process groups", fix)
        return (self.default,)


def the_one(entries: Iterable[Scoped[T]], group: str, problems: list[Problem]) -> T | None:
    """What is said for `group`, where only one entry may say it."""
    found = [entry for entry in entries if group in entry.groups]
    for again in found[1:]:
        what = f"is said for group {shown(group)} a second time, after {found[0].path}"
        problems.append(Problem(again.path, what, "keep one of them"))
    return found[0].value if found else None
