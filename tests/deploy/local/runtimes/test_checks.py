"""Health checks against real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from deploy.local.config import Check, Header, Seconds
from deploy.local.runtime import Address, CheckStatus
from deploy.local.runtimes.checks import OUTPUT_LIMIT, probe, watch

pytestmark = pytest.mark.anyio

HOST = "127.0.0.1"
HTTP = Check(type="http", path="/health")


@asynccontextmanager
async def answering(answer: Callable[[bytes], bytes | None]) -> AsyncIterator[Address]:
    """A server's address: `answer` takes a request and gives the reply; None keeps silent."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)

    async def handle(stream: SocketStream) -> None:
        async with stream:
            try:
                reply = answer(await stream.receive())
            except anyio.EndOfStream:
                return
            if reply is None:
                await anyio.sleep_forever()
            else:
                await stream.send(reply)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield HOST, listener.extra(SocketAttribute.local_port)  # noqa: S610 - no Django anywhere
        tasks.cancel_scope.cancel()


def reply(status: str, body: str = "", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n{body}".encode()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("200 OK", "passing"),
        ("204 No Content", "passing"),
        ("302 Found", "critical"),
        ("404 Not Found", "critical"),
        ("503 Unavailable", "critical"),
    ],
)
async def test_only_2xx_passes_and_redirects_are_not_followed(status: str, expected: str) -> None:
    async with answering(lambda _: reply(status, headers="location: /\r\n")) as at:
        assert (await probe(HTTP, at, timeout_s=2))[0] == expected


async def test_the_output_is_what_the_app_said_in_its_first_characters() -> None:
    async with answering(lambda _: reply("500 Oops", "no database" + "x" * 9999)) as at:
        status, output = await probe(HTTP, at, timeout_s=2)
    assert status == "critical"
    assert output.startswith("HTTP 500: no database")
    assert len(output) == OUTPUT_LIMIT


async def test_method_path_and_headers_are_those_of_the_check() -> None:
    seen: list[bytes] = []
    check = Check(
        type="http",
        method="head",
        path="ready?a=1",
        headers=(Header("X-Probe", ("one", "two")), Header("Host", ("app.example",))),
    )

    def answer(request: bytes) -> bytes:
        seen.append(request)
        return reply("200 OK")

    async with answering(answer) as at:
        await probe(check, at, timeout_s=2)
    lines = seen[0].decode().lower().split("\r\n")
    assert lines[0] == "head /ready?a=1 http/1.1"
    assert {"x-probe: one", "x-probe: two", "host: app.example"} <= set(lines)


async def test_silence_is_critical_after_the_timeout() -> None:
    async with answering(lambda _: None) as at:
        assert await probe(HTTP, at, timeout_s=0.05) == ("critical", "no answer within 0.05 s")


async def test_a_tcp_check_asks_only_whether_somebody_listens() -> None:
    async with answering(lambda _: None) as at:
        assert (await probe(Check(type="tcp"), at, timeout_s=2))[0] == "passing"
    status, output = await probe(Check(type="tcp"), at, timeout_s=2)
    assert status == "critical"
    assert output.startswith("connect: ")


@pytest.mark.parametrize(
    "check",
    [
        Check(type="http", path="/\x00"),
        Check(type="http", method="G T"),
        Check(type="http", headers=(Header("bad name", ("x",)),)),
        Check(type="http", headers=(Header("x", ("a\nb",)),)),
        Check(type="http", headers=(Header("ä", ("ä",)),)),
    ],
)
async def test_a_check_that_cannot_be_asked_is_critical(check: Check) -> None:
    async with answering(lambda _: reply("200 OK")) as at:
        assert (await probe(check, at, timeout_s=2))[0] == "critical"


async def test_an_answer_that_is_not_http_is_critical() -> None:
    async with answering(lambda _: b"hello\r\n\r\n") as at:
        assert (await probe(HTTP, at, timeout_s=2))[0] == "critical"


async def test_a_watched_check_begins_after_its_grace_period_and_reports_every_result() -> None:
    healthy = False
    results: list[tuple[CheckStatus, float]] = []
    start = anyio.current_time()
    check = Check(
        type="http",
        grace_period_s=Seconds(0.1),
        interval_s=Seconds(0.02),
        timeout_s=Seconds(1),
    )

    def report(status: CheckStatus, _output: str) -> None:
        nonlocal healthy
        results.append((status, anyio.current_time() - start))
        healthy = len(results) in (2, 3)
        if len(results) == 5:
            scope.cancel()

    async with answering(lambda _: reply("200 OK" if healthy else "503 No")) as at:
        with anyio.move_on_after(5) as scope:
            await watch(check, lambda timeout_s: probe(check, at, timeout_s=timeout_s), report)
    assert [status for status, _ in results] == [
        "critical",
        "critical",
        "passing",
        "passing",
        "critical",
    ]
    assert results[0][1] >= 0.1
