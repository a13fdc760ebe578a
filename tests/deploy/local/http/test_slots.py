from __future__ import annotations

from typing import Any

import pytest

from deploy.local.http.slots import slot_for

RUN = "01JABCDEFG"


@pytest.mark.parametrize(
    ("body", "slot"),
    [
        ({"name": "app-1"}, "/app-1"),
        ({"name": "app-1", "config": {"metadata": {"fly_process_group": "web"}}}, "web/app-1"),
        ({"name": f"app-1-{RUN}", "config": {"metadata": {"tidegate_deploy": RUN}}}, "/app-1-"),
        (
            {"name": "worker-1", "config": {"metadata": {"fly_process_group": "worker"}}},
            "worker/worker-1",
        ),
        ({"name": "v2-1", "config": {"metadata": {"fly_platform_version": "v2"}}}, "/v2-1"),
        ({}, "/#0"),
        ({"name": 5, "config": {"metadata": {"fly_process_group": []}}}, "/#0"),
        ([], "/#0"),
    ],
)
def test_a_slot_is_group_and_name_without_what_is_random(body: Any, slot: str) -> None:
    assert slot_for(None, body) == slot
