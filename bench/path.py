"""The least time that a deploy can take: what has to come after what, each counted once.

One list, the arbiter's lease and the others', a look under them, the intent;
then for each wave one write, the machine's boot and its check; then giving the
leases back. Bounds that are ours or the platform's count: 64 requests and 64
machines at once, one create and one list a second after three. Start-up of the
command and its last look are not in it.
"""

from __future__ import annotations

import math

from bench.simulated import Options
from deploy.orchestrator.bounded import AT_ONCE
from deploy.plan.release import DEFAULT_MAX_UNAVAILABLE, unavailable_limit

_CREATE_BURST = 3  # then one a second
_DRAIN_S = 2.0  # bluegreen leaves routers that long to notice


def critical_path_s(options: Options, strategy: str) -> float:
    """In seconds, for a fleet of one process group that serves."""
    number, latency_s = options.machines, options.latency_s
    ready_s = options.boot_s + options.check_s
    rounds = 1 + math.ceil((number - 1) / AT_ONCE)  # the arbiter, or what is given back last
    calls = 1 + rounds + 1 + 1 + rounds
    if strategy == "bluegreen":
        waves = math.ceil(number / AT_ONCE)
        creating_s = max(0.0, number - _CREATE_BURST)
        # create, update; uncordon, cordon, stop, destroy of each wave
        return (calls + 2 + 4 * waves) * latency_s + creating_s + ready_s + _DRAIN_S
    at_once = min(unavailable_limit(DEFAULT_MAX_UNAVAILABLE, number), AT_ONCE)
    waves = 1 + math.ceil((number - 1) / at_once)
    return calls * latency_s + waves * (latency_s + ready_s)
