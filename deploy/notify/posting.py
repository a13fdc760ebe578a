"""One POST of JSON that notifies of a run: bounded, tried twice, never redirected.

The only file of `notify` that speaks HTTP by itself. Errors name the host alone:
the path of a webhook is its password.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import httpx

from deploy.notify.settings import shown

_TIMEOUT_S = 5.0
_PAUSE_S = 1.0
_TRIES = 2
_HTTP_RETRY = frozenset({408, 425, 429, *range(500, 600)})


class NotDelivered(Exception):
    """Somebody could not be told; the text says who and why, and can be shown.

    `status` is the HTTP status, None where no answer came.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def post(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """The answer to a POST. Raises NotDelivered within some 12 s."""
    from importlib.metadata import version  # most runs send no notification

    failure = NotDelivered(f"{shown(url)}: never tried")
    for number in range(_TRIES):
        time.sleep(_PAUSE_S if number else 0)
        try:
            answer = httpx.post(
                url,
                content=body,
                headers={
                    "content-type": "application/json",
                    "user-agent": f"tidegate/{version('tidegate')}",
                    **(headers or {}),
                },
                timeout=_TIMEOUT_S,
                follow_redirects=False,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failure = NotDelivered(f"{shown(url)}: {type(error).__name__}")
            continue
        if answer.is_success:
            return answer.content
        failure = NotDelivered(f"{shown(url)} answered {answer.status_code}", answer.status_code)
        if answer.status_code not in _HTTP_RETRY:
            break
    raise failure
