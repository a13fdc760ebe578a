"""What the client asks is what Fly.io's API document describes, but for a short list."""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, get_args

import anyio
import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.api.client import MachinesClient, connect
from deploy.api.machine import Fleet
from deploy.api.patience import Patience
from deploy.commands.resume import resume_app
from deploy.errors import CallFailed
from deploy.local.http import api
from deploy.local.requests import WaitState
from deploy.orchestrator.halt import Halt
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.release_command import ReleaseCommand, ReleaseCommandRun
from deploy.orchestrator.tools import Tools
from tests.simulation.protocol import METHODS, PREFIX, deviations, document
from tests.simulation.weather import HICCUPS
from tests.worlds.simulated.clockwork import run_in_time
from tests.worlds.simulated.faults import EVERYTHING, Spot
from tests.worlds.simulated.transport import NONCE, Call, Chaos
from tests.worlds.simulated.world import ADDRESS, APP, Scenario, World, simulate, tell

# What the client asks beyond the document (2026-05-07), and why. FACTS on the protocol
# were read off Fly.io's own client library and its documentation in prose.
_PATIENCE_S = 90.0  # a wait may take a minute

NONCE_WHERE = ("update", "start", "stop", "cordon", "uncordon", "destroy")
DEVIATIONS: dict[str, str] = {
    **{
        f"{operation}: header fly-machine-lease-nonce": "the document names the nonce with leases "
        "only; the server wants it with every write to a leased machine"
        for operation in NONCE_WHERE
    },
    "acquire: query parameter ttl": "some servers read it there, some in the body: both are sent",
    "refresh: query parameter ttl": "as with acquire",
    "list: query parameter limit": "Fly.io's newer document has it; a server without pages "
    "passes it over",
    "list: query parameter cursor": "the same document has it: what fly-next-cursor said, which "
    "a server without pages never does",
    "destroy: query parameter kill": "what Fly.io's own client sends where the document has force",
    "create app: body: Additional properties are not allowed ('app_name' was unexpected)": "what "
    "Fly.io's own client sends where the document has name",
    "update: config: Additional properties are not allowed ('x_unknown' was unexpected)": "a key "
    "that was there before and that we do not know is sent back untouched",
    "create: config: Additional properties are not allowed ('x_unknown' was unexpected)": "the "
    "same, in a machine that takes another's place",
    "create: config/services/*/checks/*/headers: None is not of type 'array'": "the server's own "
    "null, sent back to it",
    "create: config/services/*/force_instance_key: None is not of type 'string'": "the same",
    "update: config/services/*/checks/*/headers: None is not of type 'array'": "the same, on the "
    "way back",
    "update: config/services/*/force_instance_key: None is not of type 'string'": "the same",
    f"local services: no such operation GET /local/v1/apps/{APP}/services": "the embedded "
    "platform's own; another one has no such page, and is not asked for it",
    f"local logs: no such operation GET /local/v1/apps/{APP}/logs": "the embedded platform's own; "
    "`deploy logs` asks it of a platform on the loopback only",
    f"local log: no such operation GET /local/v1/apps/{APP}/machines/m1/logs": "the embedded "
    "platform's own; after a release command has failed it is asked of any, and may be refused",
}


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    """Deploys of every kind, under hiccups, so that every operation is seen."""
    found: list[Call] = []
    for strategy in ("rolling", "canary", "bluegreen", "immediate"):
        for machines in (0, 3):
            scenario = Scenario(strategy=strategy, machines=machines, groups=2, cold=1, retries=5)
            found += simulate(scenario, Chaos(1, 0.1, HICCUPS)).calls
        found += simulate(Scenario(strategy=strategy, new="hello:2-exit1")).calls

    async def beside(world: World) -> None:
        await world.deploy(dies_at=(9, True))
        await world.deploy(name="run2", command=resume_app)
        transport = world.transport("by hand", Chaos(0, 0.0, HICCUPS))
        async with connect(ADDRESS, "local", APP, transport=transport) as client:
            machine = next(iter(await client.machines())).id
            await client.stop(machine, nonce="")
            await anyio.sleep(5)
            await client.start(machine, nonce="whose")
            with pytest.raises(CallFailed, match="already been taken"):
                await client.create_app("personal")

    found += tell(Scenario(), beside).calls
    return found


MACHINE = {"id": "m1", "state": "started", "instance_id": "v1", "config": {"image": "x"}}
LEASE = {"status": "success", "data": {"nonce": "n1", "expires_at": 1}}
EXIT = {"type": "exit", "timestamp": 1, "request": {"exit_event": {"exit_code": 0}}}
NEXT = "fly-next-cursor"


async def all_of(lines: AsyncIterator[Any]) -> list[Any]:
    return [line async for line in lines]


Saying = tuple[Any, Callable[[MachinesClient], Awaitable[Any]]]

# Each method of the client with all that it can say, and an answer to it.
BY_HAND: Mapping[str, Saying] = {
    "read_app": (
        {"organization": {"slug": "personal"}, "machine_count": 3},
        lambda c: c.read_app(),
    ),
    "create_app": ({}, lambda c: c.create_app("personal")),
    "local_services": ([], lambda c: c.local_services()),
    "local_logs": (
        {"machine": "m1", "name": "app-1", "at": 1.0, "line": "said"},
        lambda c: all_of(c.local_logs("m1", lines=10, follow=True)),
    ),
    "local_log": ([], lambda c: c.local_log("m1")),
    "machines": ([MACHINE], lambda c: c.machines()),
    "machine": (MACHINE, lambda c: c.machine("m1")),
    "find_machine": (MACHINE, lambda c: c.find_machine("m1")),
    "turn_to_create": (None, lambda c: c.turn_to_create()),
    "turn_to_write": (None, lambda c: c.turn_to_write("stop", "m1")),
    "create": (
        MACHINE,
        lambda c: c.create(
            name="a",
            region="ams",
            config={"image": "x"},
            launch=False,
            cordoned=True,
            lease_ttl_s=13,
        ),
    ),
    "update": (
        MACHINE,
        lambda c: c.update(
            "m1", config={"image": "x"}, current_version="v0", launch=False, nonce="n1"
        ),
    ),
    "destroy": ({}, lambda c: c.destroy("m1", nonce="n1")),
    "start": ({}, lambda c: c.start("m1", nonce="n1")),
    "stop": ({}, lambda c: c.stop("m1", nonce="n1")),
    "cordon": ({}, lambda c: c.cordon("m1", nonce="n1")),
    "uncordon": ({}, lambda c: c.uncordon("m1", nonce="n1")),
    "wait": ({}, lambda c: c.wait("m1", state="started", version="v1", timeout_s=60)),
    "versions": ([], lambda c: c.versions("m1")),
    "free_volumes": ([], lambda c: c.free_volumes()),
    "create_volume": ({"id": "vol_1"}, lambda c: c.create_volume("data", "ams")),
    "write_metadata": ({}, lambda c: c.write_metadata("m1", "key", "value")),
    "delete_metadata": ({}, lambda c: c.delete_metadata("m1", "key")),
    "acquire_lease": (LEASE, lambda c: c.acquire_lease("m1", ttl_s=13, description="who")),
    "refresh_lease": (
        LEASE,
        lambda c: c.refresh_lease("m1", ttl_s=13, description="who", nonce="n1"),
    ),
    "read_lease": (LEASE, lambda c: c.read_lease("m1")),
    "release_lease": ({}, lambda c: c.release_lease("m1", nonce="n1")),
}
# What a simulated run calls an operation, where that is not the method's name.
NAMES = {"machines": "list", "acquire_lease": "acquire", "refresh_lease": "refresh"}


class Recording:
    """Answers everything alike, lists in two pages; keeps each request as a call."""

    def __init__(self, operation: str, answer: Any) -> None:
        self.calls: list[Call] = []
        self._operation = operation
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        operation = self._operation
        number = len(self.calls)
        call = Call(
            number=number,
            ordinal=number + 1,
            run="by hand",
            sent_s=anyio.current_time(),
            operation=operation,
            machine="",
            name="",
            spot=Spot(operation, "", ""),
            nth=number,
            nonce=request.headers.get(NONCE, ""),
            method=request.method,
            url=str(request.url),
            body=request.content,
        )
        self.calls.append(call)
        is_first = operation == "list" and "cursor" not in request.url.params
        return httpx.Response(200, json=self._answer, headers={NEXT: "page2"} if is_first else {})


def asked(
    operation: str, answer: Any, say: Callable[[MachinesClient], Awaitable[Any]]
) -> list[Call]:
    """The requests with which a client says something to a server that answers so."""
    recording = Recording(operation, answer)

    async def main() -> None:
        transport = httpx.MockTransport(recording)
        async with connect(ADDRESS, "local", APP, transport=transport) as client:
            await say(client)

    run_in_time(main, seed=0)
    return recording.calls


@pytest.fixture(scope="module")
def by_hand() -> dict[str, list[Call]]:
    """What each method of the client asks, whether or not a simulated run has a use for it."""
    return {
        method: asked(NAMES.get(method, method.replace("_", " ")), answer, say)
        for method, (answer, say) in BY_HAND.items()
    }


@pytest.fixture(scope="module")
def release_command() -> list[Call]:
    """The requests of a release command that ends well, with a size of its own."""
    ended = MACHINE | {"state": "stopped", "events": [EXIT]}
    guest = {"cpu_kind": "shared", "cpus": 2, "memory_mb": 512}

    async def run(client: MachinesClient) -> None:
        tools = Tools(
            client=client,
            patience=Patience(0.0, random.Random(0)),
            halt=Halt(),
            emit=lambda _: None,
        )
        command = ReleaseCommandRun(
            tools,
            Memory(Scenario().release("0000001release")),
            ReleaseCommand(command="bin/migrate --all", guest=guest),
        )
        await command.run(Fleet.of([]))

    return asked("release command", ended, run)


def test_every_operation_of_the_client_is_seen(calls: list[Call]) -> None:
    assert EVERYTHING - {call.operation for call in calls} == set()


def test_every_method_of_the_client_is_asked_by_hand(by_hand: dict[str, list[Call]]) -> None:
    public = {
        name
        for name, method in vars(MachinesClient).items()
        if not name.startswith("_")
        and (inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method))
    }
    assert by_hand.keys() == public
    assert {method for method, calls in by_hand.items() if not calls} == {
        "turn_to_create",
        "turn_to_write",
    }


def test_a_list_is_asked_for_page_by_page(by_hand: dict[str, list[Call]]) -> None:
    first, second = (httpx.URL(call.url).params for call in by_hand["machines"])
    assert "cursor" not in first
    assert second["cursor"] == "page2"


def test_a_volume_is_asked_for_by_name_size_and_region(by_hand: dict[str, list[Call]]) -> None:
    (listed,), (created,) = by_hand["free_volumes"], by_hand["create_volume"]
    assert (listed.method, created.method) == ("GET", "POST")
    assert created.url == listed.url == f"{ADDRESS}/v1/apps/{APP}/volumes"
    assert created.json == {"name": "data", "size_gb": 1, "region": "ams"}
    assert not [found for call in (listed, created) for found in deviations(call)]


def test_the_machine_of_a_release_command_is_as_the_document_says(
    release_command: list[Call],
) -> None:
    created = release_command[0]
    assert (created.method, created.url) == ("POST", f"{ADDRESS}/v1/apps/{APP}/machines")
    assert created.json["config"]["init"] == {"cmd": ["bin/migrate", "--all"]}
    assert created.json["config"]["guest"]["memory_mb"] == 512
    assert not [found for call in release_command for found in deviations(call)]


def test_requests_are_as_the_document_says_but_for_the_deviations_listed(
    calls: list[Call], by_hand: dict[str, list[Call]]
) -> None:
    # The bundled platform's own pages, as a deploy asks for them, are those listed by hand.
    theirs_too = [call for call in calls if call.operation != "local"]
    found = {each for call in theirs_too for each in deviations(call)}
    found |= {each for theirs in by_hand.values() for call in theirs for each in deviations(call)}
    assert found == DEVIATIONS.keys()


def test_a_wrong_volume_or_machine_is_noticed(
    by_hand: dict[str, list[Call]], release_command: list[Call]
) -> None:
    """The comparison can fail here too."""
    (volume,) = by_hand["create_volume"]
    body = json.dumps(volume.json | {"size_gb": "1", "size": 1}).encode()
    assert len(list(deviations(replace(volume, body=body)))) == 2
    machine = release_command[0]
    body = json.dumps(machine.json | {"config": {"init": {"cmd": "bin/migrate"}}}).encode()
    assert len(list(deviations(replace(machine, body=body)))) == 1


def test_a_wrong_request_is_noticed(calls: list[Call]) -> None:
    """The comparison can fail."""
    seen = next(call for call in calls if call.operation == "wait")
    wait = replace(seen, url=seen.url.replace("timeout=", "timeout=never"))
    assert [each for each in deviations(wait) if "timeout" in each]


def test_a_wait_asks_for_states_that_exist_and_for_a_minute_at_the_most(calls: list[Call]) -> None:
    for call in calls:
        if call.operation == "wait":
            query = dict(part.split("=") for part in call.url.partition("?")[2].split("&"))
            assert query["state"] in get_args(WaitState)
            assert 1 <= int(query["timeout"]) <= 60


# -- the local platform -------------------------------------------------------------------


def served() -> dict[str, Any]:
    """The part of the document that the local platform serves."""
    paths: dict[str, Any] = {}
    for operation in api.OPERATIONS:
        path = operation.path.removeprefix(PREFIX)
        path = path.replace("{app}", "{app_name}").replace("{machine}", "{machine_id}")
        described = document()["paths"].get(path, {}).get(operation.method.lower())
        if described is not None:
            paths.setdefault(path, {})[operation.method.lower()] = described
    return {**document(), "paths": paths}


SCHEMA = schemathesis.openapi.from_dict(served())
SERVED = [
    pytest.param(path, method, id=f"{method.upper()} {path}")
    for path, operations in sorted(served()["paths"].items())
    for method in METHODS
    if method in operations
]


def test_the_local_platform_serves_what_a_deploy_asks_for() -> None:
    assert len(SERVED) >= 25


@pytest.mark.parametrize(("path", "method"), SERVED)
def test_the_local_platform_answers_no_500_to_anything(path: str, method: str) -> None:
    @settings(
        max_examples=12,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=SCHEMA[path][method].as_strategy(), is_there=st.booleans())
    def ask(case: Any, is_there: bool) -> None:
        assert _status(case, is_there=is_there) < 500

    ask()


def _status(case: Any, *, is_there: bool) -> int:
    """The answer to a case; of a machine that `is_there`, or of whatever was drawn."""

    async def main() -> int:
        async with World(Scenario(machines=1)) as world:
            if is_there:
                there = {"app_name": APP, "machine_id": world.machines()[0].id}
                case.path_parameters = {
                    name: there.get(name, value)
                    for name, value in (case.path_parameters or {}).items()
                }
            wanted = case.as_transport_kwargs(base_url=f"{ADDRESS}{PREFIX}")
            wanted.pop("cookies", None)
            with anyio.fail_after(_PATIENCE_S):
                return (await world.ask(httpx.Request(**wanted))).status

    return run_in_time(main, seed=0)
