"""One run as it is read from its report, versions 1 and 2; what a file lacks has its default.

Knows the fields that the analysis needs and passes over the rest. Pure.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

VERSIONS: Final = (1, 2)
LONGEST_S: Final = 1e9
"""Thirty years: no run takes longer."""

RUNNING_S: Final = 6 * 3600
"""A start record without an end is a run that still goes on for so long, and then a failure."""

Cause: TypeAlias = Literal[
    "app", "platform", "outage", "rejected", "leased", "interrupted", "unknown"
]
CAUSES: Final[tuple[Cause, ...]] = (
    "app", "platform", "outage", "rejected", "leased", "interrupted", "unknown",
)  # fmt: skip
DONE: Final = frozenset({"done", "unchanged"})
CONTINUES: Final = frozenset({"resume", "rollback"})
"""Commands that go on with a deploy: its outcome is that of its first run."""

_CAUSES: Final[dict[str, Cause]] = {cause: cause for cause in CAUSES}
_BY_RESULT: Final[dict[str, Cause]] = {
    "outage": "outage",
    "refused": "rejected",
    "leased": "leased",
    "interrupted": "interrupted",
}


class Assigned(msgspec.Struct, gc=False):
    """What the flag said, or would have said where a number was given by hand.

    `bucket` is 0 to 99,999 and `percent` 0 to 100.
    """

    flag: str = ""
    unit: str | None = None
    bucket: int | None = None
    percent: float | None = None
    variant: str = ""
    reason: str = ""


class _Decision(Assigned, gc=False):
    """Version 1's, with `source` "option" where no flag was asked."""

    source: str = ""


class Record(msgspec.Struct, gc=False):
    """A run: `at` is the Unix time of its last event, `result` None while it has no end.

    `decision` is read only where version 1 needs it: that saves a tenth of the reading.
    """

    event: str = ""
    v: int = 0
    at: float = 0.0
    app: str = ""
    deploy: str = ""
    deploy_id: str = ""
    run_id: str = ""
    command: str = ""
    result: str | None = None
    cause: str | None = None
    retries_used: int = 0
    hiccups_mended: int = 0
    duration_s: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_S)] = 0.0
    assigned: Assigned | None = None
    decision: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def key(self) -> str:
        """The deploy's id."""
        return self.deploy or self.deploy_id or self.run_id

    @property
    def assignment(self) -> Assigned | None:
        """What is analysed: version 1 has it only where the flag was asked."""
        if self.v > 1:
            return self.assigned
        decision = msgspec.json.decode(self.decision, type=_Decision | None)
        return None if decision is None or decision.source == "option" else decision

    @property
    def known_at(self) -> float:
        """The Unix time from which it is known what became of the run."""
        return self.at + RUNNING_S if self.result is None else self.at

    @property
    def why(self) -> Cause | None:
        """The cause; version 1 and causes unknown to us tell it by the result, if at all."""
        if self.result in DONE:
            return None
        known = _CAUSES.get(self.cause or "")
        return known or _BY_RESULT.get(self.result or "", "unknown")
