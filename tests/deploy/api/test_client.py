"""The client against a server that misbehaves: what it sends, what it says of the answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import httpx
import pytest

from deploy.api import connection
from deploy.api.client import MachinesClient, connect
from deploy.errors import CallFailed, DeployError, Meaning, Outage
from tests.contract.clocks import BACKENDS, run_on

T = TypeVar("T")
Handler = Callable[[httpx.Request], httpx.Response]

TOKEN = "fo1_very-secret-token"  # noqa: S105 - a made-up one, to look for
MACHINE = {"id": "m1", "state": "started", "instance_id": "v1", "config": {"image": "x"}}
LEASE = {"status": "success", "data": {"nonce": "n1", "expires_at": 1}}


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


async def _update(client: MachinesClient) -> Any:
    return await client.update(
        "m1", config={"image": "y"}, current_version="v0", launch=False, nonce="n1"
    )


# -- what is sent ------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_update_carries_the_version_the_nonce_and_the_whole_configuration(backend: str) -> None:
    server = Server(ok())
    machine = talk(server, _update, backend=backend)
    ((_, request),) = server.asked
    assert machine.version == "v1"
    assert request.url.raw_path == b"/v1/apps/app%2F../machines/m1"
    assert request.headers["fly-machine-lease-nonce"] == "n1"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(request.content) == {
        "config": {"image": "y"},
        "skip_launch": True,
        "current_version": "v0",
    }


def test_a_macaroon_goes_as_it_is() -> None:
    server = Server(ok([]))
    talk(server, lambda client: client.machines(), token="FlyV1 fm2_abc")  # noqa: S106 - made up
    assert server.asked[0][1].headers["authorization"] == "FlyV1 fm2_abc"


@pytest.mark.parametrize("verb", ["start", "stop", "cordon", "uncordon", "destroy"])
def test_every_write_that_can_carry_a_nonce_carries_it(verb: str) -> None:
    server = Server(ok({}))
    talk(server, lambda client: getattr(client, verb)("m1", nonce="n7"))
    ((_, request),) = server.asked
    assert request.headers["fly-machine-lease-nonce"] == "n7"
    if verb == "destroy":
        assert dict(request.url.params) == {"force": "true", "kill": "true"}


@pytest.mark.parametrize(("asked_s", "sent"), [(0.0, "1"), (7.9, "7"), (60.0, "60"), (1e6, "60")])
def test_a_wait_is_of_1_to_60_whole_seconds(asked_s: float, sent: str) -> None:
    server = Server(ok({"ok": True}))
    talk(server, lambda c: c.wait("m1", state="started", version="v1", timeout_s=asked_s))
    params = server.asked[0][1].url.params
    assert params["timeout"] == sent
    assert (params["version"], params["instance_id"], params["state"]) == ("v1", "v1", "started")


def test_a_list_follows_its_pages() -> None:
    pages = [
        ok([{**MACHINE, "id": "m1"}], **{"fly-next-cursor": "c2"}),
        ok([{**MACHINE, "id": "m2"}]),
    ]
    server = Server(*pages)
    machines = talk(server, lambda client: client.machines())
    assert [machine.id for machine in machines] == ["m1", "m2"]
    assert server.asked[1][1].url.params["cursor"] == "c2"


def test_a_lease_is_asked_for_in_the_body_and_in_the_query() -> None:
    server = Server(ok(LEASE))
    lease = talk(server, lambda c: c.acquire_lease("m1", ttl_s=13, description="d/r"))
    ((_, request),) = server.asked
    assert lease.nonce == "n1"
    assert request.url.params["ttl"] == "13"
    assert json.loads(request.content) == {"ttl": 13, "description": "d/r"}
    assert "fly-machine-lease-nonce" not in request.headers


def test_a_lease_that_is_gone_is_as_good_as_released_and_read_as_none() -> None:
    gone = Server(failing(404, "lease not found"))
    assert talk(gone, lambda c: c.release_lease("m1", nonce="n")) is None
    assert talk(gone, lambda c: c.read_lease("m1")) is None


# -- pace --------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_action_a_second_per_machine_and_none_slows_another(backend: str) -> None:
    server = Server(ok({}))

    async def say(client: MachinesClient) -> None:
        async with anyio.create_task_group() as tasks:
            for machine_id in ("m1", "m1", "m1", "m2"):
                tasks.start_soon(partial(client.start, machine_id, nonce=""))
            tasks.start_soon(partial(client.stop, "m1", nonce=""))

    talk(server, say, backend=backend)
    began = server.asked[0][0]
    told = [(round(at - began), request.url.path[-8:]) for at, request in server.asked]
    assert sorted(told) == [
        (0, "/m1/stop"),
        (0, "m1/start"),
        (0, "m2/start"),
        (1, "m1/start"),
        (2, "m1/start"),
    ]


def test_lists_and_creates_have_a_burst_of_three() -> None:
    server = Server(ok([]))

    async def say(client: MachinesClient) -> None:
        for _ in range(5):
            await client.machines()

    talk(server, say)
    began = server.asked[0][0]
    assert [round(at - began) for at, _ in server.asked] == [0, 0, 0, 1, 2]


def test_a_create_is_sent_the_moment_its_turn_has_come() -> None:
    server = Server(ok())

    async def say(client: MachinesClient) -> list[float]:
        turns = []
        for number in range(5):
            await client.turn_to_create()
            turns.append(anyio.current_time())
            await client.create(
                name=f"web-{number}",
                region="",
                config={},
                launch=True,
                cordoned=False,
                lease_ttl_s=13,
            )
        return turns

    turns = talk(server, say)
    assert turns == [at for at, _ in server.asked]
    assert [round(at - turns[0]) for at in turns] == [0, 0, 0, 1, 2]


# -- answers -----------------------------------------------------------------------------


def test_a_refusal_tells_what_the_server_said_and_its_request_id() -> None:
    server = Server(failing(422, "config.env is wrong", **{"fly-request-id": "01ABC"}))
    failure = refused(server, _update)
    assert (failure.status, failure.sent, failure.machine_id) == (422, True, "m1")
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
    assert refused(Server(failing(429, "slow", **headers)), _update).retry_after_s == seconds


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
    failure = refused(Server(error), _update)
    assert failure.sent is sent
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
    assert refused(Server(answer), _update).meaning is Meaning.UNSETTLED


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
            await _update(client)
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
    failure = refused(Server(answer), _update)
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
    failure = refused(Server(answer), _update)
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
