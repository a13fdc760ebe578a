"""What can go wrong with one call, as data: kinds of faults and where they strike.

Knows nothing of transports and laws. A kind says whether the request reaches
the platform, what the client gets instead of the real answer, and what happens
on the platform beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

READS = frozenset({"read app", "list", "read", "wait", "read lease", "versions"})
LEASES = frozenset({"acquire", "refresh", "release"})
GUARDED = frozenset({"update", "destroy", "start", "stop", "cordon", "uncordon"})
CHANGES = GUARDED | {"create"}
WRITES = CHANGES | LEASES | {"create app", "mark", "unmark"}
EVERYTHING = READS | WRITES


class Answer(Enum):
    """What the client gets."""

    REAL = "the platform's own answer"
    REFUSED = "no connection"
    UNREACHED = "no connection in time"
    SILENCE = "nothing, until its patience is over"
    BROKEN = "a connection that breaks"
    CUT = "a connection that breaks within the body"
    STATUS = "another answer"
    HALF = "half of the body, as if it were whole"
    STALE = "an earlier answer to the same question"
    EMPTY = "an empty list"


class Nature(Enum):
    """What a deploy may make of it."""

    HICCUP = "passes by itself: retries mend it"
    APP = "looks like the app's own failure: never retried"
    ODD = "ends the run where it is not a lie that a read uncovers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way to fail. `late_s`: the request reaches the platform that long after it was sent.

    `effect` names what else happens on the platform, see `effects`. What is `garbled`
    ends a run that it meets twice in its first look: there is no Machines API.
    """

    name: str
    reaches: bool = False
    answer: Answer = Answer.STATUS
    status: int = 0
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    effect: str = ""
    late_s: float = 0.0
    operations: frozenset[str] = EVERYTHING
    nature: Nature = Nature.HICCUP
    garbled: bool = False

    def __str__(self) -> str:
        return self.name


def _error(text: str) -> str:
    return json.dumps({"error": text})


def _status(status: int, text: str) -> tuple[Kind, Kind]:
    body = _error(text)
    return (
        Kind(name=f"{status} before", status=status, body=body),
        Kind(name=f"{status} after", status=status, body=body, reaches=True, operations=WRITES),
    )


_PAGE = "<!DOCTYPE html><html><body><h1>We'll be right back</h1></body></html>"
_HTML = (("content-type", "text/html"),)
_UNTIL = "2099-01-01T00:00:00Z"

KINDS: tuple[Kind, ...] = (
    Kind(name="refused", answer=Answer.REFUSED),
    Kind(name="unreached", answer=Answer.UNREACHED),
    Kind(name="timed out before", answer=Answer.SILENCE),
    Kind(name="reply lost", answer=Answer.BROKEN, reaches=True),
    Kind(name="reply timed out", answer=Answer.SILENCE, reaches=True, operations=WRITES),
    Kind(name="cut within the body", answer=Answer.CUT, reaches=True),
    *_status(408, "deadline_exceeded: request timed out"),
    Kind(name="429", status=429, body=_error("rate limit exceeded")),
    Kind(
        name="429 with Retry-After",
        status=429,
        body=_error("rate limit exceeded"),
        headers=(("retry-after", "2"),),
    ),
    *_status(500, "internal: server error"),
    *_status(502, "bad gateway"),
    *_status(503, "unavailable: upstream unavailable"),
    *_status(504, "gateway timeout"),
    Kind(
        name="409 leased",
        status=409,
        body=_error(f"machine ID {{machine}} lease currently held by rival, expires at {_UNTIL}"),
        operations=GUARDED | {"acquire", "refresh"},
        nature=Nature.ODD,
    ),
    Kind(
        name="409 replacing",
        status=409,
        body=_error("aborted: machine is replacing: concurrent update in progress"),
        operations=GUARDED,
    ),
    Kind(
        name="409 version",
        status=409,
        body=_error("aborted: current_version mismatch: the machine's version is now 01ODD"),
        operations=frozenset({"update"}),
    ),
    Kind(
        name="409 name taken",
        status=409,
        body=_error("already_exists: unique machine name violation, machine ID {other}"),
        operations=frozenset({"create"}),
        nature=Nature.ODD,
    ),
    Kind(
        name="409 host full",
        status=409,
        body=_error("aborted: could not reserve resource for machine"),
        operations=frozenset({"update"}),
    ),
    Kind(
        name="412",
        status=412,
        body=_error("failed_precondition: machine getting replaced, refusing to start"),
        operations=frozenset({"start", "stop", "update", "cordon", "uncordon", "wait"}),
    ),
    Kind(
        name="404 for a new machine",
        reaches=True,
        answer=Answer.REAL,
        effect="hide",
        operations=frozenset({"create"}),
    ),
    Kind(
        name="404",
        status=404,
        body=_error("machine not found"),
        operations=frozenset({"read", "wait", "acquire", "update", "uncordon", "cordon", "mark"}),
    ),
    Kind(name="half a body", answer=Answer.HALF, reaches=True, garbled=True),
    Kind(name="HTML", status=200, body=_PAGE, headers=_HTML, garbled=True),
    Kind(name="HTML 502", status=502, body=_PAGE, headers=_HTML),
    Kind(name="empty list", answer=Answer.EMPTY, operations=frozenset({"list"})),
    Kind(name="stale", answer=Answer.STALE, operations=frozenset({"list", "read"})),
    Kind(
        name="lease expires",
        reaches=True,
        answer=Answer.REAL,
        effect="expire",
        operations=GUARDED | {"refresh", "release"},
    ),
    Kind(
        name="lease stolen",
        reaches=True,
        answer=Answer.REAL,
        effect="steal",
        operations=GUARDED | {"refresh"},
        nature=Nature.ODD,
    ),
    Kind(
        name="reverted",
        reaches=True,
        answer=Answer.REAL,
        effect="revert",
        operations=frozenset({"update"}),
    ),
    Kind(
        name="reverted as a new version",
        reaches=True,
        answer=Answer.REAL,
        effect="revert anew",
        operations=frozenset({"update"}),
    ),
    Kind(
        name="exits",
        reaches=True,
        answer=Answer.REAL,
        effect="exit",
        operations=frozenset({"update", "create", "start", "uncordon"}),
        nature=Nature.APP,
    ),
    Kind(
        name="hangs in replacing",
        reaches=True,
        answer=Answer.REAL,
        effect="hang",
        operations=frozenset({"update"}),
    ),
    Kind(
        name="carried out late",
        reaches=True,
        answer=Answer.SILENCE,
        late_s=33.0,
        operations=frozenset({"create", "update"}),
    ),
)
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}

_LOGIN = (("location", "http://portal.test/login"), *_HTML)
STRANGERS: tuple[Kind, ...] = (
    BY_NAME["HTML"],
    BY_NAME["HTML 502"],
    Kind(name="redirect", status=302, headers=_LOGIN, garbled=True),
    Kind(name="packed", status=200, headers=(("content-encoding", "br"),), garbled=True),
)
"""What a proxy in between may say, whatever it is asked, while it lets nothing through."""


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """Where in a run a call stands: what it does, to which machine, after what.

    `phase` is how far the run is: look, hold, mark, work, clear, end, over.
    """

    operation: str
    role: str
    phase: str

    def __str__(self) -> str:
        return f"{self.operation} {self.role or '-'} ({self.phase})"


@dataclass(frozen=True, slots=True)
class Rule:
    """Strike the `nth` call (from 0) at a spot, and the calls right after it of the same
    operation on the same role, `times` in all."""

    spot: Spot
    nth: int
    kind: Kind
    times: int = 1

    def __str__(self) -> str:
        return f"{self.kind} x{self.times} at {self.spot} #{self.nth}"
