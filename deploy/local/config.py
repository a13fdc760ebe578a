"""A machine's configuration: checked, made canonical, and read.

Only the keys that the local platform acts on are typed here. Every other key
travels untouched, as on the real platform, which also hands configurations
back changed: with `dns`, defaults and nulls added and durations rewritten.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, TypeVar

import msgspec

from deploy.flytoml.durations import NS_PER_S, format_duration, parse_duration_ns
from deploy.local.refusals import invalid

T = TypeVar("T")

DEFAULT_STOP_SIGNAL = "SIGINT"
DEFAULT_STOP_TIMEOUT_S = 5.0
DEFAULT_MAX_RETRIES = 10
_POLICIES = ("no", "always", "on-failure", "spot-price")
_CHECK_DURATIONS = ("interval", "timeout", "grace_period")
_LONGEST_NS = 10 * 365 * 24 * 3600 * NS_PER_S
_FILLED_IN: Mapping[str, Mapping[str, Any]] = {
    "init": {},
    "env": {},
    "metadata": {},
    "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
    "restart": {"policy": "on-failure", "max_retries": DEFAULT_MAX_RETRIES},
}

PortNumber = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Seconds(float):
    """A duration in seconds; on the wire it is Go's text, such as "1m30s"."""


class Header(msgspec.Struct, frozen=True):
    name: str = ""
    values: tuple[str, ...] | None = None


class Check(msgspec.Struct, frozen=True):
    """One health check."""

    type: str | None = None
    port: PortNumber | None = None
    interval_s: Seconds | None = msgspec.field(default=None, name="interval")
    timeout_s: Seconds | None = msgspec.field(default=None, name="timeout")
    grace_period_s: Seconds | None = msgspec.field(default=None, name="grace_period")
    method: str | None = None
    path: str | None = None
    protocol: str | None = None
    headers: tuple[Header, ...] | None = None
    tls_skip_verify: bool | None = None
    tls_server_name: str | None = None


class Port(msgspec.Struct, frozen=True):
    port: PortNumber | None = None
    start_port: PortNumber | None = None
    end_port: PortNumber | None = None
    handlers: tuple[str, ...] | None = None


class Service(msgspec.Struct, frozen=True):
    protocol: str | None = None
    internal_port: PortNumber | None = None
    ports: tuple[Port, ...] | None = None
    checks: tuple[Check, ...] | None = None


class Init(msgspec.Struct, frozen=True):
    exec: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None

    @property
    def argv(self) -> tuple[str, ...]:
        return self.exec or (*(self.entrypoint or ()), *(self.cmd or ()))


class Restart(msgspec.Struct, frozen=True):
    policy: str | None = None
    max_retries: int | None = None


class Mount(msgspec.Struct, frozen=True):
    volume: str | None = None
    path: str | None = None


class Guest(msgspec.Struct, frozen=True):
    cpus: int | None = None
    memory_mb: int | None = None


class File(msgspec.Struct, frozen=True):
    """A file that is put into the machine; `raw_value` is base64."""

    guest_path: str = ""
    raw_value: str | None = None
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o7777)] | None = None


class StopConfig(msgspec.Struct, frozen=True):
    signal: str | int | None = None
    timeout_s: Seconds | None = msgspec.field(default=None, name="timeout")


class Config(msgspec.Struct, frozen=True, dict=True):
    """The keys of a configuration that decide what the machine does."""

    image: str | None = None
    env: dict[str, str] | None = None
    metadata: dict[str, str] | None = None
    init: Init | None = None
    processes: tuple[Init, ...] | None = None
    services: tuple[Service, ...] | None = None
    checks: dict[str, Check] | None = None
    mounts: tuple[Mount, ...] | None = None
    guest: Guest | None = None
    files: tuple[File, ...] | None = None
    restart: Restart | None = None
    stop_config: StopConfig | None = None
    auto_destroy: bool | None = None

    @property
    def command(self) -> Init:
        """`init`, or where that says nothing the first of `processes`."""
        own = self.init or Init()
        return own if own.argv or not self.processes else self.processes[0]

    @property
    def argv(self) -> tuple[str, ...]:
        """The whole command; empty if there is none."""
        return self.command.argv

    @property
    def group(self) -> str:
        return (self.metadata or {}).get("fly_process_group", "")

    @cached_property
    def named_checks(self) -> dict[str, Check]:
        """Every check by the name under which its result is shown, as the platform names them."""
        found = dict(self.checks or {})
        for service in self.services or ():
            for check in service.checks or ():
                port = check.port or service.internal_port
                kind = check.type or "tcp"
                name = f"servicecheck-{len(found) - len(self.checks or {}):02d}-{kind}-{port}"
                found[name] = msgspec.structs.replace(check, port=port)
        return found

    @cached_property
    def internal_ports(self) -> tuple[int, ...]:
        """The ports the app listens on: its services' first, then its checks'."""
        of_services = [service.internal_port for service in self.services or ()]
        of_checks = [check.port for check in self.named_checks.values()]
        return tuple(dict.fromkeys(port for port in of_services + of_checks if port))

    @property
    def stop_signal(self) -> str:
        wanted = self.stop_config.signal if self.stop_config else None
        return signal_name(wanted) if wanted else DEFAULT_STOP_SIGNAL

    @property
    def stop_timeout_s(self) -> float:
        given_s = self.stop_config.timeout_s if self.stop_config else None
        return DEFAULT_STOP_TIMEOUT_S if given_s is None else given_s

    def wants_restart(self, exit_code: int, restarts: int) -> bool:
        """Whether its policy starts it again after an exit that nobody asked for."""
        restart = self.restart or Restart()
        limit = DEFAULT_MAX_RETRIES if restart.max_retries is None else restart.max_retries
        match restart.policy or "on-failure":
            case "always":
                return True
            case "on-failure":
                return exit_code != 0 and restarts < limit
            case _:
                return False


def accept(raw: Mapping[str, Any]) -> tuple[dict[str, Any], Config]:
    """What the platform keeps of a configuration that was sent, and its typed reading.

    Raises Refusal (400) that names the key that is wrong.
    """
    config = convert(raw, Config, "config")
    _check_values(config)
    kept: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(raw))
    _normalise(kept)
    return kept, convert(kept, Config, "config")


def convert(raw: Any, kind: type[T], what: str, *, strict: bool = True) -> T:
    """`raw` read as `kind`, from text too if not `strict`; Refusal (400) names the place."""
    try:
        return msgspec.convert(raw, kind, strict=strict, dec_hook=_read_duration)
    except msgspec.ValidationError as error:
        raise invalid(str(error).replace("`$", f"`{what}")) from None


def signal_name(value: str | int) -> str:
    """ "SIGTERM" from "SIGTERM", "TERM" or 15. Raises Refusal (400)."""
    try:
        if isinstance(value, int):
            return signals.Signals(value).name
        name = value.upper() if value.upper().startswith("SIG") else f"SIG{value.upper()}"
        return signals.Signals[name].name
    except (ValueError, KeyError):
        raise invalid(f"{str(value)[:20]!r} is not a signal: write it like SIGTERM") from None


def _read_duration(_kind: type[Any], text: Any) -> Seconds:
    """What msgspec asks for `Seconds`, the only type here that it does not know."""
    if not isinstance(text, str):
        raise ValueError('a duration is text such as "15s"')
    return Seconds(_duration_ns(text) / NS_PER_S)


def _duration_ns(text: str) -> int:
    duration_ns = parse_duration_ns(text)
    if not 0 <= duration_ns <= _LONGEST_NS:
        raise ValueError("a duration is at least 0 and at most ten years")
    return duration_ns


def _check_values(config: Config) -> None:
    """What the types alone do not say."""
    if config.stop_config and config.stop_config.signal:
        signal_name(config.stop_config.signal)
    if config.restart and (config.restart.policy or "no") not in _POLICIES:
        raise invalid(f"config.restart.policy must be one of {', '.join(_POLICIES)}")
    for name, check in config.named_checks.items():
        if check.type not in (None, "tcp", "http"):
            raise invalid(f"check {name!r}: type must be tcp or http")
    _check_command(config)


def _check_command(config: Config) -> None:
    """What no process could be started with."""
    for name, value in (config.env or {}).items():
        if not name or "=" in name or "\0" in name + value:
            raise invalid(f"config.env: {name[:40]!r} cannot be an environment variable")
    if any("\0" in argument for argument in config.argv):
        raise invalid("config.init: a command cannot hold a null character")


def _normalise(config: dict[str, Any]) -> None:
    """Make it look like the real platform's: never equal to what was sent."""
    config.setdefault("dns", {})
    for key, usual in _FILLED_IN.items():
        if config.get(key) is None:
            config[key] = dict(usual)
    _rewrite_durations(config.get("stop_config") or {}, ("timeout",))
    checks = list((config.get("checks") or {}).values())
    for service in config.get("services") or ():
        service.setdefault("protocol", "tcp")
        service.setdefault("force_instance_key", None)
        checks += service.get("checks") or ()
    for check in checks:
        _rewrite_durations(check, _CHECK_DURATIONS)
        check.setdefault("headers", None)


def _rewrite_durations(of: dict[str, Any], keys: Iterable[str]) -> None:
    """Spell them as Go prints them."""
    for key in keys:
        if of.get(key):
            of[key] = format_duration(_duration_ns(of[key]))
