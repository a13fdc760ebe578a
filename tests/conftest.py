"""What all property tests share.

Whether a change is merged must hang neither on chance nor on how busy a machine is:
the same cases every time, and nothing is timed. To look further, with other and more
cases every time: `scripts/test tests/rollout --hypothesis-profile=explore`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings

from tests.worlds import engines, registries

settings.register_profile(
    "gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "explore", settings.get_profile("gate"), derandomize=False, max_examples=1000
)
settings.load_profile("gate")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that nobody waits for it alone at the end."""
    items.sort(key=lambda item: "legacy_is_deletable" not in item.nodeid)


@pytest.fixture(scope="session")
def engine() -> str:
    """The address of a Docker engine that has the image engines.IMAGE."""
    with _or_skip():
        address = engines.find()
        engines.make_image(address)
    return address


@pytest.fixture(scope="session")
def docker_registry() -> str:
    """The program of that name."""
    with _or_skip():
        program = registries.program()
    return program  # noqa: RET504 - to mypy, a context may swallow what it returns


@contextmanager
def _or_skip() -> Iterator[None]:
    """Skip where something is missing; fail where CI can install it.

    So that nobody takes what was skipped for what has passed.
    """
    try:
        yield
    except engines.NoEngine as why:
        if os.environ.get("CI") == "true" and os.getuid() == 0:
            raise
        pytest.skip(str(why))


# A shell that runs something in the background has it ignore Ctrl-C, and all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
