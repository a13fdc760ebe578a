"""The parts of a machine's configuration beside its services and checks.

Each function reads one section of fly.toml into the Machines API's shape; the
rules are those of Fly.io's configuration reference
(https://fly.io/docs/reference/configuration/).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from deploy.flytoml.durations import NS_PER_S, format_duration
from deploy.flytoml.guest import read_guest
from deploy.flytoml.scope import DEFAULT_GROUP, Scope, Scoped
from deploy.flytoml.tables import Table, Wire, said

_GB = 10**9
_SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGSTOP")
_POLICIES = {"always": "always", "on-failure": "on-failure", "never": "no"}


def read_commands(top: Table) -> dict[str, list[str] | None]:
    """Every process group with its command; None where the image's own command runs."""
    if isinstance(top.value("processes"), list):  # how older tools wrote it
        commands = {}
        for entry in top.tables("processes"):
            name = entry.text("name")
            if name:
                commands[name] = entry.command("command")
            entry.end()
    else:
        section = top.table("processes")
        names = [] if section is None else section.names()
        commands = {name: section.command(name) for name in names if section is not None}
    return commands or {DEFAULT_GROUP: None}


def read_env(top: Table) -> dict[str, str]:
    """[env] as text, with PRIMARY_REGION, which a machine takes from the top of fly.toml."""
    section = top.table("env")
    names = [] if section is None else section.names()
    env = {name: section.scalar(name) for name in names if section is not None}
    region = top.text("primary_region")
    return {**env, "PRIMARY_REGION": region} if region else env


def read_init(top: Table) -> Wire:
    """What [experimental] and swap_size_mb say of a machine's start; `cmd` is for all groups."""
    init = said(swap_size_mb=top.integer("swap_size_mb"))
    section = top.table("experimental")
    if section is None:
        return init
    section.refuse("machine_config", "a configuration beside fly.toml, which is not read here")
    texts = {key: section.texts(key, or_one=True) for key in ("cmd", "entrypoint", "exec")}
    return said(**texts, **init)


def read_stop_config(top: Table) -> Wire:
    timeout_ns = top.duration_ns("kill_timeout", bare_unit_ns=NS_PER_S, at_least_ns=0)
    timeout = None if timeout_ns is None else format_duration(timeout_ns)
    return said(timeout=timeout, signal=top.text("kill_signal", one_of=_SIGNALS))


def read_mounts(top: Table, scope: Scope) -> list[Scoped[Wire]]:
    """Mounts by the name of their volume; which volume it is, each machine knows."""
    return scope.each(top.tables("mount", "mounts"), _mount)


def read_files(
    top: Table, scope: Scope, read_file: Callable[[str], bytes] | None
) -> list[Scoped[Wire]]:
    """Files to write into a machine; one whose source is empty is how flyctl says "none"."""
    files = scope.each(top.tables("files"), lambda entry: _file(entry, read_file), unsaid="all")
    return [file for file in files if len(file.value) > 1]


def read_restarts(top: Table, scope: Scope) -> list[Scoped[Wire]]:
    return scope.each(top.tables("restart"), _restart)


def read_metrics(top: Table, scope: Scope) -> list[Scoped[Wire]]:
    return scope.each(top.tables("metric", "metrics"), _metric)


def read_guests(top: Table, scope: Scope) -> tuple[list[Scoped[Wire]], list[Scoped[Wire]]]:
    """The sizes of [[vm]]: those for named groups, and those for every other group."""
    host = top.text("host_dedication_id") or None
    entries = top.tables("compute", "computes", "vm")
    named, others = (
        scope.each(
            [entry for entry in entries if bool(entry.value("processes")) is is_named],
            lambda entry: read_guest(entry, host_dedication_id=host),
            unsaid="all",
        )
        for is_named in (True, False)
    )
    return named, others


def read_statics(top: Table) -> list[Wire]:
    statics = []
    for entry in top.tables("statics"):
        entry.require("guest_path", example='guest_path = "/app/public"')
        entry.require("url_prefix", example='url_prefix = "/public"')
        keys = ("guest_path", "url_prefix", "tigris_bucket", "index_document")
        statics.append(said(**{key: entry.text(key) for key in keys}))
        entry.end()
    return statics


def _mount(entry: Table) -> Wire:
    entry.require("source", example='source = "data"')
    entry.require("destination", example='destination = "/data"')
    entry.size("initial_size", kilo=1000, unit_bytes=_GB)
    entry.integer("snapshot_retention", at_least=1, at_most=60)
    entry.flag("scheduled_snapshots")
    entry.leave("size a new volume: one that a deploy creates has 1 GB", "initial_size")
    entry.leave("set how snapshots of a new volume are kept", "snapshot_retention")
    entry.leave("let a new volume have snapshots", "scheduled_snapshots")
    return said(
        name=entry.text("source"),
        path=entry.text("destination"),
        extend_threshold_percent=entry.integer(
            "auto_extend_size_threshold", at_least=50, at_most=99
        ),
        add_size_gb=entry.size("auto_extend_size_increment", kilo=1000, unit_bytes=_GB),
        size_gb_limit=entry.size("auto_extend_size_limit", kilo=1000, unit_bytes=_GB),
    )


def _restart(entry: Table) -> Wire:
    entry.require("policy", example='policy = "on-failure"')
    policy = entry.text("policy", one_of=_POLICIES)
    return said(policy=_POLICIES[policy] if policy else None, max_retries=entry.integer("retries"))


def _metric(entry: Table) -> Wire:
    entry.require("port", example="port = 9091")
    return said(port=entry.port("port"), path=entry.text("path"), https=entry.flag("https") or None)


def _file(entry: Table, read_file: Callable[[str], bytes] | None) -> Wire:
    entry.require("guest_path", example='guest_path = "/etc/app.conf"')
    sources = ("raw_value", "local_path", "secret_name")
    entry.require(*sources, example="one of them: local_path = ...")
    raw, local_path, secret_name = (entry.text(key) or None for key in sources)
    if sum(map(bool, (raw, local_path, secret_name))) > 1:
        entry.problem("guest_path", "has more than one source", "keep one of them")
    if local_path:
        raw = _content(entry, local_path, read_file)
    elif raw:
        _check_base64(entry, raw)
    return said(guest_path=entry.text("guest_path"), raw_value=raw, secret_name=secret_name)


def _content(entry: Table, local_path: str, read_file: Callable[[str], bytes] | None) -> str | None:
    if read_file is None:
        entry.problem("local_path", "cannot be read here", "use raw_value")
        return None
    try:
        return base64.b64encode(read_file(local_path)).decode()
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        fix = "name a small regular file; the path is relative to fly.toml"
        entry.problem("local_path", f"cannot be read: {why}", fix)
        return None


def _check_base64(entry: Table, raw: str) -> None:
    try:
        base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        entry.problem("raw_value", "is not base64", "encode it, or name the file in local_path")
