"""Which machine takes the next request, and how many each has in flight.

A machine gets traffic while it is started, uncordoned and passing. It leaves
the rotation in the moment its state changes, and its process is not asked to
stop before the requests in flight to it are answered (`drain`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

from deploy.local.config import Port, Service
from deploy.local.runtime import Address
from deploy.local.state import App, Machine


@dataclass(frozen=True, slots=True)
class Target:
    """A machine that was chosen, and where it is reached."""

    machine_id: str
    address: Address


class Balancer:
    """Chooses among the machines of an app."""

    def __init__(self) -> None:
        self._in_flight: Counter[str] = Counter()
        self._landed: dict[str, anyio.Event] = {}
        self._turn = itertools.count()
        self._last_turn: dict[str, int] = {}

    def choose(self, app: App, port: int, *, tried: Iterable[str]) -> Target | None:
        """The machine with the fewest requests in flight, in turn among equals."""
        targets = [
            target
            for machine in app.living
            if machine.id not in tried and (target := _target(machine, port)) is not None
        ]
        if not targets:
            return None
        chosen = min(targets, key=self._load)
        self._last_turn[chosen.machine_id] = next(self._turn)
        return chosen

    @contextmanager
    def in_flight(self, target: Target) -> Generator[None, None, None]:
        """Count one request to a machine, from choosing it to the end of its answer."""
        self._in_flight[target.machine_id] += 1
        try:
            yield
        finally:
            self._in_flight[target.machine_id] -= 1
            if self._in_flight[target.machine_id] == 0:
                del self._in_flight[target.machine_id]
                landed = self._landed.pop(target.machine_id, None)
                if landed is not None:
                    landed.set()

    async def drain(self, machine_id: str, timeout_s: float) -> None:
        """Return when no request is in flight to the machine, or the time is over."""
        with anyio.move_on_after(timeout_s):
            while self._in_flight[machine_id] > 0:
                await self._landed.setdefault(machine_id, anyio.Event()).wait()

    def _load(self, target: Target) -> tuple[int, int]:
        machine_id = target.machine_id
        return self._in_flight[machine_id], self._last_turn.get(machine_id, -1)


def service_ports(machine: Machine) -> list[tuple[Service, Port]]:
    """Every external port of a machine, with its service."""
    services = machine.config.services or ()
    return [(service, port) for service in services for port in service.ports or ()]


def _target(machine: Machine, port: int) -> Target | None:
    """Where a machine takes traffic for an external port, if it does now."""
    if not machine.takes_traffic or machine.process is None:
        return None
    for service, offered in service_ports(machine):
        if offered.port == port and service.internal_port is not None:
            address = machine.process.address(service.internal_port)
            return None if address is None else Target(machine.id, address)
    return None
