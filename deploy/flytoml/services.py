"""Services: from fly.toml's words to the Machines API's.

The rules are those of Fly.io's configuration reference
(https://fly.io/docs/reference/configuration/). Knows nothing of machines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from deploy.flytoml.checks import DEFAULT_INTERNAL_PORT, service_check
from deploy.flytoml.scope import Scope, Scoped
from deploy.flytoml.tables import Problem, Table, Wire, said, shown

_PROTOCOLS = ("tcp", "udp")
_AUTOSTOP = ("off", "stop", "suspend")
_TLS_OPTIONS = ("alpn", "versions", "default_self_signed")
_HTTP_OPTIONS = (
    "compress",
    "response",
    "h2_backend",
    "idle_timeout",
    "headers_read_timeout",
    "replay_cache",
)
_DEEPEST = 8


def read_services(top: Table, scope: Scope) -> list[Scoped[Wire]]:
    """Every service of fly.toml in the API's shape, [http_service] first, with its groups."""
    http = top.table("http_service")
    services = scope.each([] if http is None else [http], _http_service, unsaid="only")
    # An empty section is how older tools wrote "none".
    written = [one for one in top.tables("services") if one]
    return services + scope.each(written, _service, unsaid="only")


def clashing_ports(services: Iterable[Scoped[Wire]], group: str) -> list[Problem]:
    """Ports that more than one service port of a group listens on."""
    taken = sorted(
        (service.value["protocol"], *_range(port), f"{service.path}.ports[{index}]")
        for service in services
        if group in service.groups
        for index, port in enumerate(service.value["ports"])
        if _range(port) != (0, 0)
    )
    problems = []
    widest = ("", 0, 0, "")
    for one in taken:
        protocol, first, last, path = one
        if protocol == widest[0] and first <= widest[2]:
            what = (
                f"listens on {protocol} port {first} in group {shown(group)}, as {widest[3]} does"
            )
            problems.append(Problem(path, what, "give one of them another port"))
        if protocol != widest[0] or last > widest[2]:
            widest = one
    return problems


def shared_ports(services: Iterable[Scoped[Wire]]) -> list[Problem]:
    """Ports that entries for different groups listen on: a connection goes to any of them."""
    taken: dict[tuple[str, int], Scoped[Wire]] = {}
    shared = []
    for service in services:
        for index, port in enumerate(service.value["ports"]):
            first, _ = _range(port)
            other = taken.setdefault((service.value["protocol"], first), service)
            if first and other.groups and set(other.groups).isdisjoint(service.groups):
                what = (
                    f"listens on {service.value['protocol']} port {first}, as {other.path} does "
                    f"for group {shown(other.groups[0])}: a connection goes to either group"
                )
                path = f"{service.path}.ports[{index}]"
                fix = "give one of them another port"
                shared.append(Problem(path, what, fix, is_fatal=False))
    return shared


def _range(port: Wire) -> tuple[int, int]:
    """The first and the last port that one [[services.ports]] takes; zeros when it is wrong."""
    if "port" in port:
        return port["port"], port["port"]
    return port.get("start_port", 0), port.get("end_port", 65535) if "start_port" in port else 0


def _http_service(entry: Table) -> Wire:
    http_options = _passed_on(entry, "http_options", _HTTP_OPTIONS)
    tls_options = _passed_on(entry, "tls_options", _TLS_OPTIONS)
    plain = {"port": 80, "handlers": ["http"], "force_https": entry.flag("force_https") or None}
    secure = {"port": 443, "handlers": ["http", "tls"], "tls_options": tls_options}
    checks = [service_check(check, "http") for check in entry.tables("checks")]
    return said(
        protocol="tcp",
        internal_port=entry.port("internal_port") or DEFAULT_INTERNAL_PORT,
        ports=[said(**port, http_options=http_options) for port in (plain, secure)],
        checks=checks or None,
        **_scaling(entry),
    )


def _service(entry: Table) -> Wire:
    entry.leave("check the machine by a command that runs in it", "script_checks")
    checks = [service_check(check, "tcp") for check in entry.tables("tcp_checks")]
    checks += [service_check(check, "http") for check in entry.tables("http_checks")]
    entry.require("internal_port", example=f"internal_port = {DEFAULT_INTERNAL_PORT}")
    return said(
        protocol=entry.text("protocol", one_of=_PROTOCOLS) or "tcp",
        internal_port=entry.port("internal_port"),
        ports=[_port(port) for port in entry.tables("ports")],
        checks=checks or None,
        **_scaling(entry),
    )


def _scaling(entry: Table) -> Wire:
    """What the platform's proxy needs to start, stop and load the machines of a service."""
    entry.skip("machine_checks")  # `machine_checks` reads them
    stop = entry.value("auto_stop_machines")
    if isinstance(stop, bool):
        stop = "stop" if stop else "off"
    else:
        stop = entry.text("auto_stop_machines", one_of=_AUTOSTOP)
    limits = entry.table("concurrency")
    if limits is not None:
        concurrency = said(
            type=limits.text("type", one_of=("connections", "requests")),
            hard_limit=limits.integer("hard_limit"),
            soft_limit=limits.integer("soft_limit"),
        )
        limits.end()
    return {
        "autostop": stop,
        "autostart": entry.flag("auto_start_machines"),
        "min_machines_running": entry.integer("min_machines_running"),
        "concurrency": None if limits is None else concurrency,
    }


def _port(entry: Table) -> Wire:
    port = entry.port("port")
    start, end = entry.port("start_port"), entry.port("end_port")
    entry.require("port", "start_port", example="port = 443, or start_port and end_port")
    if start is not None and end is not None and start > end:
        entry.problem("end_port", "is below start_port", "write the larger port last")
    wire = said(
        port=port,
        start_port=start,
        end_port=end,
        handlers=entry.texts("handlers"),
        force_https=entry.flag("force_https"),
        tls_options=_passed_on(entry, "tls_options", _TLS_OPTIONS),
        http_options=_passed_on(entry, "http_options", _HTTP_OPTIONS),
        proxy_proto_options=_passed_on(entry, "proxy_proto_options", ("version",)),
    )
    entry.end()
    return wire


def _passed_on(entry: Table, key: str, known: tuple[str, ...]) -> Wire | None:
    """Options that the platform reads and we do not: known keys, values as they are."""
    table = entry.table(key)
    if table is None:
        return None
    options = {name: _plain(table, name, table.value(name), _DEEPEST) for name in known}
    table.end()
    return said(**options)


def _plain(table: Table, key: str, value: Any, depth: int) -> Any:
    """The value as JSON has it; dates, and what is nested too deep, are problems."""
    match value:
        case dict() if depth:
            return {name: _plain(table, key, item, depth - 1) for name, item in value.items()}
        case list() if depth:
            return [_plain(table, key, item, depth - 1) for item in value]
        case None | bool() | str():
            return value
        case int() if abs(value) < 2**63:
            return value
        case Decimal() if math.isfinite(value):
            return float(value)
    table.problem(key, "holds a value that the platform cannot take", "remove it")
    return None
