from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Fleet
from deploy.commands.status import show_status
from deploy.commands.target import Target
from deploy.plan.intent import Intent
from deploy.plan.stamps import INTENT
from tests.worlds.fleets import machine, release, with_metadata

TARGET = Target(app="hello", config=None, address="http://127.0.0.1:1", token="")
THREE = Fleet.of([machine("m1"), machine("m2"), machine("m3", state="stopped")])


def status(*machines: Any) -> str:
    return show_status(TARGET, Fleet.of(machines), [], as_json=False)


def test_a_status_shows_each_machine_with_its_version_state_and_checks() -> None:
    lines = status(machine("m1", version="v7"), machine("m2", cordoned=True)).splitlines()
    assert "v7" in lines[1]
    assert "1/1" in lines[1]
    assert "started, cordoned" in lines[2]
    assert len(lines) == 3


def test_a_status_names_the_host_that_does_not_answer() -> None:
    dead = replace(machine("m1"), host_status="unreachable", cordoned=True)
    lines = status(dead, machine("m2")).splitlines()
    assert "started, cordoned, host unreachable" in lines[1]
    assert "host" not in lines[2]
    assert lines[3].endswith(f"{dead.name} (m1) does not answer: a deploy replaces it")
    told = json.loads(show_status(TARGET, Fleet.of([dead]), [], as_json=True))
    assert told["machines"][0]["host_status"] == "unreachable"


def test_a_status_warns_of_mixed_images_and_says_what_mends_it() -> None:
    other = machine("m2", config={**machine().config, "image": "registry.test/hello:0"})
    text = status(machine("m1"), other)
    assert "runs 2 images" in text
    assert "warning" in text
    assert "deploy" in text


def test_a_status_warns_of_an_unfinished_deploy_and_names_both_ways_out() -> None:
    text = status(with_metadata(machine(), **{INTENT: Intent.of(release()).dump()}))
    assert "unfinished" in text
    assert "deploy resume" in text
    assert "deploy rollback" in text


def test_a_status_without_machines_says_so() -> None:
    assert "no machines" in status()


def test_a_status_as_json_leaves_out_nobody_and_no_check() -> None:
    told = json.loads(show_status(TARGET, THREE, [{"port": 80}], as_json=True))
    assert [one["id"] for one in told["machines"]] == ["m1", "m2", "m3"]
    assert told["machines"][0]["checks"][0]["status"] == "passing"
    assert told["routes"] == [{"port": 80}]


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_name_from_the_platform_controls_the_terminal(name: str, image: str) -> None:
    odd = machine("m1", name=f"\x1b]0;{name}\x07", config={**machine().config, "image": image})
    shown_now = status(odd, machine("m2"))
    assert not [c for c in shown_now if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)]
    shown_now.encode()


def test_a_status_fits_a_terminal_of_80_columns_and_keeps_ids_states_and_images() -> None:
    long = {**machine().config, "image": "registry.fly.io/hello:deployment-01JDEPLOY"}
    rows = [
        machine(f"148e{number:010}", name=f"web-{number}", version="01JDEPLOY" * 3, config=long)
        for number in range(3)
    ]
    text = show_status(TARGET, Fleet.of(rows), [], as_json=False, width=80)
    assert max(map(len, text.splitlines())) <= 80
    for word in ("148e0000000002", "started", "hello:deployment-01JDEPLOY"):
        assert word in text


def test_a_status_names_machines_that_are_being_destroyed_and_counts_none() -> None:
    going = replace(
        machine("m2"),
        state="destroying",
        config={**machine().config, "image": "registry.test/hello:0"},
    )
    lines = status(machine("m1"), going).splitlines()
    assert lines[2:] == ["1 machine being destroyed: m2"]
    told = json.loads(show_status(TARGET, Fleet.of([machine("m1"), going]), [], as_json=True))
    assert ([one["id"] for one in told["machines"]], told["destroying"]) == (["m1"], ["m2"])
    assert status(going).splitlines() == [
        "hello has no machines yet",
        "1 machine being destroyed: m2",
    ]
