"""What all property tests share.

Whether a change is merged must hang neither on chance nor on how busy a machine is:
the same cases every time, and nothing is timed. To look further, with other and more
cases every time: `scripts/test tests/rollout --hypothesis-profile=explore`.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "explore", settings.get_profile("gate"), derandomize=False, max_examples=1000
)
settings.load_profile("gate")
