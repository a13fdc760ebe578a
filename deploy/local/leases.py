"""Leases: one holder at a time may change a machine."""

from __future__ import annotations

import math

from deploy.local.refusals import invalid, lease_held, lease_unknown
from deploy.local.state import HeldLease, Machine

DEFAULT_TTL_S = 30
MAX_TTL_S = 24 * 3600


def current(machine: Machine, now: float) -> HeldLease | None:
    """The lease that is in force now; one that has run out is forgotten."""
    if machine.lease is not None and machine.lease.expires_at <= now:
        machine.lease = None
    return machine.lease


def guard(machine: Machine, nonce: str, now: float) -> None:
    """Refuse (409) a write while somebody else holds the lease."""
    held = current(machine, now)
    if held is not None and held.nonce != nonce:
        raise lease_held(machine.id, held.owner, held.expires_at)


def acquire(
    machine: Machine, *, nonce: str, owner: str, description: str, ttl_s: int, now: float
) -> HeldLease:
    """A new lease with the nonce given. Raises Refusal (409) if there is one, whoever holds it."""
    guard(machine, "", now)
    expires_at = math.ceil(now + _checked(ttl_s))
    machine.lease = HeldLease(nonce, expires_at, owner, description)
    return machine.lease


def refresh(
    machine: Machine, *, nonce: str, description: str | None, ttl_s: int, now: float
) -> HeldLease:
    """The same lease with a later end. Raises Refusal: 404 if it is gone, 409 if it is another's.

    A refresh may shorten a lease too; it never changes its nonce.
    """
    held = current(machine, now)
    if held is None:
        raise lease_unknown()
    guard(machine, nonce, now)
    expires_at = math.ceil(now + _checked(ttl_s))
    kept = held.description if description is None else description
    machine.lease = HeldLease(held.nonce, expires_at, held.owner, kept)
    return machine.lease


def release(machine: Machine, *, nonce: str, now: float) -> None:
    """Raises Refusal: 404 if there is none (any more), 409 if it is another's."""
    if current(machine, now) is None:
        raise lease_unknown()
    guard(machine, nonce, now)
    machine.lease = None


def _checked(ttl_s: int) -> int:
    if not 0 < ttl_s <= MAX_TTL_S:
        raise invalid(f"ttl must be 1 to {MAX_TTL_S} seconds")
    return ttl_s
