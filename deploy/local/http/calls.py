"""One request to the API, taken apart, and its answer before it is bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.local.engine import Platform
from deploy.local.refusals import invalid, machine_unknown
from deploy.local.state import Machine

_TRUE = frozenset({"true", "1", "t", "yes"})
_FALSE = frozenset({"false", "0", "f", "no"})


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
        """The same, when whoever asks may write to it now; otherwise Refusal (404, 409, 503)."""
        machine = self.living
        self.platform.admit(machine, self.nonce)
        return machine

    def all(self, key: str) -> list[str]:
        """Every value of a query parameter; commas separate values too."""
        return [part for name, value in self.query if name == key for part in value.split(",")]

    def one(self, key: str) -> str:
        """The last value of a query parameter, or ""."""
        return self._last(key) or ""

    def flag(self, key: str) -> bool:
        """Raises Refusal (400) unless it is absent, true or false."""
        text = self._last(key)
        if text is not None and text.lower() not in _TRUE | _FALSE:
            raise invalid(f"{key} must be true or false")
        return text is not None and text.lower() in _TRUE

    def number(self, key: str, *, least: int, most: int, default: int) -> int:
        """Raises Refusal (400) unless it is absent or a whole number in the range."""
        text = self._last(key)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise invalid(f"{key} must be a whole number, {least} to {most}")
        if not least <= int(text) <= most:
            raise invalid(f"{key} must be {least} to {most}")
        return int(text)

    def _last(self, key: str) -> str | None:
        values = [value for name, value in self.query if name == key]
        return values[-1] if values else None


@dataclass(frozen=True, slots=True)
class Reply:
    """`content` is what becomes JSON; None is an empty body."""

    content: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


OK = Reply({"ok": True})
NOTHING = Reply(status=204)
