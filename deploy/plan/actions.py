"""What can be done to one machine: frozen values, no calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from deploy.api.machine import RESTING, Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something to do to one machine. `machine_id` is empty until a machine exists."""

    machine_id: str = ""
    name: str = ""
    group: str = ""

    @property
    def key(self) -> str:
        """What identifies the machine from one pass to the next."""
        return self.machine_id or self.name

    @property
    def verb(self) -> str:
        return type(self).__name__.lower()

    @property
    def is_cold(self) -> bool:
        """Whether the machine does not run and is not going to: it costs nobody anything."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Create(Action):
    """Make a machine; `replaces` is the id of the one whose place it takes.

    `standby_for` is the name of the machine that it stands by for. With `then`
    it is made unstarted and updated at once to that configuration. One that
    `is_temporary` goes again when the deploy is done.
    """

    config: Mapping[str, Any]
    region: str = ""
    launch: bool = True
    cordoned: bool = False
    replaces: str = ""
    standby_for: str = ""
    then: Mapping[str, Any] | None = None
    is_temporary: bool = False

    @property
    def is_cold(self) -> bool:
        return not self.launch


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Action):
    """Replace a machine's configuration, provided that it is still on `current_version`."""

    config: Mapping[str, Any]
    current_version: str
    launch: bool
    serves: bool = True  # whether it is then expected to pass its checks
    restores: bool = False

    @property
    def is_cold(self) -> bool:
        return not self.launch


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(Action):
    """Nothing to write: the machine is as it should be, but has not been seen to serve."""

    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Action):
    version: str


def bring_up(machine: Machine) -> Start | Wait:
    """For a machine that is to serve: one that has come to rest is started, else it is on its way.

    Who only waits for an app that crashed until the platform gave up waits in vain.
    """
    is_at_rest = machine.state in RESTING and machine.state != "started"
    kind = Start if is_at_rest else Wait
    return kind(**where(machine), version=machine.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Action):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cordon(Action):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncordon(Action):
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroy(Action):
    """Remove a machine; one whose host does not answer cannot be leased: `is_unleased`."""

    is_unleased: bool = False


def destroy(machine: Machine) -> Destroy:
    """The end of a machine that is there."""
    return Destroy(**where(machine), is_unleased=machine.is_dead)


class Where(TypedDict):
    """Which machine an action is about."""

    machine_id: str
    name: str
    group: str


def where(machine: Machine | Action) -> Where:
    """The machine, or that of another action, as the fields that every action has."""
    machine_id = machine.machine_id if isinstance(machine, Action) else machine.id
    return {"machine_id": machine_id, "name": machine.name, "group": machine.group}
