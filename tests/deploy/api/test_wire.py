"""Whatever a server answers, a decoder gives a value or says Unreadable, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploy.api import wire
from deploy.api.machine import Fleet, Machine
from deploy.plan.base import Base
from deploy.plan.configs import mounts_fit
from tests.worlds.fleets import group, plan, release

DECODERS: tuple[Callable[[bytes], Any], ...] = (
    wire.machine,
    wire.machines,
    wire.lease,
    wire.versions,
    wire.app,
    wire.free_volumes,
    wire.volume_id,
    wire.objects,
    wire.texts,
)
decoders = st.sampled_from(DECODERS)

KEYS = [
    *("id", "state", "name", "version", "config", "checks", "events", "metadata", "services"),
    *("mounts", "standbys", "env", "data", "nonce", "expires_at", "exit_event", "request"),
    *(
        "user_config",
        "organization",
        "error",
        "message",
        "status",
        "timestamp",
        "incomplete_config",
    ),
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=12,
)
SAMPLE: dict[str, Any] = {
    "id": "148e45",
    "state": "started",
    "name": "web-1",
    "region": "ams",
    "instance_id": "01H",
    "version": "01H",
    "private_ip": "fdaa::1",
    "host_status": "ok",
    "cordoned": False,
    "nonce": "n",
    "updated_at": "2026-05-07T12:00:00Z",
    "config": {
        "image": "x:1",
        "env": {"A": "1"},
        "metadata": {"fly_process_group": "web"},
        "services": [{"checks": [{"type": "http"}]}],
        "checks": {"up": {"type": "tcp"}},
        "mounts": [{"path": "/data"}],
        "standbys": ["148e46"],
        "x_unknown": [1],
    },
    "checks": [{"name": "a", "status": "passing", "output": "ok", "updated_at": "now"}],
    "events": [
        {
            "type": "exit",
            "timestamp": 7,
            "request": {
                "restart_count": 1,
                "exit_event": {"exit_code": 1, "oom_killed": True, "requested_stop": False},
            },
        }
    ],
    "x_unknown": {},
}


def _decodes_or_is_unreadable(decode: Callable[[bytes], Any], body: bytes) -> None:
    try:
        decoded = decode(body)
    except wire.Unreadable:
        return
    for one in decoded if isinstance(decoded, list) else [decoded]:
        if isinstance(one, Machine):
            _reads_well(one)


def _reads_well(one: Machine) -> None:
    """Whatever was decoded can be asked everything without an error."""
    assert isinstance(one.image, str)
    assert isinstance(one.group, str)
    assert isinstance(one.configured_checks, int)
    _ = (one.is_managed, one.is_serving, one.is_out_of_reach, [e.is_bad for e in one.exits])
    spec = group(one.group)
    wanted = release(spec)
    mounts_fit(spec, one)
    fleet = Fleet.of([one])
    assert len(plan(wanted, fleet, Base.of(fleet))) > 0


@given(decoders, st.binary(max_size=200))
@example(wire.machine, b"")
@example(wire.machines, b"null")
@example(wire.machines, b"<!DOCTYPE html><html></html>")
@example(wire.machine, b"\xff\xfe")
@example(wire.lease, b'{"status":"success"')
def test_any_bytes_are_a_value_or_unreadable(decode: Callable[[bytes], Any], body: bytes) -> None:
    _decodes_or_is_unreadable(decode, body)
    wire.fault(body)


@given(decoders, values)
@example(wire.machine, {"id": "m", "state": "s", "config": {"services": [{"checks": 7}]}})
@example(wire.machine, {"id": "m", "state": "s", "config": {"metadata": {"a": 1}}})
@example(wire.machine, {"id": "m", "state": "s", "config": {"services": [None]}})
@example(wire.machine, {"id": "m", "state": "s", "config": {"env": {"A": None}}})
def test_any_json_is_a_value_or_unreadable(decode: Callable[[bytes], Any], value: object) -> None:
    _decodes_or_is_unreadable(decode, json.dumps(value).encode())


def _places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    found = [path] if path else []
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        found += _places(inner, (*path, key))
    return found


def _with(value: Any, path: tuple[Any, ...], new: object) -> Any:
    changed = json.loads(json.dumps(value))
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = new
    return changed


PLACES = _places(SAMPLE)


@given(st.sampled_from(PLACES), values)
@settings(max_examples=300)
def test_a_machine_with_anything_at_any_place_reads_well_or_is_unreadable(
    path: tuple[object, ...], value: object
) -> None:
    body = json.dumps(_with(SAMPLE, path, value)).encode()
    _decodes_or_is_unreadable(wire.machine, body)
    _decodes_or_is_unreadable(wire.machines, b"[" + body + b"]")


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_null_is_like_absent_everywhere_but_for_what_a_machine_cannot_do_without(
    path: tuple[Any, ...],
) -> None:
    body = json.dumps(_with(SAMPLE, path, None)).encode()
    is_entry = isinstance(path[-1], int) and path != ("config", "x_unknown", 0)
    if path in (("id",), ("state",)) or is_entry:
        with pytest.raises(wire.Unreadable):
            wire.machine(body)
    else:
        _reads_well(wire.machine(body))


@pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: decode.__name__)
@pytest.mark.parametrize(
    "shape", [b'{"config":', b'{"data":', b"["], ids=["config", "data", "list"]
)
def test_a_hundred_thousand_nestings_are_unreadable(
    decode: Callable[[bytes], Any], shape: bytes
) -> None:
    depth = 100_000
    close = {b'{"config":': b"}", b'{"data":': b"}", b"[": b"]"}[shape]
    body = shape * depth + b"1" + close * depth
    with pytest.raises(wire.Unreadable):
        decode(body)
    assert wire.fault(body) == ("", "")


@pytest.mark.parametrize("depth", [100, 100_000])
def test_a_deep_configuration_that_nobody_reads_is_a_value_or_unreadable(depth: int) -> None:
    deep = b'{"x":' * depth + b"1" + b"}" * depth
    body = b'{"id":"m","state":"started","config":{"x_unknown":' + deep + b"}}"
    _decodes_or_is_unreadable(wire.machine, body)


def test_a_machine_is_decoded_whole() -> None:
    one = wire.machine(json.dumps(SAMPLE).encode())
    assert (one.id, one.version, one.group, one.image) == ("148e45", "01H", "web", "x:1")
    assert one.configured_checks == 2
    assert one.exits[0].reason == "out of memory"
    assert one.config["x_unknown"] == [1]
    assert not one.incomplete


def test_the_older_name_of_the_version_will_do() -> None:
    sample = {key: value for key, value in SAMPLE.items() if key != "version"}
    assert wire.machine(json.dumps(sample).encode()).version == "01H"


def test_a_host_that_hides_the_configuration_is_told_from_one_that_has_none() -> None:
    hidden = {**SAMPLE, "config": None, "incomplete_config": {"image": "x:1"}}
    one = wire.machine(json.dumps(hidden).encode())
    assert one.incomplete
    assert one.is_out_of_reach
    assert not wire.machine(b'{"id":"m","state":"created"}').incomplete


FOREIGN = (
    {"id": "m.1", "state": "started", "config": {"metadata": {"n": 7}}},
    {"id": "m1", "state": "started", "config": {"metadata": ["x"]}},
    {"id": "m1", "state": "started", "events": [{"timestamp": 1.5}]},
    {"id": 7, "state": None, "config": None, "incomplete_config": {"metadata": None}},
)


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
def test_another_tools_machine_that_cannot_be_read_is_left_out(foreign: dict[str, Any]) -> None:
    listed = wire.machines(json.dumps([foreign, SAMPLE]).encode())
    assert [machine.id for machine in listed] == ["148e45"]


def test_a_machine_of_a_deploy_that_cannot_be_read_makes_the_list_unreadable() -> None:
    odd = {"id": "m.1", "state": "started", "config": {"metadata": {"fly_platform_version": "v2"}}}
    for unreadable in (odd, {**odd, "config": None, "incomplete_config": odd["config"]}, None, 7):
        with pytest.raises(wire.Unreadable):
            wire.machines(json.dumps([SAMPLE, unreadable]).encode())


def test_checks_of_the_platforms_own_do_not_decide_about_the_app() -> None:
    own = [
        {"name": "alive", "status": "passing"},
        {"name": "servicecheck-00-http-8080", "status": "passing"},
    ]
    platforms = {"name": "host-vsock", "status": "critical"}
    config: dict[str, Any] = {"services": [{"checks": [{}]}], "checks": {"alive": {}}}
    sample = {"id": "m1", "state": "started", "config": config, "checks": [*own, platforms]}
    one = wire.machine(json.dumps(sample).encode())
    assert ([check.name for check in one.checks], one.checks_pass) == (
        ["alive", "servicecheck-00-http-8080"],
        True,
    )


def test_where_service_checks_have_other_names_every_check_counts() -> None:
    config: dict[str, Any] = {"services": [{"checks": [{}]}]}
    checks = [{"name": "http", "status": "critical"}, {"name": "x", "status": "passing"}]
    sample = {"id": "m1", "state": "started", "config": config, "checks": checks}
    assert not wire.machine(json.dumps(sample).encode()).checks_pass


def test_a_lease_without_a_nonce_is_unreadable() -> None:
    with pytest.raises(wire.Unreadable):
        wire.lease(b'{"status":"success","data":{"expires_at":1}}')
    assert wire.lease(b'{"data":{"nonce":"n","expires_at":null}}').expires_at == 0


def test_a_version_without_a_whole_configuration_is_left_out() -> None:
    told = [
        {"version": "v4", "user_config": {"image": "x"}},
        {"version": "v3", "user_config": {"metadata": {"a": "b"}}},
        {"version": "v2", "user_config": None},
        {"version": "v1"},
    ]
    assert wire.versions(json.dumps(told).encode()) == [("v4", {"image": "x"})]


def test_a_message_wins_over_the_error_beside_it() -> None:
    body = b'{"error":"aborted","message":"lease currently held by bob","status":"aborted"}'
    assert wire.fault(body) == ("lease currently held by bob", "aborted")
    assert wire.fault(b"<html>") == ("", "")
    assert wire.fault(b"[]") == ("", "")


@pytest.mark.parametrize("status", [b"500", b"null", b"[1]", b'{"a":1}'])
def test_an_odd_status_does_not_hide_what_the_server_says(status: bytes) -> None:
    body = b'{"error":"lease currently held by bob","status":' + status + b"}"
    assert wire.fault(body)[0] == "lease currently held by bob"


@pytest.mark.parametrize("odd", ["", ".", "..", "../..", "a/b", "a b", "a\r\nX: y", "é", "m1\n"])
def test_an_id_that_could_change_a_path_is_unreadable(odd: str) -> None:
    owned = {"metadata": {"fly_platform_version": "v2", "fly_process_group": "web"}}
    body = json.dumps({**SAMPLE, "id": odd, "config": owned}).encode()
    for decode, text in ((wire.machine, body), (wire.machines, b"[" + body + b"]")):
        with pytest.raises(wire.Unreadable):
            decode(text)
    with pytest.raises(wire.Unreadable):
        wire.volume_id(body)
