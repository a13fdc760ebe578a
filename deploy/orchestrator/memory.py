"""What a run remembers from one pass to the next: its own writes, and the app as it was.

Kept apart from what the platform says, because after an unknown outcome the
two differ until a read settles it. Mutable on purpose, and changed only by
methods that say what has happened.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from deploy.api.machine import Fleet, Machine
from deploy.plan.base import Base
from deploy.plan.forward import Situation
from deploy.plan.intent import FORWARD
from deploy.plan.release import Release, next_number
from deploy.plan.stamps import INTENT

SETTLE_S = 10.0  # how long a write that timed out may take to show
ODD_PAUSE_S = 1.0  # between two answers, where the first one is not believed


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenUp:
    """A deploy that another run began: the app as it was before, and what that run may have done.

    `goal` is forward or back. `made` are the ids of the machines that it
    created, `own` of those that did not take another's place, `marked` of those
    that carry its intent; `may_hide`: there may be more, made just now, than a
    list shows already.
    """

    base: Base
    goal: str
    written: frozenset[str]
    own: frozenset[str]
    made: frozenset[str]
    marked: frozenset[str]
    may_hide: bool = False


@dataclass(slots=True)
class Memory:
    """The memory of one run. Sets hold ids of machines; times are by anyio's clock.

    `base` is the app at first, None before the first look under leases; `goal`
    is forward or back.
    """

    release: Release
    base: Base | None = None
    goal: str = FORWARD
    written: set[str] = field(default_factory=set)  # that we may have written to
    doubtful: set[str] = field(default_factory=set)  # of those, not seen to serve since
    unsure: set[str] = field(default_factory=set)  # of those, whose last write is in doubt
    known: dict[str, str] = field(default_factory=dict)  # the version we last saw or wrote
    taken_back: set[str] = field(default_factory=set)  # that the platform has put back since
    cordons: dict[str, bool] = field(default_factory=dict)  # last written or read, in no version
    runs: dict[str, bool] = field(default_factory=dict)  # last asked for or read, in none
    well: set[str] = field(default_factory=set)  # seen to do well, by more than a list
    ids: dict[str, str] = field(default_factory=dict)  # name -> id of what we created
    own: set[str] = field(default_factory=set)  # those ids
    inherited: set[str] = field(default_factory=set)  # what an earlier run of this deploy created
    born_marked: set[str] = field(default_factory=set)  # of our own, those born with the intent
    destroyed: set[str] = field(default_factory=set)  # that we may have destroyed
    removed: set[str] = field(default_factory=set)  # other deploys' one-off machines, by us
    missed: set[str] = field(default_factory=set)  # that reads did not find
    disputed: set[str] = field(default_factory=set)  # that a read shows otherwise, and none settled
    refused: set[str] = field(default_factory=set)  # whose host will not take an update
    lost_creates: dict[str, float] = field(default_factory=dict)  # name -> when the answer was lost
    unanswered_at: float = -math.inf  # when an update was last left without an answer
    writes: int = 0  # how many times this very run has sent a machine anything
    has_looked: bool = False
    app_exists: bool = True
    knows_what_landed: bool = True  # no write of a run before this one can be under way any more
    has_told_plan: bool = False
    hiccups: int = 0
    _exits_ms: dict[str, int] = field(default_factory=dict)

    # -- the app at first ------------------------------------------------------------

    def began(self, fleet: Fleet) -> None:
        """The first look under leases: the app as it is now is what it was before."""
        self.base = Base.of(fleet)
        self.release = replace(self.release, number=next_number(fleet))

    def took_up(self, found: TakenUp, now: float) -> None:
        """The deploy was begun by another run."""
        self.base = found.base
        self.goal = found.goal
        self.written |= found.written
        self.doubtful |= found.written
        self.own |= found.own
        self.inherited |= found.made
        if found.may_hide:
            self.unanswered_at = now

    @property
    def known_base(self) -> Base:
        """The app as it was at first; only a run that got so far may ask."""
        if self.base is None:
            raise RuntimeError("asked for the base before the first look under leases")
        return self.base

    def situation(self, fleet: Fleet) -> Situation:
        """What a planner is asked about after this look."""
        return Situation(
            release=self.release,
            fleet=fleet,
            base=self.base or Base.of(fleet),
            doubtful=frozenset(self.doubtful),
            refused=frozenset(self.refused),
        )

    # -- looks -----------------------------------------------------------------------

    def looked(self, fleet: Fleet) -> None:
        """The app's machines were seen; versions and last exits of new ones are remembered."""
        self.has_looked = True
        self.disputed.clear()
        for machine in fleet:
            self.known.setdefault(machine.id, machine.version)
            self._exits_ms.setdefault(machine.id, _last_exit_ms(machine))

    def read(self, machine_id: str, found: Machine | None) -> None:
        """Asked for by itself, the machine is so, or there is none; a later list may lag behind."""
        self.unsure.discard(machine_id)
        if found is None:
            self.missing(machine_id)
            return
        self.missed.discard(machine_id)
        self.known[machine_id] = found.version
        self.cordons[machine_id] = found.cordoned
        self.runs[machine_id] = _runs(found)
        if found.is_well:
            self.well.add(machine_id)
        else:
            self.well.discard(machine_id)

    def missing(self, machine_id: str) -> None:
        """Reads found no such machine: it counts as gone, and is read again where a list has it.

        Of a machine as new as one of this very run's that may be too early to say.
        """
        self.missed.add(machine_id)
        self.known.pop(machine_id, None)
        if machine_id in self.inherited:
            self.own.discard(machine_id)

    def dispute(self, machine_ids: Iterable[str]) -> None:
        """A read shows these otherwise than a list, or than we wrote them: another settles it."""
        self.disputed |= set(machine_ids)

    def gone(self, machine_id: str) -> None:
        """Our destroy of it was answered."""
        self.doubtful.discard(machine_id)
        self.known.pop(machine_id, None)

    def contradicted_by(self, listed: Mapping[str, Machine]) -> list[str]:
        """The ids of which a list of machines tells other than what we last saw or wrote.

        Of what an earlier run made we know no version, only that it was there. Where nobody
        knows whether our last write happened, a list may lag behind the answer.
        """
        expected = {**dict.fromkeys(self.own & self.inherited, ""), **self.known}
        amiss = [
            machine_id
            for machine_id, version in expected.items()
            if not self._fits(version, listed.get(machine_id))
        ]
        risen = (self.destroyed | self.missed) & listed.keys() - set(amiss)
        amiss += sorted(each for each in risen if not listed[each].is_going)
        return amiss + sorted(self.unsure - set(amiss))

    def is_denied_by(self, found: Machine) -> bool:
        """Whether a read shows a machine otherwise than we last saw, wrote or destroyed it.

        None of that changes by itself. What may still come of a write of ours denies nothing.
        """
        if found.id in self.unsure:
            return False
        if self.has_ended(found.id):
            return True
        is_cordoned = self.cordons.get(found.id, found.cordoned)
        return (self.known.get(found.id, found.version), is_cordoned) != (
            found.version,
            found.cordoned,
        )

    def is_open_by(self, listed: Machine | None, read: Machine) -> bool:
        """Whether a list and a read disagree about a write of ours that may have happened."""
        if listed is None:
            return read.id in self.unsure or read.id in self.destroyed
        ends = {(each.cordoned, _runs(each)) for each in (listed, read)}
        return read.id in self.unsure and listed.version == read.version and len(ends) > 1

    def has_ended(self, machine_id: str) -> bool:
        """Whether our destroy of it was answered."""
        return machine_id in self.destroyed and machine_id not in self.known

    def _fits(self, version: str, seen: Machine | None) -> bool:
        if seen is None or version not in ("", seen.version):
            return False
        as_well = seen.is_well or seen.is_out_of_reach or seen.id not in self.well
        as_cordoned = self.cordons.get(seen.id, seen.cordoned) == seen.cordoned
        return as_well and as_cordoned and self.runs.get(seen.id, _runs(seen)) == _runs(seen)

    # -- writes ----------------------------------------------------------------------

    def updating(self, machine_id: str) -> None:
        """An update of this machine is about to leave."""
        self.touching(machine_id)
        self.doubt({machine_id})
        self.taken_back.discard(machine_id)

    def touching(self, machine_id: str) -> None:
        """A write that makes no version is about to leave."""
        self.writes += 1
        self.written.add(machine_id)

    def creating(self) -> None:
        """A create is about to leave."""
        self.writes += 1

    def removing(self, machine_id: str) -> None:
        """A destroy of a machine that is no part of the app is about to leave."""
        self.writes += 1
        self.removed.add(machine_id)

    def created(self, machine: Machine) -> None:
        """A machine of our making exists."""
        self.ids[machine.name] = machine.id
        self.own.add(machine.id)
        self.lost_creates.pop(machine.name, None)
        if INTENT in machine.metadata:
            self.born_marked.add(machine.id)
        self.wrote(machine)

    def wrote(self, machine: Machine) -> None:
        """The platform confirmed a write."""
        self.written.add(machine.id)
        self.doubt({machine.id})
        self.known[machine.id] = machine.version
        self.unsure.discard(machine.id)
        self.runs.pop(machine.id, None)  # a version says it
        self._exits_ms[machine.id] = _last_exit_ms(machine)

    def doubt(self, machine_ids: Iterable[str]) -> None:
        """Not known to do well: what another deploy has brought there, or we stop or start."""
        found = set(machine_ids)
        self.doubtful |= found
        self.well -= found

    def was_put_back(self, machine_id: str) -> None:
        """The machine is not as we wrote it: how it is now, a read has to say."""
        self.taken_back.add(machine_id)
        self.unsure.add(machine_id)

    def shown_otherwise(self, machine_id: str) -> None:
        """One read has shown another version than we wrote, and the next may not come."""
        self.unsure.add(machine_id)

    def not_told(self, machine_id: str) -> None:
        """A write has failed, and nobody knows whether it happened."""
        self.unsure.add(machine_id)

    def settled(self, machine_id: str) -> None:
        """The machine is known to be as it was, or seen to serve."""
        self.doubtful.discard(machine_id)

    def seen_well(self, machine_id: str) -> None:
        """It was waited for until it did well; a list of before must not say otherwise."""
        self.settled(machine_id)
        self.well.add(machine_id)

    def cordon_written(self, machine_id: str, *, cordoned: bool) -> None:
        self.cordons[machine_id] = cordoned

    def state_asked(self, machine_id: str, *, runs: bool) -> None:
        """The platform was asked to start the machine, or to stop it."""
        self.runs[machine_id] = runs

    def refused_by_host(self, machine_id: str) -> None:
        self.refused.add(machine_id)

    def unanswered(self, now: float) -> None:
        """An update timed out: it may land after any read of ours."""
        self.unanswered_at = now

    def create_lost(self, name: str, now: float) -> None:
        """The answer to a create is lost."""
        self.lost_creates[name] = now

    def create_never_landed(self, name: str) -> None:
        del self.lost_creates[name]

    def destroying(self, machine_id: str) -> None:
        """A destroy is about to leave."""
        self.touching(machine_id)
        self.destroyed.add(machine_id)

    def destroy_refused(self, machine_id: str) -> None:
        self.destroyed.discard(machine_id)

    def met_hiccup(self) -> int:
        """One more; how many that makes."""
        self.hiccups += 1
        return self.hiccups

    def tell_plan(self) -> bool:
        """Whether the plan is still to be told; from now on it is not."""
        is_first = not self.has_told_plan
        self.has_told_plan = True
        return is_first

    def was_overtaken(self) -> None:
        """Another deploy has been here: what of ours is not known any more, it has destroyed."""
        self.own &= self.known.keys()

    # -- what follows from it --------------------------------------------------------

    @property
    def has_written(self) -> bool:
        """Whether this very run has sent a machine anything."""
        return self.writes > 0

    def is_own(self, machine_id: str) -> bool:
        """Whether this very run created the machine."""
        return machine_id in self.own and machine_id not in self.inherited

    @property
    def last_unanswered(self) -> float:
        """When a write was last left without an answer, in seconds by anyio's clock."""
        return max([self.unanswered_at, *self.lost_creates.values()])

    def forgive_exits(self, fleet: Fleet) -> None:
        """On the way back an exit counts once: machines may have come up again since."""
        for machine in fleet:
            self._exits_ms[machine.id] = _last_exit_ms(machine)

    def exits_after_ms(self, machine_id: str) -> int:
        """Exits up to this time, by the server's clock, belong to older versions."""
        return self._exits_ms.get(machine_id, 0)


def _runs(machine: Machine) -> bool:
    return machine.state in ("starting", "started")


def _last_exit_ms(machine: Machine) -> int:
    return max((ended.at_ms for ended in machine.exits), default=0)
