"""The Machines API, one typed method per endpoint.

Here httpx's errors and HTTP's status codes become `CallFailed`; what a failure
means is not decided here (`deploy.verdict`), nor is anything asked twice. Three
connection pools: long waits and lease refreshes must not queue behind each
other or behind ordinary calls.
"""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote

import anyio
import httpx

from deploy import wire
from deploy.errors import CallFailed, Outage
from deploy.machine import Lease, Machine
from deploy.pace import Pace

T = TypeVar("T")

NONCE_HEADER = "fly-machine-lease-nonce"
WAIT_LIMIT_S = 60  # the API refuses to wait longer
ANSWER_LIMIT_BYTES = 64 * 1024 * 1024
OUTAGE_S = 60.0  # no call answered for so long is an outage

_READ_TIMEOUT_S = 30.0
_WAIT_MARGIN_S = 10.0  # how much later than asked the platform may answer a wait
_LIST_PAGE = 1000

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


@asynccontextmanager
async def connect(
    address: str, token: str, app: str, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[MachinesClient]:
    """A client of the API at `address` for one app; closes its connections at the end.

    `transport` replaces the network in tests. Proxies and CA variables are
    honoured as httpx does.
    """
    headers = {"user-agent": f"tidegate (python {platform.python_version()})"}
    if token:
        headers["authorization"] = token if token.startswith("FlyV1 ") else f"Bearer {token}"
    async with AsyncExitStack() as stack:
        pools = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=f"{address.rstrip('/')}/v1",
                    headers=headers,
                    timeout=_timeout(_READ_TIMEOUT_S),
                    limits=httpx.Limits(max_connections=size, max_keepalive_connections=size),
                    transport=transport,
                )
            )
            for size in (32, 256, 64)
        ]
        yield MachinesClient(app, calls=pools[0], waits=pools[1], leases=pools[2])


class MachinesClient:
    """Every method is one request. Raises `CallFailed`, or `Outage` after 60 s without an answer.

    Times are in seconds; `nonce` is the nonce of a lease that this run holds.
    """

    def __init__(
        self,
        app: str,
        *,
        calls: httpx.AsyncClient,
        waits: httpx.AsyncClient,
        leases: httpx.AsyncClient,
    ) -> None:
        self.app = app
        self._calls = calls
        self._waits = waits
        self._leases = leases
        self._app_path = f"/apps/{quote(app, safe='')}"
        self._pace = Pace(interval_s=1.0, burst=1)
        self._pace_app = Pace(interval_s=1.0, burst=3)
        self._pace_reads = Pace(interval_s=0.2, burst=10)
        self._silent_since: float | None = None

    # -- the app ---------------------------------------------------------------

    async def organization(self) -> str:
        """The slug of the app's organisation. A missing app is a CallFailed with status 404."""
        body = await self._call("read app", "GET", self._app_path)
        return _read("read app", "", body, wire.organization)

    async def create_app(self, organization: str) -> None:
        request = {"app_name": self.app, "name": self.app, "org_slug": organization}
        await self._call("create app", "POST", "/apps", json=request)

    async def local_services(self) -> list[dict[str, Any]]:
        """Where the embedded platform routes the app's services; a real one has no such page."""
        body = await self._call("read services", "GET", f"{self._local()}/services")
        return _read("read services", "", body, wire.objects)

    async def local_log(self, machine_id: str) -> list[str]:
        """The last lines that a machine of the embedded platform has written."""
        path = f"{self._local()}/machines/{quote(machine_id, safe='')}/logs"
        body = await self._call("read log", "GET", path, machine_id)
        return _read("read log", machine_id, body, wire.texts)

    def _local(self) -> str:
        root = str(self._calls.base_url).rstrip("/").removesuffix("/v1")
        return f"{root}/local/v1{self._app_path}"

    # -- machines --------------------------------------------------------------

    async def machines(self) -> list[Machine]:
        """Every machine of the app, helpers of other tools included; follows the pages."""
        found: list[Machine] = []
        cursor = ""
        while True:
            await self._pace_app.turn("list", "")
            query = {"limit": str(_LIST_PAGE), "cursor": cursor} if cursor else {}
            response = await self._send("list", "", "GET", f"{self._app_path}/machines", query)
            found += _read("list", "", response.content, wire.machines)
            cursor = response.headers.get("fly-next-cursor", "")
            if not cursor:
                return found

    async def machine(self, machine_id: str) -> Machine:
        await self._pace_reads.turn("read", machine_id)
        body = await self._call("read", "GET", self._path(machine_id), machine_id)
        return _read("read", machine_id, body, wire.machine)

    async def create(
        self,
        *,
        name: str,
        region: str,
        config: Mapping[str, Any],
        launch: bool,
        cordoned: bool,
        lease_ttl_s: int,
    ) -> tuple[Machine, float]:
        """Make a machine, with a lease if `lease_ttl_s` is not 0; and when it was asked for.

        The time is anyio's: the lease's life is counted from it, and not from
        before the wait for this request's turn.
        """
        await self._pace_app.turn("create", "")
        sent = anyio.current_time()
        request: dict[str, Any] = {"name": name, "config": config}
        if lease_ttl_s:
            request["lease_ttl"] = lease_ttl_s
        if region:
            request["region"] = region
        if not launch:
            request["skip_launch"] = True
        if cordoned:
            request["skip_service_registration"] = True
        body = await self._call("create", "POST", f"{self._app_path}/machines", json=request)
        return _read("create", "", body, wire.machine), sent

    async def update(
        self,
        machine_id: str,
        *,
        config: Mapping[str, Any],
        current_version: str,
        launch: bool,
        nonce: str,
    ) -> Machine:
        """Replace the whole configuration; refused if `current_version` has been overtaken."""
        request: dict[str, Any] = {"config": config, "skip_launch": not launch}
        if current_version:
            request["current_version"] = current_version
        body = await self._write("update", machine_id, "", nonce, json=request)
        return _read("update", machine_id, body, wire.machine)

    async def destroy(self, machine_id: str, *, nonce: str) -> None:
        """Remove a machine even if it runs; both spellings of that are sent."""
        await self._pace.turn("destroy", machine_id)
        await self._send(
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
        await self._send(
            "wait",
            machine_id,
            "GET",
            f"{self._path(machine_id)}/wait",
            query,
            pool=self._waits,
            read_timeout_s=seconds + _WAIT_MARGIN_S,
        )

    async def versions(self, machine_id: str) -> list[tuple[str, Mapping[str, Any]]]:
        """(version, configuration as sent), newest first."""
        body = await self._call(
            "read versions", "GET", f"{self._path(machine_id)}/versions", machine_id
        )
        return _read("read versions", machine_id, body, wire.versions)

    # -- volumes ---------------------------------------------------------------

    async def free_volumes(self) -> list[tuple[str, str, str]] | None:
        """(id, name, region) of volumes that no machine has; None where there are no volumes."""
        try:
            body = await self._call("list volumes", "GET", f"{self._app_path}/volumes")
        except CallFailed as failure:
            if failure.status == 404:
                return None
            raise
        return _read("list volumes", "", body, wire.free_volumes)

    async def create_volume(self, name: str, region: str) -> str:
        """The id of a new volume of 1 GB, which is what Fly's own tools begin with."""
        request: dict[str, Any] = {"name": name, "size_gb": 1}
        if region:
            request["region"] = region
        body = await self._call("create volume", "POST", f"{self._app_path}/volumes", json=request)
        return _read("create volume", "", body, wire.volume_id)

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
            response = await self._send("read lease", machine_id, "GET", path, pool=self._leases)
        except CallFailed as failure:
            if failure.status == 404:
                return None
            raise
        return _read("read lease", machine_id, response.content, wire.lease)

    async def release_lease(self, machine_id: str, *, nonce: str) -> None:
        """Give a lease back; one that has expired already is as good as given back."""
        path = f"{self._path(machine_id)}/lease"
        try:
            await self._send(
                "release lease",
                machine_id,
                "DELETE",
                path,
                pool=self._leases,
                headers=_nonce(nonce),
            )
        except CallFailed as failure:
            if failure.status != 404:
                raise

    async def _lease(
        self, operation: str, machine_id: str, ttl_s: int, description: str, *, nonce: str
    ) -> Lease:
        await self._pace.turn(operation, machine_id)
        response = await self._send(
            operation,
            machine_id,
            "POST",
            f"{self._path(machine_id)}/lease",
            {"ttl": str(ttl_s)},
            pool=self._leases,
            headers=_nonce(nonce),
            json={"ttl": ttl_s, "description": description},
        )
        return _read(operation, machine_id, response.content, wire.lease)

    # -- one request -----------------------------------------------------------

    def _path(self, machine_id: str) -> str:
        return f"{self._app_path}/machines/{quote(machine_id, safe='')}"

    async def _write(
        self, operation: str, machine_id: str, verb: str, nonce: str, *, json: Any = None
    ) -> bytes:
        await self._pace.turn(operation, machine_id)
        path = self._path(machine_id) + verb
        return await self._call(
            operation, "POST", path, machine_id, headers=_nonce(nonce), json=json
        )

    async def _call(
        self, operation: str, method: str, path: str, machine_id: str = "", **options: Any
    ) -> bytes:
        return (await self._send(operation, machine_id, method, path, **options)).content

    async def _send(
        self,
        operation: str,
        machine_id: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        pool: httpx.AsyncClient | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        read_timeout_s: float = _READ_TIMEOUT_S,
    ) -> _Answer:
        client = pool or self._calls
        request = client.build_request(
            method, path, params=query, headers=headers, json=json, timeout=_timeout(read_timeout_s)
        )
        try:
            response = await client.send(request, stream=True)
            try:
                content = await _body(response)
            finally:
                await response.aclose()
        except (httpx.HTTPError, _TooLong) as error:
            failure = _unanswered(operation, machine_id, error, client.base_url)
            self._note_silence(failure)
            raise failure from None
        answer = _Answer(response.status_code, response.headers, content)
        if answer.status >= 500:
            refused = _refused(operation, machine_id, answer)
            self._note_silence(refused)
            raise refused
        if "html" in answer.headers.get("content-type", ""):
            page = CallFailed(
                "the answer is a web page, not the API's",
                operation=operation,
                machine_id=machine_id,
                status=answer.status if answer.status < 300 else None,
            )
            self._note_silence(page)
            raise page
        self._silent_since = None
        if not 200 <= answer.status < 300:
            raise _refused(operation, machine_id, answer)
        return answer

    def _note_silence(self, failure: CallFailed) -> None:
        """Raise Outage once nothing has been answered for OUTAGE_S."""
        now = anyio.current_time()
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since >= OUTAGE_S:
            raise Outage(
                f"the platform has answered nothing for {now - self._silent_since:.0f} s; "
                f"last: {failure.message}",
                hint="see https://status.flyio.net, then run the same command again",
            )


@dataclass(frozen=True, slots=True)
class _Answer:
    """A complete answer; `content` is decoded, whatever its content-encoding was."""

    status: int
    headers: httpx.Headers
    content: bytes


class _TooLong(Exception):
    """An answer longer than ANSWER_LIMIT_BYTES."""


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > ANSWER_LIMIT_BYTES:
            raise _TooLong
    return bytes(body)


def _timeout(read_s: float) -> httpx.Timeout:
    return httpx.Timeout(connect=5.0, read=read_s, write=15.0, pool=30.0)


def _nonce(nonce: str) -> dict[str, str]:
    return {NONCE_HEADER: nonce} if nonce else {}


def _unanswered(
    operation: str, machine_id: str, error: Exception, address: httpx.URL
) -> CallFailed:
    """No complete answer: refused before anything was sent, or lost after."""
    never_sent = isinstance(error, _NEVER_SENT)
    if isinstance(error, _TooLong):
        said = f"the answer is over {ANSWER_LIMIT_BYTES // 2**20} MiB"
    elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        said = f"cannot reach {address.host}:{address.port or 443}: {str(error) or 'timed out'}"
    elif isinstance(error, httpx.TimeoutException):
        said = "no answer in time"
    else:
        said = f"the connection broke: {str(error) or type(error).__name__}"
    return CallFailed(said, operation=operation, machine_id=machine_id, sent=not never_sent)


def _refused(operation: str, machine_id: str, answer: _Answer) -> CallFailed:
    said, code = wire.fault(answer.content)
    return CallFailed(
        said or f"HTTP {answer.status} {httpx.codes.get_reason_phrase(answer.status)}".rstrip(),
        operation=operation,
        machine_id=machine_id,
        status=answer.status,
        code=code,
        request_id=answer.headers.get("fly-request-id", ""),
        retry_after_s=_retry_after_s(answer.headers),
    )


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """`Retry-After` in seconds; a date counts from the answer's own `Date`."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        return max(0.0, (until - parsedate_to_datetime(headers["date"])).total_seconds())
    except (ValueError, TypeError, KeyError):
        return None


def _read(operation: str, machine_id: str, body: bytes, decode: Callable[[bytes], T]) -> T:
    try:
        return decode(body)
    except wire.Unreadable as error:
        raise CallFailed(
            f"the answer cannot be read: {error}",
            operation=operation,
            machine_id=machine_id,
            status=200,
        ) from None
