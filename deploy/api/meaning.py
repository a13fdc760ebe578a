"""What an answer of the platform means: the one table that says whether retrying can help.

Rows follow the failure table of the Machines API (ARCHITECTURE.md, "What the
platform answers"). Some answers can be told apart by their text only; the
patterns stand here and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploy.errors import CallFailed, Meaning

# Operations that write. Anything else is a read and may always be asked again.
WRITES = frozenset(
    {"create", "update", "destroy", "start", "stop", "cordon", "uncordon"}
    | {"acquire lease", "refresh lease"}  # releasing twice is releasing once
    | {"write metadata", "create app", "create volume"}  # deleting a key twice is deleting it once
)


@dataclass(frozen=True, slots=True)
class _Row:
    """Answers with one of `statuses`, whose text or code agrees where a row asks for that."""

    statuses: range
    meaning: Meaning
    text: str = ""
    codes: frozenset[str] = frozenset()

    def fits(self, status: int, message: str, code: str) -> bool:
        if status not in self.statuses:
            return False
        is_any = not self.text and not self.codes
        return (
            is_any
            or code in self.codes
            or bool(self.text and re.search(self.text, message, re.IGNORECASE))
        )


def _only(status: int) -> range:
    return range(status, status + 1)


_CONFLICT = _only(409)
_CLIENT = range(400, 500)
_SERVER = range(500, 1000)
_HOST_FULL = (
    r"could not reserve resource|deploys to this host are temporarily disabled"
    r"|insufficient (capacity|resources)"
)
_HOST_FULL_CODES = frozenset({"insufficient_capacity", "volume_placement_capacity"})
_NO_IMAGE = (
    r"manifest unknown|failed to get manifest|image not found"
    r"|(could|can) ?not pull|(unable|failed) to pull"
)
_NAME_HOLDER = re.compile(r"machine ID (\w+)")

# The first row that fits decides.
_TABLE = (
    _Row(_only(408), Meaning.UNSETTLED),
    _Row(_only(412), Meaning.BUSY),
    _Row(_only(429), Meaning.REPEAT),
    _Row(_CONFLICT, Meaning.LEASED, r"lease currently held|lease is held"),
    _Row(_CONFLICT, Meaning.NAME_TAKEN, r"unique machine name violation"),
    _Row(_CONFLICT, Meaning.RELOCATE, _HOST_FULL, _HOST_FULL_CODES),
    _Row(_CONFLICT, Meaning.CHANGED, r"current[_ ]version|version mismatch"),
    _Row(_CONFLICT, Meaning.BUSY),
    _Row(_CLIENT, Meaning.APP, _NO_IMAGE),
    _Row(_only(404), Meaning.MISSING),
    _Row(_CLIENT, Meaning.REJECTED),
    _Row(_SERVER, Meaning.RELOCATE, _HOST_FULL, _HOST_FULL_CODES),
    _Row(range(1000), Meaning.UNSETTLED),  # the server's failure, a redirect, or unreadable
)


def names_missing_image(text: str) -> bool:
    """Whether the platform says that an image cannot be had."""
    return bool(re.search(_NO_IMAGE, text, re.IGNORECASE))


def call_failed(
    message: str,
    *,
    operation: str,
    machine_id: str = "",
    status: int | None = None,
    sent: bool = True,
    code: str = "",
    request_id: str = "",
    retry_after_s: float | None = None,
    garbled: bool = False,
    hint: str = "",
) -> CallFailed:
    """A failed call with its meaning.

    `status` is the HTTP status, None when no complete answer came; `sent` is
    False only when the request surely never reached the server; `code` is the
    `status` field of Fly's error body; `garbled` is an answer that cannot be read.
    """
    meaning = _meaning(operation, status, sent, code, message)
    named = _NAME_HOLDER.search(message) if meaning is Meaning.NAME_TAKEN else None
    return CallFailed(
        message,
        operation=operation,
        meaning=meaning,
        machine_id=machine_id,
        status=status,
        holder=named.group(1) if named else "",
        request_id=request_id,
        retry_after_s=retry_after_s,
        garbled=garbled,
        hint=hint,
    )


def _meaning(operation: str, status: int | None, sent: bool, code: str, message: str) -> Meaning:
    if not sent:
        return Meaning.REPEAT
    if status == 408 and operation == "wait":
        return Meaning.NOT_YET
    meaning = Meaning.UNSETTLED
    if status is not None:
        meaning = next(row.meaning for row in _TABLE if row.fits(status, message, code))
    # Whether a read happened does not matter to anybody.
    is_read = operation not in WRITES
    return Meaning.REPEAT if is_read and meaning is Meaning.UNSETTLED else meaning
