from __future__ import annotations

import pytest

from deploy.addresses import is_loopback, url_is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.255.0.1"])
def test_the_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "127.0.0.1.example.com", "10.0.0.1", "::2", "localhost.evil"])
def test_nothing_else_is_taken_for_it(host: str) -> None:
    assert not is_loopback(host)


def test_a_url_is_judged_by_its_host() -> None:
    assert url_is_loopback("http://[::1]:4280/v1")
    assert not url_is_loopback("http://127.0.0.1@example.com/")
