from __future__ import annotations

import pytest

from deploy.notify import posting
from deploy.notify.posting import NotDelivered, post
from tests.deploy.notify.listening import listening


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "_PAUSE_S", 0.0)


def test_a_post_has_its_body_its_type_and_nothing_of_ours_that_is_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLY_API_TOKEN", "fm2_planted")
    with listening((200, b"ok")) as listener:
        assert post(f"{listener.address}/hook", b'{"a":1}') == b"ok"
    (got,) = listener.got
    assert (got.path, got.body) == ("/hook", b'{"a":1}')
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("tidegate/")
    assert "fm2_planted" not in str(got)


def test_a_passing_failure_is_tried_once_more() -> None:
    with listening((503, b""), (200, b"ok")) as listener:
        assert post(listener.address, b"{}") == b"ok"
    assert len(listener.got) == 2


@pytest.mark.parametrize(("status", "tries"), [(500, 2), (429, 2), (404, 1), (302, 1)])
def test_an_answer_that_is_none_is_told_without_the_path(status: int, tries: int) -> None:
    with listening((status, b"")) as listener, pytest.raises(NotDelivered) as failure:
        post(f"{listener.address}/s3cret", b"{}")
    assert str(failure.value) == f"{listener.address} answered {status}"
    assert failure.value.status == status
    assert [got.path for got in listener.got] == ["/s3cret"] * tries


def test_nobody_there_is_told_without_the_path() -> None:
    with listening() as listener:
        pass
    with pytest.raises(NotDelivered) as failure:
        post(f"{listener.address}/s3cret", b"{}")
    assert str(failure.value) == f"{listener.address}: ConnectError"
