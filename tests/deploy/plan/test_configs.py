from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploy.plan.configs import mounts_fit, updated_config
from deploy.plan.stamps import FROM, INTENT, ROLE, WAS, read_was
from tests.worlds.fleets import (
    MOUNTS,
    OLD_ID,
    group,
    machine,
    release,
    updated,
    with_metadata,
)


def test_the_way_back_is_written_once_and_kept_by_later_updates_of_the_same_deploy() -> None:
    once = updated(machine(version="v0", cordoned=True))
    assert once.metadata[FROM] == "v0"
    assert read_was(once.metadata[WAS]) == ("started", True, False)
    twice = updated(replace(once, version="v5", state="stopped", cordoned=False))
    assert twice.metadata[FROM] == "v0"
    assert twice.metadata[WAS] == once.metadata[WAS]


def test_nulls_are_not_sent_back() -> None:
    config = updated_config(release(), group(), machine(), launch=True)
    assert None not in config.values()


def test_a_mount_keeps_the_volume_that_the_machine_has() -> None:
    spec = group(services=[], mounts=MOUNTS)
    one = machine("m1", spec)
    mounted = replace(one, config={**one.config, "mounts": [{**MOUNTS[0], "volume": "vol_1"}]})
    config = updated_config(release(spec), spec, mounted, launch=True)
    assert config["mounts"] == [{**MOUNTS[0], "volume": "vol_1"}]


@pytest.mark.parametrize(
    ("wanted", "present", "fit"),
    [
        ([], [], True),
        (MOUNTS, MOUNTS, True),
        (MOUNTS, [], False),
        ([], MOUNTS, False),
        (MOUNTS, [{"name": "data", "path": "/other"}], False),
        (MOUNTS, [{"name": "other", "path": "/data"}], False),
        (MOUNTS, [{"path": "/data", "volume": "vol_1"}], True),
        (MOUNTS, [{"name": None, "path": "/data"}], True),
    ],
)
def test_mounts_fit_when_paths_and_known_names_agree(
    wanted: list[Any], present: list[Any], fit: bool
) -> None:
    one = replace(machine(), config={"mounts": present})
    assert mounts_fit(group(mounts=wanted), one) is fit


def test_the_next_deploy_takes_the_role_and_keeps_the_intent() -> None:
    role = f"replaces m0 {OLD_ID}"
    green = machine("m1", name=f"web-m0-{OLD_ID[-6:]}")
    green = with_metadata(green, **{ROLE: role, INTENT: "{}"})
    metadata = updated_config(release(), group(), green, launch=True)["metadata"]
    assert ROLE not in metadata
    assert metadata[INTENT] == "{}"
