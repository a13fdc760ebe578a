"""Which machines a deploy is about, when it is not about all of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.api.machine import Fleet, Machine
from deploy.errors import UsageProblem
from deploy.hints import Invocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Empty sets select everything; what is excluded is out even if it is named."""

    only_machines: frozenset[str] = frozenset()
    exclude_machines: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    exclude_regions: frozenset[str] = frozenset()
    process_groups: frozenset[str] = frozenset()

    @property
    def is_everything(self) -> bool:
        return self == Selection()

    @property
    def names_machines(self) -> bool:
        """Whether it says more than which process groups."""
        return self != Selection(process_groups=self.process_groups)

    def takes(self, machine: Machine) -> bool:
        names = {machine.id, machine.name}
        return (
            (not self.only_machines or bool(names & self.only_machines))
            and not names & self.exclude_machines
            and (not self.regions or machine.region in self.regions)
            and machine.region not in self.exclude_regions
            and (not self.process_groups or machine.group in self.process_groups)
        )

    def of(self, fleet: Fleet) -> Fleet:
        return Fleet(tuple(machine for machine in fleet if self.takes(machine)))

    def refuse_nothing(self, app: str, fleet: Fleet) -> None:
        """Raise UsageProblem when it selects nothing, or names a machine that is not there."""
        if self.is_everything:
            return
        managed, status = fleet.managed, Invocation(app=app).status()
        known = {name for machine in managed for name in (machine.id, machine.name)}
        missing = sorted((self.only_machines | self.exclude_machines) - known)
        if missing:
            raise UsageProblem(
                f"no machine {', '.join(missing)} in this app",
                hint=f"{status} shows the machines",
            )
        if self.names_machines and not self.of(managed):
            raise UsageProblem(
                "the selection matches no machine",
                hint=f"{status} shows the machines, their groups and their regions",
            )
