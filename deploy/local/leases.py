"""Leases: one holder at a time may change a machine."""

from __future__ import annotations

import math
from collections.abc import Callable

from deploy.local.identity import Identity
from deploy.local.refusals import invalid, lease_held, lease_unknown
from deploy.local.state import HeldLease, Machine

DEFAULT_TTL_S = 30
MAX_TTL_S = 24 * 3600


class Leases:
    """Grants and guards; a lease itself stands in its machine's record, which is then kept."""

    def __init__(self, identity: Identity, keep: Callable[[Machine], None]) -> None:
        self._identity = identity
        self._keep = keep

    def current(self, machine: Machine) -> HeldLease | None:
        """The lease that is in force now; one that has run out is forgotten."""
        if machine.lease is not None and machine.lease.expires_at <= self._identity.clock():
            machine.lease = None
        return machine.lease

    def held(self, machine: Machine) -> HeldLease:
        """The lease that is in force now. Raises Refusal (404) if there is none."""
        held = self.current(machine)
        if held is None:
            raise lease_unknown()
        return held

    def guard(self, machine: Machine, nonce: str) -> None:
        """Refuse (409) a write while somebody else holds the lease."""
        held = self.current(machine)
        if held is not None and held.nonce != nonce:
            raise lease_held(machine.id, held.owner, held.expires_at)

    def acquire(
        self, machine: Machine, *, owner: str, ttl_s: int, description: str = ""
    ) -> HeldLease:
        """A new lease. Raises Refusal (409) if there is one already."""
        self.guard(machine, "")
        return self._grant(machine, self._identity.nonce(), owner, description, ttl_s)

    def refresh(
        self, machine: Machine, *, nonce: str, ttl_s: int, description: str | None = None
    ) -> HeldLease:
        """The same lease with another end. Raises Refusal: 404 if it is gone, 409 if another's.

        A refresh may shorten a lease too; it never changes its nonce.
        """
        held = self.held(machine)
        self.guard(machine, nonce)
        kept = held.description if description is None else description
        return self._grant(machine, held.nonce, held.owner, kept, ttl_s)

    def release(self, machine: Machine, *, nonce: str) -> None:
        """Raises Refusal: 404 if there is none (any more), 409 if it is another's."""
        self.held(machine)
        self.guard(machine, nonce)
        machine.lease = None
        self._keep(machine)

    def for_writer(self, machine: Machine, *, owner: str, ttl_s: int | None) -> None:
        """What `lease_ttl` of a write that was let in asks for: a lease, or a longer one."""
        if not ttl_s:
            return
        held = self.current(machine)
        if held is None:
            self.acquire(machine, owner=owner, ttl_s=ttl_s)
        else:
            self.refresh(machine, nonce=held.nonce, ttl_s=ttl_s)

    def _grant(
        self, machine: Machine, nonce: str, owner: str, description: str, ttl_s: int
    ) -> HeldLease:
        if not 0 < ttl_s <= MAX_TTL_S:
            raise invalid(f"ttl must be 1 to {MAX_TTL_S} seconds")
        expires_at = math.ceil(self._identity.clock() + ttl_s)
        held = machine.lease = HeldLease(nonce, expires_at, owner, description)
        self._keep(machine)
        return held
