"""The Machines API, one typed method per endpoint.

What a failure means is not decided here (`deploy.api.meaning`), nor is anything
asked twice; how a request is sent is `deploy.api.connection`'s affair.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx

from deploy.api import wire
from deploy.api.connection import READ_TIMEOUT_S, Answer, Connection, Headers, open_connection
from deploy.api.machine import AppInfo, Lease, Machine
from deploy.api.meaning import call_failed
from deploy.api.pace import Pace
from deploy.errors import CallFailed, Meaning

NONCE_HEADER = b"fly-machine-lease-nonce"
WAIT_LIMIT_S = 60  # the API refuses to wait longer

_WAIT_MARGIN_S = 10.0  # how much later than asked the platform may answer a wait
_LIST_PAGE = 1000  # of machines; of 8 KiB each it is as large as an answer may be
_LIST_VALUES = 3 * wire.VALUES_LIMIT  # in all pages: 5,000 machines have half of that
_PAGES = 100


@asynccontextmanager
async def connect(
    address: str, token: str, app: str, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[MachinesClient]:
    """A client of the API at `address` for one app; closes its connections at the end.

    `transport` replaces the network in tests. Proxies and CA variables are
    honoured as httpx does.
    """
    async with open_connection(address, token, transport) as connection:
        yield MachinesClient(app, connection)


class MachinesClient:
    """Every method is one request. Raises `CallFailed`, or `Outage` after 60 s without an answer.

    Times are in seconds; `nonce` is the nonce of a lease that this run holds.
    """

    def __init__(self, app: str, connection: Connection) -> None:
        self.app = app
        self._connection = connection
        self._app_path = f"/apps/{quote(app, safe='')}"
        self._pace = Pace(interval_s=1.0, burst=1)
        self._pace_app = Pace(interval_s=1.0, burst=3)
        self._pace_reads = Pace(interval_s=0.2, burst=10)

    @property
    def address(self) -> str:
        """The root of the platform, without `/v1`."""
        return self._connection.address

    # -- the app ---------------------------------------------------------------

    async def read_app(self) -> AppInfo:
        """A missing app is a CallFailed with status 404."""
        body = await self._call("read app", "GET", self._app_path)
        return self._connection.read("read app", "", body, wire.app)

    async def create_app(self, organization: str) -> None:
        request = {"app_name": self.app, "name": self.app, "org_slug": organization}
        await self._call("create app", "POST", "/apps", json=request)

    async def local_services(self) -> list[dict[str, Any]]:
        """Where the embedded platform routes the app's services; a real one has no such page."""
        body = await self._call("read services", "GET", f"{self._local()}/services")
        return self._connection.read("read services", "", body, wire.objects)

    async def local_log(self, machine_id: str) -> list[str]:
        """The last lines that a machine of the embedded platform has written."""
        path = f"{self._local()}/machines/{quote(machine_id, safe='')}/logs"
        body = await self._call("read log", "GET", path, machine_id)
        return self._connection.read("read log", machine_id, body, wire.texts)

    async def local_logs(
        self, machine_id: str, *, lines: int, follow: bool
    ) -> AsyncIterator[wire.LogLine]:
        """The newest lines of one machine of the embedded platform, or of all where none is named.

        With `follow` it goes on as lines come, until the platform ends.
        """
        query = {"machine": machine_id, "lines": str(lines), "follow": str(follow).lower()}
        path = f"{self._local()}/logs"
        async for text in self._connection.lines("read logs", path, query):
            yield self._connection.read("read logs", machine_id, text.encode(), wire.log_line)

    def _local(self) -> str:
        return f"{self._connection.address}/local/v1{self._app_path}"

    # -- machines --------------------------------------------------------------

    async def machines(self) -> list[Machine]:
        """Every machine of the app, helpers of other tools included; follows the pages."""
        found: list[Machine] = []
        cursor, values = "", 0
        for _ in range(_PAGES):
            await self._pace_app.turn("list", "")
            query = {"limit": str(_LIST_PAGE)} | ({"cursor": cursor} if cursor else {})
            response = await self._connection.send(
                "list", "", "GET", f"{self._app_path}/machines", query
            )
            found += self._connection.read("list", "", response.content, wire.machines)
            cursor = response.headers.get("fly-next-cursor", "")
            values += wire.values(response.content)
            if not cursor:
                return found
            if values > _LIST_VALUES:
                break
        said = f"the list of machines does not end, or is over {_LIST_VALUES:,} values"
        raise call_failed(said, operation="list", status=200, garbled=True)

    async def machine(self, machine_id: str) -> Machine:
        await self._pace_reads.turn("read", machine_id)
        body = await self._call("read", "GET", self._path(machine_id), machine_id)
        return self._connection.read("read", machine_id, body, wire.machine)

    async def find_machine(self, machine_id: str) -> Machine | None:
        """The same, or None where it is gone or going: it may still be told of."""
        try:
            machine = await self.machine(machine_id)
        except CallFailed as failure:
            if failure.status == 404:
                return None
            raise
        return None if machine.is_going else machine

    async def turn_to_create(self) -> None:
        """Wait until a create may be sent: of all writes the one that queues, per app."""
        await self._pace_app.turn("create", "")

    async def turn_to_write(self, operation: str, machine_id: str) -> None:
        """The same for a write that takes a nonce, which may run out while it waits."""
        await self._pace.turn(operation, machine_id)

    async def create(
        self,
        *,
        name: str,
        region: str,
        config: Mapping[str, Any],
        launch: bool,
        cordoned: bool,
        lease_ttl_s: int,
    ) -> Machine:
        """Make a machine, with a lease if `lease_ttl_s` is not 0; after `turn_to_create`."""
        request: dict[str, Any] = {"name": name, "config": _whole("create", "", config)}
        if lease_ttl_s:
            request["lease_ttl"] = lease_ttl_s
        if region:
            request["region"] = region
        if not launch:
            request["skip_launch"] = True
        if cordoned:
            request["skip_service_registration"] = True
        body = await self._call("create", "POST", f"{self._app_path}/machines", json=request)
        return self._connection.read("create", "", body, wire.machine)

    async def update(
        self,
        machine_id: str,
        *,
        config: Mapping[str, Any],
        current_version: str,
        launch: bool,
        nonce: str,
    ) -> Machine:
        """Replace the whole configuration; refused if `current_version` has been overtaken.

        As all writes that take a nonce: after `turn_to_write`.
        """
        whole = _whole("update", machine_id, config)
        request: dict[str, Any] = {"config": whole, "skip_launch": not launch}
        if current_version:
            request["current_version"] = current_version
        body = await self._write("update", machine_id, "", nonce, json=request)
        return self._connection.read("update", machine_id, body, wire.machine)

    async def destroy(self, machine_id: str, *, nonce: str) -> None:
        """Remove a machine even if it runs; both spellings of that are sent."""
        await self._connection.send(
            "destroy",
            machine_id,
            "DELETE",
            self._path(machine_id),
            {"force": "true", "kill": "true"},
            headers=_nonce(nonce),
        )

    async def start(self, machine_id: str, *, nonce: str) -> None:
        await self._write("start", machine_id, "/start", nonce)

    async def stop(self, machine_id: str, *, nonce: str) -> None:
        await self._write("stop", machine_id, "/stop", nonce, json={})

    async def cordon(self, machine_id: str, *, nonce: str) -> None:
        await self._write("cordon", machine_id, "/cordon", nonce)

    async def uncordon(self, machine_id: str, *, nonce: str) -> None:
        await self._write("uncordon", machine_id, "/uncordon", nonce)

    async def wait(self, machine_id: str, *, state: str, version: str, timeout_s: float) -> None:
        """Return once `version` of the machine is in `state`; status 408 means not yet."""
        await self._pace.turn("wait", machine_id)
        seconds = max(1, min(WAIT_LIMIT_S, int(timeout_s)))
        query = {"state": state, "timeout": str(seconds)}
        if version:
            query |= {"version": version, "instance_id": version}
        await self._connection.send(
            "wait",
            machine_id,
            "GET",
            f"{self._path(machine_id)}/wait",
            query,
            pool="waits",
            read_timeout_s=seconds + _WAIT_MARGIN_S,
        )

    async def versions(self, machine_id: str) -> list[tuple[str, Mapping[str, Any]]]:
        """(version, configuration as sent), newest first."""
        body = await self._call(
            "read versions", "GET", f"{self._path(machine_id)}/versions", machine_id
        )
        return self._connection.read("read versions", machine_id, body, wire.versions)

    # -- volumes ---------------------------------------------------------------

    async def free_volumes(self) -> list[tuple[str, str, str]] | None:
        """(id, name, region) of volumes that no machine has; None where there are no volumes."""
        try:
            body = await self._call("list volumes", "GET", f"{self._app_path}/volumes")
        except CallFailed as failure:
            if failure.status == 404:
                return None
            raise
        return self._connection.read("list volumes", "", body, wire.free_volumes)

    async def create_volume(self, name: str, region: str) -> str:
        """The id of a new volume of 1 GB, which is what Fly's own tools begin with."""
        request: dict[str, Any] = {"name": name, "size_gb": 1}
        if region:
            request["region"] = region
        body = await self._call("create volume", "POST", f"{self._app_path}/volumes", json=request)
        return self._connection.read("create volume", "", body, wire.volume_id)

    # -- metadata --------------------------------------------------------------

    async def write_metadata(self, machine_id: str, key: str, value: str) -> None:
        await self._pace.turn("write metadata", machine_id)
        path = f"{self._path(machine_id)}/metadata/{quote(key, safe='')}"
        await self._call("write metadata", "POST", path, machine_id, json={"value": value})

    async def delete_metadata(self, machine_id: str, key: str) -> None:
        await self._pace.turn("delete metadata", machine_id)
        path = f"{self._path(machine_id)}/metadata/{quote(key, safe='')}"
        await self._call("delete metadata", "DELETE", path, machine_id)

    # -- leases ----------------------------------------------------------------

    async def acquire_lease(self, machine_id: str, *, ttl_s: int, description: str) -> Lease:
        return await self._lease("acquire lease", machine_id, ttl_s, description, nonce="")

    async def refresh_lease(
        self, machine_id: str, *, ttl_s: int, description: str, nonce: str
    ) -> Lease:
        return await self._lease("refresh lease", machine_id, ttl_s, description, nonce=nonce)

    async def read_lease(self, machine_id: str) -> Lease | None:
        """The lease on a machine with its nonce, or None where nobody holds one."""
        path = f"{self._path(machine_id)}/lease"
        try:
            response = await self._connection.send("read lease", machine_id, "GET", path)
        except CallFailed as failure:
            if failure.status == 404:
                return None
            raise
        return self._connection.read("read lease", machine_id, response.content, wire.lease)

    async def release_lease(self, machine_id: str, *, nonce: str) -> None:
        """Give a lease back; one that has expired already counts as given back."""
        path = f"{self._path(machine_id)}/lease"
        try:
            await self._connection.send(
                "release lease", machine_id, "DELETE", path, headers=_nonce(nonce)
            )
        except CallFailed as failure:
            if failure.status != 404:
                raise

    async def _lease(
        self, operation: str, machine_id: str, ttl_s: int, description: str, *, nonce: str
    ) -> Lease:
        await self._pace.turn(operation, machine_id)
        # A refresh that is not answered must leave time for another.
        refresh_timeout_s = min(READ_TIMEOUT_S, max(1.0, ttl_s / 4))
        answer = await self._connection.send(
            operation,
            machine_id,
            "POST",
            f"{self._path(machine_id)}/lease",
            {"ttl": str(ttl_s)},
            pool="refreshes" if nonce else "calls",
            headers=_nonce(nonce),
            json={"ttl": ttl_s, "description": description},
            read_timeout_s=refresh_timeout_s if nonce else READ_TIMEOUT_S,
        )
        lease = self._connection.read(operation, machine_id, answer.content, wire.lease)
        return replace(lease, granted_s=_granted_s(lease, answer))

    # -- one request -----------------------------------------------------------

    def _path(self, machine_id: str) -> str:
        return f"{self._app_path}/machines/{quote(machine_id, safe='')}"

    async def _write(
        self, operation: str, machine_id: str, verb: str, nonce: str, *, json: Any = None
    ) -> bytes:
        path = self._path(machine_id) + verb
        return await self._call(
            operation, "POST", path, machine_id, headers=_nonce(nonce), json=json
        )

    async def _call(
        self, operation: str, method: str, path: str, machine_id: str = "", **options: Any
    ) -> bytes:
        return (await self._connection.send(operation, machine_id, method, path, **options)).content


def _whole(operation: str, machine_id: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration; CallFailed for one without an image: to send it would wipe a machine."""
    if config.get("image"):
        return config
    raise CallFailed(
        "nothing was sent: the configuration that there is of it has no image",
        operation=operation,
        meaning=Meaning.REJECTED,
        machine_id=machine_id,
    )


def _granted_s(lease: Lease, answer: Answer) -> float | None:
    """How long a lease lives from its answer on, by the server's own clock alone."""
    answered_at = answer.date
    if answered_at is None or lease.expires_at <= answered_at:
        return None
    return lease.expires_at - answered_at


def _nonce(nonce: str) -> Headers:
    return [(NONCE_HEADER, nonce.encode())] if nonce else []
