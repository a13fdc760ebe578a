from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deploy.commands.environment import check_local, check_network, check_reachable
from deploy.errors import Outage, UsageProblem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://proxy.test:1080"),
        ("http_proxy", "http://proxy.test:99999"),
        ("HTTPS_PROXY", "http://[::1"),
        ("https_proxy", "ftp://proxy.test"),
        ("HTTP_PROXY", "http://"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(name: str, value: str) -> None:
    with pytest.raises(UsageProblem, match=name) as caught:
        check_network({name: value})
    assert caught.value.exit_code == 2
    assert name in caught.value.hint


def test_the_password_of_a_proxy_is_not_shown() -> None:
    with pytest.raises(UsageProblem) as caught:
        check_network({"http_proxy": "http://user:secret@proxy.test:99999"})
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "value", ["http://proxy.test:3128", "proxy.test:3128", "", "http://[::1]:8"]
)
def test_a_proxy_that_can_be_used_is_left_to_httpx(value: str) -> None:
    check_network({"HTTP_PROXY": value})


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_missing_are_named_by_their_variable(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageProblem, match=name):
        check_network({name: str(tmp_path / "missing")})


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(UsageProblem, match="no certificates"):
        check_network({"SSL_CERT_FILE": str(file)})


def test_a_refused_port_of_this_computer_names_the_platform_to_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        check_local(f"http://127.0.0.1:{port}")
    with pytest.raises(Outage) as caught:
        check_local(f"http://127.0.0.1:{port}")
    assert "deploy local up" in caught.value.hint


def test_a_name_that_leads_nowhere_is_told_within_seconds() -> None:
    with pytest.raises(Outage, match=r"cannot reach nosuch\.invalid:443"):
        check_reachable("https://nosuch.invalid", {})


def test_behind_a_proxy_the_proxy_is_whom_to_ask() -> None:
    check_reachable("https://nosuch.invalid", {"HTTPS_PROXY": "http://proxy.test:3128"})


def test_a_platform_that_listens_is_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        check_reachable(f"http://127.0.0.1:{listening.getsockname()[1]}", {})


def test_other_computers_are_not_tried_beforehand() -> None:
    check_local("https://api.machines.test")
