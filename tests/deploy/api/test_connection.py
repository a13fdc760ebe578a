"""One request against a server that misbehaves: what is said of its answer, or its silence."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream

from deploy.api import connection
from deploy.api.client import MachinesClient, connect
from deploy.errors import CallFailed, DeployError, Meaning, Outage
from tests.contract.clocks import BACKENDS, run_on
from tests.deploy.api.server import MACHINE, TOKEN, Server, failing, ok, refused, talk, update

# -- answers -----------------------------------------------------------------------------


def test_a_refusal_tells_what_the_server_said_and_its_request_id() -> None:
    server = Server(failing(422, "config.env is wrong", **{"fly-request-id": "01ABC"}))
    failure = refused(server, update)
    assert (failure.status, failure.meaning, failure.machine_id) == (422, Meaning.REJECTED, "m1")
    assert str(failure) == "update m1 (422): config.env is wrong [fly-request-id 01ABC]"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 2 "}, 2.0),
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        (
            {
                "retry-after": "Thu, 07 May 2026 12:00:30 GMT",
                "date": "Thu, 07 May 2026 12:00:00 GMT",
            },
            30.0,
        ),
        (
            {
                "retry-after": "Thu, 07 May 2026 11:00:00 GMT",
                "date": "Thu, 07 May 2026 12:00:00 GMT",
            },
            0.0,
        ),
        ({"retry-after": "Thu, 07 May 2026 12:00:30 GMT"}, None),
        (
            {
                "retry-after": f"Thu, 01 Jan 1970 00:00:00 +{'9' * 26}",
                "date": "Thu, 07 May 2026 12:00:00 GMT",
            },
            None,
        ),
    ],
    ids=str,
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_own_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert refused(Server(failing(429, "slow", **headers)), update).retry_after_s == seconds


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ConnectTimeout("late"), False),
        (httpx.PoolTimeout("busy"), False),
        (httpx.ReadTimeout("late"), True),
        (httpx.WriteTimeout("late"), True),
        (httpx.ReadError("reset"), True),
        (httpx.RemoteProtocolError("eof"), True),
        (httpx.WriteError("reset"), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_was_surely_not_sent_is_told_from_what_may_have_been(
    error: Exception, sent: bool
) -> None:
    failure = refused(Server(error), update)
    assert failure.meaning is (Meaning.UNSETTLED if sent else Meaning.REPEAT)
    assert failure.status is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b'{"id": "m1", "sta'),
        httpx.Response(200, content=b""),
        httpx.Response(200, content=b"[]"),
        httpx.Response(200, html="<html>We'll be right back</html>"),
        httpx.Response(302, headers={"location": "http://elsewhere.test"}),
    ],
    ids=["cut", "empty", "another shape", "HTML", "redirect"],
)
def test_an_answer_to_a_write_that_cannot_be_read_settles_nothing(answer: httpx.Response) -> None:
    assert refused(Server(answer), update).meaning is Meaning.UNSETTLED


@pytest.mark.parametrize("body", [b"{}", b'{"machines": []}', b"[", b""])
def test_an_answer_that_cannot_be_read_tells_where_it_is_from(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "")
    failure = refused(Server(httpx.Response(200, content=body)), lambda c: c.machines())
    assert "cannot be read" in failure.message
    assert "asked http://127.0.0.1:1 through the proxy proxy.test" in failure.hint


@pytest.mark.parametrize("verb", ["destroy", "stop", "start", "cordon"])
def test_a_page_instead_of_an_answer_is_no_success_though_no_body_is_needed(verb: str) -> None:
    server = Server(httpx.Response(200, html="<html>Log in to the hotel's network</html>"))
    failure = refused(server, lambda client: getattr(client, verb)("m1", nonce="n"))
    assert failure.meaning is Meaning.UNSETTLED


def test_a_page_instead_of_an_answer_does_not_release_a_lease() -> None:
    server = Server(httpx.Response(200, html="<html></html>"))
    assert refused(server, lambda c: c.release_lease("m1", nonce="n")).meaning.is_hiccup


class Drip(httpx.AsyncByteStream):
    """A body that never ends: a byte every ten seconds, soon enough for a bound on each piece."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await anyio.sleep(10)
            yield b" "


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_answer_that_drips_is_given_up(backend: str) -> None:
    async def ask(client: MachinesClient) -> float:
        began = anyio.current_time()
        with pytest.raises(CallFailed, match="no answer in time") as caught:
            await update(client)
        assert caught.value.meaning is Meaning.UNSETTLED
        return anyio.current_time() - began

    took_s = talk(lambda _: httpx.Response(200, stream=Drip()), ask, backend=backend)
    assert 30 < took_s <= 90


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_LIMIT_BYTES", 1000)
    failure = refused(Server(httpx.Response(200, content=b" " * 5000)), lambda c: c.machines())
    assert "over" in failure.message


@pytest.mark.parametrize(
    "answer",
    [
        failing(401, "unauthorized"),
        failing(500),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        httpx.RemoteProtocolError("eof"),
        httpx.Response(200, content=b"{"),
    ],
    ids=["401", "500", "refused", "timeout", "eof", "unreadable"],
)
def test_the_token_is_in_no_error(answer: httpx.Response | Exception) -> None:
    failure = refused(Server(answer), update)
    told = [str(failure), repr(failure), failure.hint, repr(vars(failure))]
    chained: BaseException | None = failure
    while chained is not None:
        told += [str(chained), repr(chained)]
        chained = chained.__cause__
    assert TOKEN not in " ".join(told)


# -- silence -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        failing(401, f"bad token: Bearer {TOKEN}"),
        failing(400, "no", **{"fly-request-id": TOKEN}),
    ],
    ids=["in the body", "in the request id"],
)
def test_a_token_that_the_server_says_back_is_hidden(answer: httpx.Response) -> None:
    failure = refused(Server(answer), update)
    assert TOKEN not in f"{failure} {failure.request_id}"
    assert "[token]" in str(failure)
    assert failure.status == answer.status_code


def test_a_machine_that_has_the_tokens_name_has_another() -> None:
    machine = talk(Server(ok({**MACHINE, "name": TOKEN})), lambda client: client.machine("m1"))
    assert machine.name == "[token]"


def test_a_nonce_that_no_header_can_carry_is_no_lease() -> None:
    lease = {"status": "success", "data": {"nonce": "né💥", "expires_at": 1}}
    failure = refused(
        Server(ok(lease)), lambda client: client.acquire_lease("m1", ttl_s=13, description="d")
    )
    assert "cannot be read" in str(failure)


async def _ask_for(client: MachinesClient, seconds: float) -> list[DeployError]:
    failures: list[DeployError] = []
    began = anyio.current_time()
    while anyio.current_time() - began < seconds:
        try:
            await client.machine("m1")
        except DeployError as failure:
            failures.append(failure)
        await anyio.sleep(5)
    return failures


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "silence", [httpx.ConnectError("refused"), failing(503), httpx.ReadTimeout("late")], ids=str
)
def test_a_minute_without_an_answer_is_an_outage(
    silence: httpx.Response | Exception, backend: str
) -> None:
    failures = talk(Server(silence), lambda c: _ask_for(c, 80), backend=backend)
    kinds = [type(failure) for failure in failures]
    assert kinds == [CallFailed] * 12 + [Outage] * 4
    assert failures[-1].exit_code == 6


@pytest.mark.parametrize("life", [ok(), failing(404), failing(429)], ids=["200", "404", "429"])
def test_any_answer_in_between_is_a_sign_of_life(life: httpx.Response) -> None:
    silence: list[httpx.Response | Exception] = [httpx.ConnectError("refused")] * 8
    answers = [*silence, life, *silence, life]
    failures = talk(Server(*answers), lambda c: _ask_for(c, 85))
    assert not [failure for failure in failures if isinstance(failure, Outage)]


# -- connections -------------------------------------------------------------------------


class _Busy:
    """A server that takes a second for each answer, and notes how many it has in hand."""

    def __init__(self) -> None:
        self.at_once = 0
        self.most = 0
        self.answered: list[str] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await anyio.sleep(1)
        self.at_once -= 1
        self.answered.append(request.url.path.rpartition("/")[2])
        lease = {"data": {"nonce": "n", "expires_at": 1}}
        return httpx.Response(200, json=lease if "lease" in self.answered[-1] else MACHINE)


def test_what_finds_no_connection_free_waits_its_turn_here_and_not_in_httpcore() -> None:
    server = _Busy()

    async def main() -> None:
        transport = httpx.MockTransport(server)
        async with (
            connect("http://127.0.0.1:1", TOKEN, "app", transport=transport) as client,
            anyio.create_task_group() as tasks,
        ):

            async def read(number: int) -> None:
                await anyio.sleep(number / 10_000)
                await client.machine(str(number))

            for number in range(200):
                tasks.start_soon(read, number)
            await anyio.sleep(0.1)
            began_s = anyio.current_time()
            await client.refresh_lease("m1", ttl_s=13, description="d", nonce="n")
            assert anyio.current_time() - began_s == pytest.approx(1.0)  # beside all of those

    run_on("trio", main)
    assert server.most == 64 + 1
    assert [int(each) for each in server.answered if each != "lease"] == list(range(200))


@asynccontextmanager
async def _listening(serve: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """The address of a real listener, each of whose connections is served so."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no query, a socket
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


class _Answering:
    """Answers the first `times` requests of each connection, and closes it at the next one."""

    def __init__(self, times: int) -> None:
        self._times = times
        self.connections = 0
        self.asked: list[bytes] = []  # request lines

    async def __call__(self, stream: SocketStream) -> None:
        self.connections += 1
        body = json.dumps(MACHINE).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n"
        async with stream:
            with suppress(anyio.EndOfStream):
                for _ in range(self._times):
                    self.asked.append((await stream.receive()).partition(b"\r\n")[0])
                    await stream.send(head.encode() + body)
                await stream.receive()


def test_every_connection_is_the_only_one_of_its_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """httpcore walks all connections of a pool, and all who wait for one, at each request."""
    limits: list[httpx.Limits] = []
    made = httpx.AsyncHTTPTransport.__init__

    def note(self: httpx.AsyncHTTPTransport, **options: Any) -> None:
        limits.append(options["limits"])
        made(self, **options)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "__init__", note)
    server = _Answering(9)

    async def main() -> None:
        async with _listening(server) as address, connect(address, TOKEN, "app") as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.machine, "m1")
                tasks.start_soon(client.machine, "m2")
            await client.machine("m3")

    anyio.run(main)
    assert [each.max_connections for each in limits] == [1, 1]
    assert (server.connections, len(server.asked)) == (2, 3)


def test_a_write_does_not_go_out_on_a_connection_that_was_idle() -> None:
    server = _Answering(1)

    async def main() -> None:
        async with _listening(server) as address, connect(address, TOKEN, "app") as client:
            await client.machine("m1")
            await anyio.sleep(1.1)  # httpcore reads the real clock
            await update(client)

    anyio.run(main)
    assert server.connections == 2


def test_a_proxy_of_the_environment_is_asked_for_what_is_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = _Answering(1)

    async def main() -> None:
        async with _listening(server) as proxy:
            monkeypatch.setenv("http_proxy", proxy)
            async with connect("http://api.test", TOKEN, "app") as client:
                await client.machine("m1")

    anyio.run(main)
    assert server.asked == [b"GET http://api.test/v1/apps/app/machines/m1 HTTP/1.1"]


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, ""),
        ({"https_proxy": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "p:1"}, "http://p:1"),
        ({"http_proxy": "http://p:1"}, ""),
        ({"all_proxy": "socks5://p:1"}, "socks5://p:1"),
        ({"https_proxy": "http://p:1", "all_proxy": "http://q:1"}, "http://p:1"),
        ({"https_proxy": "http://p:1", "no_proxy": "api.test"}, ""),
        ({"https_proxy": "http://p:1", "no_proxy": ".test"}, ""),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, ""),
        ({"https_proxy": "http://p:1", "no_proxy": "api.test:443"}, ""),
        ({"https_proxy": "http://p:1", "no_proxy": "i.test, other.test"}, "http://p:1"),
    ],
)
def test_a_proxy_is_that_of_the_scheme_or_of_all(
    environ: dict[str, str], proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert connection.proxy_of("https://api.test:443") == proxy


def test_what_needs_no_proxy_may_be_an_address_of_either_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://p:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1,::1")
    found = [connection.proxy_of(f"http://{host}:4280") for host in ("127.0.0.1", "[::1]", "[::2]")]
    assert found == ["", "", "http://p:1"]


# -- times -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expires_at", "headers", "granted_s"),
    [
        (1778155204, {"date": "Thu, 07 May 2026 12:00:00 GMT"}, 4.0),
        (1778155200, {"date": "Thu, 07 May 2026 12:00:00 GMT"}, None),
        (0, {"date": "Thu, 07 May 2026 12:00:00 GMT"}, None),
        (1778155204, {"date": "noon"}, None),
        (1778155204, {}, None),
    ],
)
def test_how_long_a_lease_was_granted_for_is_told_by_the_servers_own_clock(
    expires_at: int, headers: dict[str, str], granted_s: float | None
) -> None:
    answer = ok({"data": {"nonce": "n", "expires_at": expires_at}}, **headers)
    lease = talk(Server(answer), lambda c: c.acquire_lease("m1", ttl_s=13, description="d"))
    assert lease.granted_s == granted_s
