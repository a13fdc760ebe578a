"""Flags as a library: nothing about them changes, and threads may share them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rollout import Flags

TEXT = """\
version: 1
flags:
  plain: {bucket_by: app, percent: 50, inside: 5, outside: 0}
  listed: {bucket_by: app, percent: 50, inside: 5, outside: 0, always_inside: {org: [acme]}}
  ramped:
    bucket_by: app
    inside: 5
    outside: 0
    ramp: [{at: '2020-01-01T00:00Z', percent: 50}, {at: '2999-01-01T00:00Z', percent: 60}]
"""


def test_threads_that_share_flags_get_what_one_thread_gets() -> None:
    shared, alone = Flags.parse(TEXT), Flags.parse(TEXT)
    asked = [(key, f"app-{number}") for number in range(400) for key in alone]
    expected = [alone.evaluate(key, app=unit, org="x") for key, unit in asked]
    together = threading.Barrier(8)

    def ask(_: int) -> list[Any]:
        together.wait()
        return [shared.evaluate(key, app=unit, org="x") for key, unit in asked]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(ask, range(8)):
            assert found == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda flags: setattr(flags["plain"], "percent", 7),
        lambda flags: setattr(flags["plain"], "rollout", 7),
        lambda flags: setattr(flags.evaluate("plain", app="a"), "bucket", 7),
        lambda flags: setattr(flags.evaluate("plain", app="a"), "value", 7),
        lambda flags: setattr(flags.evaluate("plain", app="a").outcome, "variant", "inside"),
        lambda flags: setattr(flags, "anything", 7),
        lambda flags: setattr(flags, "_flags", {}),
        lambda flags: setattr(flags, "source", "elsewhere"),
        lambda flags: delattr(flags, "source"),
        lambda flags: flags.__setitem__("plain", flags["listed"]),
        lambda flags: flags.__delitem__("plain"),
        lambda flags: flags["listed"].always_inside.update({"org": frozenset()}),
        lambda flags: flags["listed"].always_inside["org"].add("other"),
        lambda flags: flags["ramped"].rollout.steps.clear(),
    ],
)
def test_nothing_about_flags_can_be_changed(change: Any) -> None:
    flags = Flags.parse(TEXT)
    with pytest.raises((AttributeError, TypeError)):
        change(flags)
