"""What a failure means: the one table that says whether retrying can help.

Rows follow the failure table of the Machines API (ARCHITECTURE.md, "What the
platform answers"). Some answers can be told apart by their text only; the
patterns stand here and nowhere else.
"""

from __future__ import annotations

import re
from enum import Enum

from deploy.errors import (
    AppFailed,
    CallFailed,
    DeployError,
    LeaseHeld,
    LeaseLost,
    Outage,
    Overtaken,
)

# Operations that write. Anything else is a read and may always be asked again.
WRITES = frozenset(
    {"create", "update", "destroy", "start", "stop", "cordon", "uncordon"}
    | {"acquire lease", "refresh lease"}  # releasing twice is releasing once
    | {"write metadata", "create app", "create volume"}  # deleting a key twice is deleting it once
)


class Verdict(Enum):
    """What to do about a failure; `is_hiccup` tells those that another pass can mend."""

    REPEAT = "it surely did not happen: do it again in the next pass"
    UNSETTLED = "it may have happened: a read must settle it before anything is written"
    BUSY = "the machine is in motion: let it settle, then look again"
    CHANGED = "somebody changed it: read again, plan again"
    MISSING = "not there: list again"
    NOT_YET = "the wait ended before the state was reached: ask again"
    NAME_TAKEN = "the name exists: read that machine and adopt it if it is ours"
    RELOCATE = "this host will not take it: replace the machine elsewhere"
    LEASED = "somebody else holds the lease"
    REJECTED = "the request or the token is wrong: nothing will mend it"
    APP = "the app is broken: deploying again would break it again"
    OUTAGE = "the platform is down"

    @property
    def is_hiccup(self) -> bool:
        return self in _HICCUPS

    @property
    def outcome_known(self) -> bool:
        """Whether the write surely did not happen."""
        return self is not Verdict.UNSETTLED


_HICCUPS = frozenset(
    {Verdict.REPEAT, Verdict.UNSETTLED, Verdict.BUSY, Verdict.CHANGED, Verdict.MISSING}
    | {Verdict.NOT_YET, Verdict.RELOCATE}
)

_LEASE_HELD = re.compile(r"lease currently held|lease is held", re.IGNORECASE)
_NAME_TAKEN = re.compile(r"unique machine name violation", re.IGNORECASE)
_NAMED = re.compile(r"machine ID (\w+)")
_HOST_FULL = re.compile(
    r"could not reserve resource|deploys to this host are temporarily disabled"
    r"|insufficient (capacity|resources)",
    re.IGNORECASE,
)
_VERSION_MOVED = re.compile(r"current[_ ]version|version mismatch", re.IGNORECASE)
_IMAGE_MISSING = re.compile(
    r"manifest unknown|failed to get manifest|image not found|(could|can) ?not pull", re.IGNORECASE
)
_HOST_FULL_CODES = frozenset({"insufficient_capacity", "volume_placement_capacity"})


def verdict(failure: DeployError) -> Verdict:
    """What `failure` means for the machine (or the run) that met it."""
    match failure:
        case CallFailed():
            return _of_call(failure)
        case AppFailed():
            return Verdict.APP
        case LeaseHeld() | Overtaken():
            return Verdict.LEASED
        case LeaseLost():
            return Verdict.REPEAT
        case Outage():
            return Verdict.OUTAGE
        case _:
            return Verdict.REJECTED


def name_holder(failure: CallFailed) -> str:
    """The id of the machine that has the name which a create asked for, empty if none is told."""
    named = _NAMED.search(failure.message) if verdict(failure) is Verdict.NAME_TAKEN else None
    return named.group(1) if named else ""


def _of_call(failure: CallFailed) -> Verdict:
    if not failure.sent:
        return Verdict.REPEAT
    unsettled = Verdict.UNSETTLED if failure.operation in WRITES else Verdict.REPEAT
    match failure.status:
        case 408 if failure.operation == "wait":
            return Verdict.NOT_YET
        case None | 408:
            return unsettled
        case 429:
            return Verdict.REPEAT
        case 412:
            return Verdict.BUSY
        case 409:
            return _of_conflict(failure)
        case 404:
            return Verdict.APP if _IMAGE_MISSING.search(failure.message) else Verdict.MISSING
        case status if status >= 500:
            return Verdict.RELOCATE if _is_host_full(failure) else unsettled
        case status if status < 400:
            return unsettled  # an answer that could not be read, or a redirect
        case _:
            return Verdict.APP if _IMAGE_MISSING.search(failure.message) else Verdict.REJECTED


def _of_conflict(failure: CallFailed) -> Verdict:
    if _LEASE_HELD.search(failure.message):
        return Verdict.LEASED
    if _NAME_TAKEN.search(failure.message):
        return Verdict.NAME_TAKEN
    if _is_host_full(failure):
        return Verdict.RELOCATE
    if _VERSION_MOVED.search(failure.message):
        return Verdict.CHANGED
    return Verdict.BUSY


def _is_host_full(failure: CallFailed) -> bool:
    return failure.code in _HOST_FULL_CODES or bool(_HOST_FULL.search(failure.message))
