from __future__ import annotations

from typing import Any

from deploy.plan.actions import Create, Destroy
from deploy.plan.volumes import missing_volumes, take_free


def create(*mounts: dict[str, Any], region: str = "ams") -> Create:
    return Create(name="web-1", group="web", region=region, config={"mounts": list(mounts)})


def test_a_free_volume_of_the_name_in_the_region_is_taken_once() -> None:
    free = [("vol_1", "data", "lhr"), ("vol_2", "data", "ams")]
    assert take_free(free, {"name": "data"}, "ams") == "vol_2"
    assert take_free(free, {"name": "data"}, "ams") == ""
    assert free == [("vol_1", "data", "lhr")]


def test_what_is_missing_is_what_no_free_volume_covers() -> None:
    data = {"name": "data", "path": "/data"}
    actions = [create(data), create(data), create({**data, "volume": "vol_9"}), Destroy()]
    assert missing_volumes(actions, [("vol_1", "data", "ams")]) == [("data", "ams")]
    assert missing_volumes(actions, []) == [("data", "ams")] * 2
