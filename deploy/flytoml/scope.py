"""Which process groups an entry of fly.toml is for.

Almost every section may carry `processes = [...]`. What an entry without it is
for depends on the section, as flyctl has it: a service must say it when there
is a choice, [[vm]] and [[files]] mean every group, everything else the default
group ("app", or else the first by name).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from deploy.flytoml.tables import Problem, Table, Wire, did_you_mean, shown

DEFAULT_GROUP = "app"

T = TypeVar("T")
Unsaid = Literal["default", "all", "only"]  # what an entry without `processes` is for


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

    def of(self, entry: Table, *, unsaid: Unsaid) -> tuple[str, ...]:
        """The groups that `entry` names; an unknown name is a problem."""
        names = entry.texts("processes")
        if not names:
            return self._unsaid(entry, unsaid)
        for name in names:
            if name not in self.groups:
                have = ", ".join(shown(group) for group in self.groups)
                fix = did_you_mean(name, self.groups) or f"name one of {have}"
                entry.problem(
                    "processes", f"names {shown(name)}, which is not a process group", fix
                )
        return tuple(group for group in self.groups if group in names)

    def each(
        self, entries: Iterable[Table], read: Callable[[Table], Wire], *, unsaid: Unsaid = "default"
    ) -> list[Scoped[Wire]]:
        """Every entry as `read` has it, to its last key, with the groups that it is for."""
        found = []
        for entry in entries:
            groups = self.of(entry, unsaid=unsaid)
            found.append(Scoped(groups, read(entry), entry.path))
            entry.end()
        return found

    def _unsaid(self, entry: Table, unsaid: Unsaid) -> tuple[str, ...]:
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
        what = f"is set for group {shown(group)} a second time, after {found[0].path}"
        problems.append(Problem(again.path, what, "keep one of them"))
    return found[0].value if found else None
