"""Health checks: from fly.toml's words to the Machines API's.

The rules are those of Fly.io's configuration reference
(https://fly.io/docs/reference/configuration/), the bounds those of its
platform. Knows nothing of results: those are `deploy.machine.Check`.
"""

from __future__ import annotations

from typing import Literal

from deploy.flytoml.durations import NS_PER_MS, NS_PER_S, format_duration
from deploy.flytoml.scope import Scope, Scoped
from deploy.flytoml.tables import Table, Wire, said

DEFAULT_INTERNAL_PORT = 8080

_SHORTEST_INTERVAL_NS = 2 * NS_PER_S
_LONGEST_TIMEOUT_NS = 60 * NS_PER_S
_RESTART = "restart a machine after so many failed checks"
_HTTP_KEYS = ("method", "path", "protocol", "tls_skip_verify", "tls_server_name", "headers")


def read_checks(top: Table, scope: Scope, http: Scoped[Wire] | None) -> list[Scoped[Wire]]:
    """The checks of [checks.NAME], each as {name: check}, with its groups.

    A check without a port takes that of [http_service], where its groups have one.
    """
    section = top.table("checks")
    if section is None:
        return []
    checks = []
    for name in section.names():
        entry = section.table(name)
        if entry is not None:
            groups = scope.of(entry, unsaid="default")
            has_http = http is not None and set(groups) <= set(http.groups)
            port = http.value["internal_port"] if http is not None and has_http else None
            checks.append(Scoped(groups, {name: _machine_check(entry, port)}, entry.path))
    return checks


def service_check(entry: Table, kind: Literal["tcp", "http"]) -> Wire:
    entry.leave(_RESTART, "restart_limit")
    wire = said(type=kind, **_timing(entry), **(_http(entry) if kind == "http" else {}))
    entry.end()
    return wire


def _machine_check(entry: Table, default_port: int | None) -> Wire:
    entry.leave(_RESTART, "restart_limit")
    entry.skip("name")
    kind = entry.text("type", one_of=("http", "tcp"))
    entry.require("type", example='type = "http" or type = "tcp"')
    if default_port is None:
        entry.require("port", example=f"port = {DEFAULT_INTERNAL_PORT}")
    if kind == "tcp":
        entry.skip(*_HTTP_KEYS)
    wire = said(
        type=kind,
        port=entry.port("port") or default_port,
        **_timing(entry, shortest_ns=_SHORTEST_INTERVAL_NS),
        **({} if kind == "tcp" else _http(entry)),
    )
    entry.end()
    return wire


def _timing(entry: Table, *, shortest_ns: int = 1) -> Wire:
    interval_ns = entry.duration_ns("interval", bare_unit_ns=NS_PER_MS)
    timeout_ns = entry.duration_ns("timeout", bare_unit_ns=NS_PER_MS)
    grace_ns = entry.duration_ns("grace_period", bare_unit_ns=NS_PER_MS, at_least_ns=0)
    if interval_ns is not None and interval_ns < shortest_ns:
        entry.problem("interval", "is shorter than the platform allows", 'write "2s" or more')
    if shortest_ns > 1 and timeout_ns is not None and timeout_ns > _LONGEST_TIMEOUT_NS:
        entry.problem("timeout", "is longer than the platform allows", 'write "60s" or less')
    durations = {"interval": interval_ns, "timeout": timeout_ns, "grace_period": grace_ns}
    return {
        key: None if value_ns is None else format_duration(value_ns)
        for key, value_ns in durations.items()
    }


def _http(entry: Table) -> Wire:
    method = entry.text("method")
    return {
        "method": method.upper() if method else None,
        "path": entry.text("path"),
        "protocol": entry.text("protocol", one_of=("http", "https")),
        "tls_skip_verify": entry.flag("tls_skip_verify"),
        "tls_server_name": entry.text("tls_server_name"),
        "headers": _headers(entry) or None,
    }


def _headers(entry: Table) -> list[Wire]:
    """Headers of a check: a table of them, or the older list of {name, value}."""
    if isinstance(entry.value("headers"), list):
        headers = []
        for header in entry.tables("headers"):
            headers.append({"name": header.text("name"), "values": [header.text("value") or ""]})
            header.end()
        return headers
    table = entry.table("headers")
    if table is None:
        return []
    return [{"name": name, "values": [table.scalar(name)]} for name in table.names()]
