"""What the client asks is what Fly.io's API document describes, but for a short list."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.client import connect
from deploy.errors import CallFailed
from deploy.local import api
from deploy.local.endpoints import WAIT_STATES
from deploy.recovery import resume_app
from tests.simulation.clockwork import run_in_time
from tests.simulation.faults import EVERYTHING
from tests.simulation.protocol import METHODS, PREFIX, deviations, document
from tests.simulation.transport import Call, Chaos
from tests.simulation.weather import HICCUPS
from tests.simulation.world import ADDRESS, APP, Scenario, World, simulate, tell

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


def test_every_operation_of_the_client_is_seen(calls: list[Call]) -> None:
    assert EVERYTHING - {call.operation for call in calls} == set()


def test_requests_are_as_the_document_says_but_for_the_deviations_listed(
    calls: list[Call],
) -> None:
    assert {found for call in calls for found in deviations(call)} == DEVIATIONS.keys()


def test_a_wrong_request_is_noticed(calls: list[Call]) -> None:
    """The comparison can fail."""
    seen = next(call for call in calls if call.operation == "wait")
    wait = replace(seen, url=seen.url.replace("timeout=", "timeout=never"))
    assert [each for each in deviations(wait) if "timeout" in each]


def test_a_wait_asks_for_states_that_exist_and_for_a_minute_at_the_most(calls: list[Call]) -> None:
    for call in calls:
        if call.operation == "wait":
            query = dict(part.split("=") for part in call.url.partition("?")[2].split("&"))
            assert query["state"] in WAIT_STATES
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
