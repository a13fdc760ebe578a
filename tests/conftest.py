"""What all property tests share.

Whether a change is merged must hang neither on chance nor on how busy a machine is:
the same cases every time, and nothing is timed. To look further, with other and more
cases every time: `scripts/test tests/rollout --hypothesis-profile=explore`.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.worlds import engines

settings.register_profile(
    "gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "explore", settings.get_profile("gate"), derandomize=False, max_examples=1000
)
settings.load_profile("gate")


@pytest.fixture(scope="session")
def engine() -> str:
    """The address of a Docker engine that has the image engines.IMAGE.

    Without one a test is skipped; it fails where CI can install one, so that nobody
    takes what was skipped for what has passed.
    """
    try:
        address = engines.find()
        engines.make_image(address)
    except engines.NoEngine as why:
        if os.environ.get("CI") == "true" and os.getuid() == 0:
            raise
        pytest.skip(str(why))
    return address
