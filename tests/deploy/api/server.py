"""A server that misbehaves as it is told, and a client that talks to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import httpx
import pytest

from deploy.api.client import MachinesClient, connect
from deploy.errors import CallFailed
from tests.contract.clocks import run_on

T = TypeVar("T")
Handler = Callable[[httpx.Request], httpx.Response]

TOKEN = "fo1_very-secret-token"  # noqa: S105 - a made-up one, to look for
MACHINE = {"id": "m1", "state": "started", "instance_id": "v1", "config": {"image": "x"}}


class Server:
    """Answers from a list, the last one again and again; keeps what it was asked, and when."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[float, httpx.Request]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((anyio.current_time(), request))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def ok(body: Any = None, **headers: str) -> httpx.Response:
    return httpx.Response(200, json=MACHINE if body is None else body, headers=headers)


def failing(status: int, text: str = "no", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": text}, headers=headers)


def talk(
    server: Handler,
    say: Callable[[MachinesClient], Awaitable[T]],
    *,
    backend: str = "trio",
    token: str = TOKEN,
) -> T:
    async def main() -> T:
        transport = httpx.MockTransport(server)
        async with connect("http://127.0.0.1:1", token, "app/..", transport=transport) as client:
            return await say(client)

    return run_on(backend, main)


def refused(server: Handler, say: Callable[[MachinesClient], Awaitable[Any]]) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        talk(server, say)
    return caught.value


async def update(client: MachinesClient) -> Any:
    return await client.update(
        "m1", config={"image": "y"}, current_version="v0", launch=False, nonce="n1"
    )
