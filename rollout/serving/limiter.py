"""How many requests each client may make; the time is an argument."""

from __future__ import annotations

from collections import OrderedDict

_MOST_CLIENTS = 10_000
"""Beyond it, the client that has been silent for longest is forgotten."""


class Limiter:
    """`rate_per_s` requests per second from each client, and a second's worth at once.

    For each client it keeps the time up to which its requests are paid for.
    """

    def __init__(self, rate_per_s: float) -> None:
        self._cost_s = 1 / rate_per_s
        self._credit_s = max(1.0, self._cost_s)
        self._paid_until: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, client: str, now_s: float) -> float:
        """0 if the client may go on, which counts; else how many seconds it has to wait."""
        paid_until = max(self._paid_until.get(client, now_s), now_s) + self._cost_s
        if (wait := paid_until - now_s - self._credit_s) > 1e-9:
            return wait
        self._paid_until[client] = paid_until
        self._paid_until.move_to_end(client)
        if len(self._paid_until) > _MOST_CLIENTS:
            self._paid_until.popitem(last=False)
        return 0.0
