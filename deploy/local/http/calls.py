"""One request to the API, taken apart, and its answer before it is bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from deploy.local.engine import Platform
from deploy.local.refusals import machine_unknown
from deploy.local.state import Machine

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """`path` holds the parts named in the route, `query` every pair in order.

    `slot` is the place of the machine in its app, see `deploy.local.http.slots`.
    """

    platform: Platform
    path: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    nonce: str
    owner: str
    slot: str = ""
    body: Any = field(default_factory=dict)

    @property
    def app(self) -> str:
        return self.path["app"]

    @property
    def machine(self) -> Machine:
        """The machine named in the path. Raises Refusal (404)."""
        return self.platform.machine(self.app, self.path["machine"])

    @property
    def living(self) -> Machine:
        """The same; a destroyed one is not found."""
        machine = self.machine
        if machine.is_gone:
            raise machine_unknown()
        return machine

    @property
    def writable(self) -> Machine:
        """The same, when the caller may write to it now; otherwise Refusal (404, 409, 503)."""
        machine = self.living
        self.platform.admit(machine, self.nonce)
        return machine


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """`content` is what becomes JSON; None is an empty body."""

    content: T
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
