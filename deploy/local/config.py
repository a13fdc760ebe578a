"""A machine's configuration: checked, made canonical, and read.

Only the keys that the local platform acts on are typed here. Every other key
travels untouched, as on the real platform, which also hands configurations
back changed: with `dns`, defaults and nulls added and durations rewritten.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from deploy.local import durations
from deploy.local.refusals import invalid

T = TypeVar("T")

DEFAULT_STOP_SIGNAL = "SIGINT"
DEFAULT_STOP_TIMEOUT_S = 5.0
DEFAULT_MAX_RETRIES = 10
_POLICIES = ("no", "always", "on-failure", "spot-price")


class Header(msgspec.Struct, frozen=True):
    name: str = ""
    values: tuple[str, ...] | None = None


class Check(msgspec.Struct, frozen=True):
    """One health check; durations are Go's text, see `deploy.local.durations`."""

    type: str | None = None
    port: int | None = None
    interval: str | None = None
    timeout: str | None = None
    grace_period: str | None = None
    method: str | None = None
    path: str | None = None
    protocol: str | None = None
    headers: tuple[Header, ...] | None = None
    tls_skip_verify: bool | None = None
    tls_server_name: str | None = None


class Port(msgspec.Struct, frozen=True):
    port: int | None = None
    start_port: int | None = None
    end_port: int | None = None
    handlers: tuple[str, ...] | None = None


class Service(msgspec.Struct, frozen=True):
    protocol: str | None = None
    internal_port: int | None = None
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


class StopConfig(msgspec.Struct, frozen=True):
    signal: str | int | None = None
    timeout: str | None = None


class Config(msgspec.Struct, frozen=True, dict=True):
    """The keys of a configuration that decide what the machine does."""

    image: str | None = None
    env: dict[str, str] | None = None
    metadata: dict[str, str] | None = None
    init: Init | None = None
    processes: tuple[Init, ...] | None = None
    services: tuple[Service, ...] | None = None
    checks: dict[str, Check] | None = None
    restart: Restart | None = None
    stop_config: StopConfig | None = None
    auto_destroy: bool | None = None

    @property
    def argv(self) -> tuple[str, ...]:
        """The command: `init`, or the first of `processes`; empty if there is none."""
        own = self.init.argv if self.init else ()
        return own or (self.processes[0].argv if self.processes else ())

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
        text = self.stop_config.timeout if self.stop_config else None
        return durations.parse_s(text) if text else DEFAULT_STOP_TIMEOUT_S

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
    typed = convert(raw, Config, "config")
    _check_values(typed)
    kept: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(raw))
    _normalise(kept)
    return kept, convert(kept, Config, "config")


def convert(raw: Any, kind: type[T], what: str) -> T:
    """`raw` read as `kind`. Raises Refusal (400) that names the place, e.g. `config.env`."""
    try:
        return msgspec.convert(raw, kind)
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


def duration_s(text: str, where: str) -> float:
    """Seconds. Raises Refusal (400) that names the key."""
    try:
        return durations.parse_s(text)
    except ValueError as error:
        raise invalid(f"{where}: {error}") from None


def _check_values(config: Config) -> None:
    stop = config.stop_config or StopConfig()
    if stop.signal:
        signal_name(stop.signal)
    if stop.timeout:
        duration_s(stop.timeout, "config.stop_config.timeout")
    if config.restart and (config.restart.policy or "no") not in _POLICIES:
        raise invalid(f"config.restart.policy must be one of {', '.join(_POLICIES)}")
    for service in config.services or ():
        _check_service(service)
    for name, check in config.named_checks.items():
        _check_check(check, name)
    for name, value in (config.env or {}).items():
        if not name or "=" in name or "\0" in name + value:
            raise invalid(f"config.env: {name[:40]!r} cannot be an environment variable")
    if any("\0" in argument for argument in config.argv):
        raise invalid("config.init: a command cannot hold a null character")


def _check_service(service: Service) -> None:
    _check_port(service.internal_port, "config.services[].internal_port")
    for port in service.ports or ():
        for number in (port.port, port.start_port, port.end_port):
            _check_port(number, "config.services[].ports[]")


def _check_check(check: Check, name: str) -> None:
    where = f"check {name!r}"
    _check_port(check.port, where)
    if check.type not in (None, "tcp", "http"):
        raise invalid(f"{where}: type must be tcp or http")
    for key in ("interval", "timeout", "grace_period"):
        text = getattr(check, key)
        if text:
            duration_s(text, f"{where}, {key}")


def _check_port(number: int | None, where: str) -> None:
    if number is not None and not 0 < number < 65536:
        raise invalid(f"{where}: {number} is not a port; 1 to 65535 are")


def _normalise(config: dict[str, Any]) -> None:
    """Make it look like the real platform's: never equal to what was sent."""
    config.setdefault("dns", {})
    for key in ("init", "env", "metadata"):
        if config.get(key) is None:
            config[key] = {}
    if config.get("guest") is None:
        config["guest"] = {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}
    if config.get("restart") is None:
        config["restart"] = {"policy": "on-failure", "max_retries": DEFAULT_MAX_RETRIES}
    stop = config.get("stop_config") or {}
    if stop.get("timeout"):
        stop["timeout"] = durations.canonical(stop["timeout"])
    for check in (config.get("checks") or {}).values():
        _normalise_check(check)
    for service in config.get("services") or ():
        service.setdefault("protocol", "tcp")
        service.setdefault("force_instance_key", None)
        for check in service.get("checks") or ():
            _normalise_check(check)


def _normalise_check(check: dict[str, Any]) -> None:
    for key in ("interval", "timeout", "grace_period"):
        if check.get(key):
            check[key] = durations.canonical(check[key])
    check.setdefault("headers", None)
