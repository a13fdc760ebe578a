"""Ids, versions, nonces and names: where chance enters the platform.

With a seed everything is drawn from it: ids from the machine's place in its app
(so that they do not depend on the order of requests), the rest in the order of
asking. Without one they are unpredictable.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections import Counter

from deploy.local.runtime import Clock

_CROCKFORD = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)
_FIRST = ("amber", "brisk", "calm", "dusky", "early", "fabled", "gentle", "hidden")
_SECOND = ("brook", "cliff", "dune", "field", "grove", "harbor", "meadow", "pine")


class Identity:
    """Mints what must be unique."""

    def __init__(self, seed: int | None, clock: Clock) -> None:
        self._seed = seed
        self.clock = clock
        self._chance = (
            random.SystemRandom() if seed is None else random.Random(f"identity/{seed}")  # noqa: S311 - a seeded run is to be repeatable
        )
        self._made: Counter[tuple[str, str]] = Counter()

    def machine_id(self, app: str, slot: str) -> str:
        """14 hexadecimal digits, like Fly's."""
        self._made[app, slot] += 1
        if self._seed is None:
            return f"{self._chance.getrandbits(56):014x}"
        text = f"{self._seed}/{app}/{slot}/{self._made[app, slot]}"
        return hashlib.blake2b(text.encode(), digest_size=7).hexdigest()

    def ulid(self) -> str:
        """26 characters that sort by time, as versions and event ids do."""
        number = (int(self.clock() * 1000) << 80) | self._chance.getrandbits(80)
        return base64.b32encode(number.to_bytes(20)).translate(_CROCKFORD).decode()[-26:]

    def nonce(self) -> str:
        return f"{self._chance.getrandbits(48):012x}"

    def name(self) -> str:
        """A name for a machine that came without one."""
        number = self._chance.randrange(1000, 10000)
        return f"{self._chance.choice(_FIRST)}-{self._chance.choice(_SECOND)}-{number}"
