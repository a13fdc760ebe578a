"""What this run knows of its own writes: the memory that outlives a pass.

Kept apart from what the platform says, because after an unknown outcome the
two differ until a read settles it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from deploy.api.machine import Fleet, Machine
from deploy.plan.release import INTENT


class Ledger:
    """Mutable on purpose; written to by `actions`, read by plans and windows."""

    def __init__(self) -> None:
        self.written: set[str] = set()  # ids that we may have written to
        self.doubtful: set[str] = set()  # of those, not seen to serve since
        self.known: dict[str, str] = {}  # id -> the version we last saw or wrote
        self.cordoned: dict[str, bool] = {}  # id -> what we last wrote, which makes no version
        self.ids: dict[str, str] = {}  # name -> id of what we created
        self.own: set[str] = set()  # those ids
        self.marked: set[str] = set()  # of those, the ones born with the intent
        self.inherited: set[str] = set()  # ids of what an earlier run of this deploy created
        self.destroyed: set[str] = set()  # ids that we may have destroyed
        self.refused: set[str] = set()  # ids whose host will not take an update
        self.lost_creates: dict[str, float] = {}  # name -> when a create's answer was lost
        self.unanswered_at = -math.inf  # when an update was last left without an answer
        self.has_written = False  # whether this very run has sent a machine anything
        self.hiccups = 0
        self._exits_ms: dict[str, int] = {}

    def look(self, fleet: Fleet) -> None:
        """Remember versions and last exits of machines not seen before."""
        for machine in fleet:
            self.known.setdefault(machine.id, machine.version)
            self._exits_ms.setdefault(machine.id, _last_exit_ms(machine))

    def begin(self, machine_id: str) -> None:
        """A write to this machine is about to leave."""
        self.written.add(machine_id)
        self.doubtful.add(machine_id)

    def is_own(self, machine_id: str) -> bool:
        """Whether this very run created the machine."""
        return machine_id in self.own and machine_id not in self.inherited

    def created(self, machine: Machine) -> None:
        """A machine of our making exists."""
        self.ids[machine.name] = machine.id
        self.own.add(machine.id)
        if INTENT in machine.metadata:
            self.marked.add(machine.id)
        self.wrote(machine)

    def wrote(self, machine: Machine) -> None:
        """The platform confirmed a write."""
        self.begin(machine.id)
        self.known[machine.id] = machine.version
        self._exits_ms[machine.id] = _last_exit_ms(machine)

    def saw(self, machine: Machine) -> None:
        """Asked for by itself, the machine is so."""
        self.known[machine.id] = machine.version
        if machine.id in self.cordoned:
            self.cordoned[machine.id] = machine.cordoned

    def settle(self, machine_id: str) -> None:
        """The machine is known to be as it was, or seen to serve."""
        self.doubtful.discard(machine_id)

    def contradicted_by(self, listed: Mapping[str, Machine]) -> list[str]:
        """The ids of which a list of machines tells other than what we last saw or wrote.

        Of what an earlier run made we know no version, only that it was there.
        """
        expected = {**dict.fromkeys(self.own & self.inherited, ""), **self.known}
        amiss = [
            machine_id
            for machine_id, version in expected.items()
            if not self._fits(version, listed.get(machine_id))
        ]
        risen = self.destroyed & listed.keys() - set(amiss)
        return amiss + sorted(each for each in risen if listed[each].state != "destroying")

    def _fits(self, version: str, seen: Machine | None) -> bool:
        if seen is None or version not in ("", seen.version):
            return False
        return self.cordoned.get(seen.id, seen.cordoned) == seen.cordoned

    def gone(self, machine_id: str) -> None:
        """A read found no such machine.

        Of a machine as new as one of this very run's that may be too early to say.
        """
        self.doubtful.discard(machine_id)
        self.known.pop(machine_id, None)
        if machine_id in self.inherited:
            self.own.discard(machine_id)

    def forgive(self, fleet: Fleet) -> None:
        """On the way back an exit counts once: machines may have come up again since."""
        for machine in fleet:
            self._exits_ms[machine.id] = _last_exit_ms(machine)

    def exits_after_ms(self, machine_id: str) -> int:
        """Exits up to this time, by the server's clock, belong to older versions."""
        return self._exits_ms.get(machine_id, 0)


def _last_exit_ms(machine: Machine) -> int:
    return max((ended.at_ms for ended in machine.exits), default=0)
