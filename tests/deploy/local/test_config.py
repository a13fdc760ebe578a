from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.config import Config, accept, convert, signal_name
from deploy.local.refusals import Refusal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


def test_a_configuration_comes_back_as_the_real_platform_would_change_it() -> None:
    sent = {
        "image": "app:1",
        "checks": {"up": {"type": "http", "port": 80, "interval": "15000ms"}},
        "stop_config": {"timeout": "90s"},
        "services": [{"internal_port": 80, "checks": [{"type": "tcp", "timeout": "2s"}]}],
    }
    kept, _ = accept(sent)
    assert kept["dns"] == {}
    assert kept["init"] == {}
    assert kept["guest"] == {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}
    assert kept["restart"] == {"policy": "on-failure", "max_retries": 10}
    assert kept["checks"]["up"] == {
        "type": "http",
        "port": 80,
        "interval": "15s",
        "headers": None,
    }
    assert kept["stop_config"] == {"timeout": "1m30s"}
    assert kept["services"][0]["protocol"] == "tcp"
    assert "dns" not in sent


@given(st.dictionaries(st.text(max_size=6).map(lambda key: f"x_{key}"), JSON, max_size=4))
def test_keys_that_nobody_knows_survive(unknown: dict[str, Any]) -> None:
    kept, _ = accept({"image": "app:1", **unknown})
    assert {key: kept[key] for key in unknown} == unknown


@given(st.dictionaries(st.sampled_from([*Config.__struct_fields__, "guest", "dns"]), JSON))
def test_a_configuration_is_accepted_or_refused_and_accepting_is_stable(
    raw: dict[str, Any],
) -> None:
    try:
        kept, _ = accept(raw)
    except Refusal:
        return
    assert accept(kept)[0] == kept


@pytest.mark.parametrize(
    ("config", "argv"),
    [
        ({"init": {"cmd": ["a", "b"]}}, ("a", "b")),
        ({"init": {"entrypoint": ["e"], "cmd": ["a"]}}, ("e", "a")),
        ({"init": {"exec": ["x"], "entrypoint": ["e"], "cmd": ["a"]}}, ("x",)),
        ({"processes": [{"cmd": ["p"]}, {"cmd": ["q"]}]}, ("p",)),
        ({"init": {"cmd": ["a"]}, "processes": [{"cmd": ["p"]}]}, ("a",)),
        ({}, ()),
        ({"init": None}, ()),
    ],
)
def test_the_command_is_exec_or_entrypoint_and_cmd(
    config: dict[str, Any], argv: tuple[str, ...]
) -> None:
    assert convert(config, Config, "config").argv == argv


def test_checks_are_named_and_ports_counted_as_the_platform_does() -> None:
    config = convert(
        {
            "services": [
                {"internal_port": 80, "checks": [{"type": "http"}, {"type": "tcp", "port": 81}]},
                {"internal_port": 90, "checks": [{"type": "tcp"}]},
            ],
            "checks": {"up": {"type": "http", "port": 99}},
        },
        Config,
        "config",
    )
    assert list(config.named_checks) == [
        "up",
        "servicecheck-00-http-80",
        "servicecheck-01-tcp-81",
        "servicecheck-02-tcp-90",
    ]
    assert config.internal_ports == (80, 90, 99, 81)


@pytest.mark.parametrize(
    ("policy", "max_retries", "exit_code", "restarts", "again"),
    [
        ("no", None, 1, 0, False),
        ("always", 0, 0, 99, True),
        ("on-failure", 2, 1, 1, True),
        ("on-failure", 2, 1, 2, False),
        ("on-failure", 2, 0, 0, False),
        (None, None, 1, 9, True),
        (None, None, 1, 10, False),
    ],
)
def test_restarts_follow_the_policy(
    policy: str | None, max_retries: int | None, exit_code: int, restarts: int, again: bool
) -> None:
    raw = {"restart": {"policy": policy, "max_retries": max_retries}}
    assert convert(raw, Config, "config").wants_restart(exit_code, restarts) is again


@pytest.mark.parametrize("value", ["SIGTERM", "term", "TERM", 15])
def test_a_signal_has_a_name_and_a_number(value: str | int) -> None:
    assert signal_name(value) == "SIGTERM"


@pytest.mark.parametrize("value", ["", "SIG", "SIGNOT", 0, 999, -1])
def test_what_is_no_signal_is_refused(value: str | int) -> None:
    with pytest.raises(Refusal, match="signal"):
        signal_name(value)
