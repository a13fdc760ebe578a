"""fly.toml, read: what the machines of each process group should be.

Pure: a text goes in, frozen values or every problem at once come out. What a
section means, and what it means when it is missing, is what Fly.io's
configuration reference says (https://fly.io/docs/reference/configuration/) and
flyctl does. Knows nothing of images beyond their name, of regions, of volumes'
ids or of machines that exist.
"""

from __future__ import annotations

import copy
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, DecimalException
from typing import Any

from deploy.api.machine import RESERVED_GROUPS
from deploy.errors import UsageProblem
from deploy.flytoml.checks import read_checks
from deploy.flytoml.durations import NS_PER_S
from deploy.flytoml.guest import read_guest
from deploy.flytoml.machine_checks import read_machine_checks
from deploy.flytoml.parts import (
    read_commands,
    read_env,
    read_files,
    read_guests,
    read_init,
    read_metrics,
    read_mounts,
    read_restarts,
    read_statics,
    read_stop_config,
)
from deploy.flytoml.scope import DEFAULT_GROUP, Scope, Scoped, T, the_one
from deploy.flytoml.services import clashing_ports, read_services, shared_ports
from deploy.flytoml.tables import Problem, Table, Wire, said, shown
from deploy.plan.group import Group, MachineCheck
from deploy.plan.strategies import STRATEGY_NAMES

_LARGEST_FILE_BYTES = 1024 * 1024
_MOST_GROUPS = 100
_LARGEST_COUNT = 2**31
_MOST_SHOWN = 20
_APP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
# tomllib needs time by the square of a dotted key's length.
_LONG_KEY = re.compile(r"""(?<![\w.-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){65}""")
_OTHER_BUILDERS = (
    "builder",
    "buildpacks",
    "settings",
    "builtin",
    "compression",
    "compression_level",
)


class AppConfigProblem(UsageProblem):
    """fly.toml cannot be used as it is: all that is wrong with it, at once."""

    def __init__(self, name: str, problems: tuple[Problem, ...]) -> None:
        if len(problems) == 1:
            one = problems[0]
            super().__init__(f"{name}: {one.path}: {one.what}", hint=one.fix)
        else:
            lines = [f"  {problem}" for problem in problems[:_MOST_SHOWN]]
            if len(problems) > _MOST_SHOWN:
                lines.append(f"  and {len(problems) - _MOST_SHOWN} more")
            message = "\n".join([f"{name} has {len(problems)} problems:", *lines])
            super().__init__(message, hint=f"fix these in {name} and run the command again")
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploySection:
    """[deploy], where None is what fly.toml does not say.

    `max_unavailable` below 1 is a fraction of a group, 1 and above a count.
    `release_command_guest` is the size of the release command's machine, as in
    `Group.config`.
    """

    strategy: str | None = None
    max_unavailable: Decimal | int | None = None
    wait_timeout_s: float | None = None
    release_command: str | None = None
    release_command_timeout_s: float | None = None  # infinite for "none"
    release_command_guest: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSection:
    """[build], where it says how an image is built; "" and no `args` is what it does not say.

    `dockerfile` and `ignorefile` are paths from the directory of fly.toml.
    """

    dockerfile: str = ""
    ignorefile: str = ""
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppConfig:
    """A whole fly.toml; `image` and `build` are of [build], `groups` are in the file's order.

    `build` is None where [build] says nothing about building.

    `warnings` are about what can be deployed, and may not be meant.
    """

    app: str | None
    primary_region: str | None
    image: str | None
    build: BuildSection | None = None
    groups: tuple[Group, ...]
    deploy: DeploySection
    warnings: tuple[str, ...] = ()


def parse(
    text: str,
    *,
    name: str = "fly.toml",
    read_file: Callable[[str], bytes] | None = None,
) -> AppConfig:
    """The configuration that `text` describes; `AppConfigProblem` with all that is wrong.

    `name` is what messages call the file. `read_file` gives the content of a
    `local_path` of [[files]], a path as fly.toml writes it, or raises OSError.
    """
    problems: list[Problem] = []
    top = Table(_load(text, name), "", problems)
    image, build = _build(top)
    config = AppConfig(
        app=_app(top),
        primary_region=top.text("primary_region") or None,
        image=image,
        build=build,
        groups=_groups(top, read_file, problems),
        deploy=_deploy_section(top),
    )
    top.refuse("machine_config", "a configuration beside fly.toml, which is not read here")
    top.skip("console_command")
    top.leave("choose the container that the platform's tools speak to", "container")
    top.end()
    found = tuple(dict.fromkeys(problems))
    if fatal := tuple(problem for problem in found if problem.is_fatal):
        raise AppConfigProblem(name, fatal)
    return replace(config, warnings=tuple(f"{name}: {problem}" for problem in found))


def _load(text: str, name: str) -> dict[str, Any]:
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise UsageProblem(f"{name} is not UTF-8 text", hint="save it as UTF-8") from None
    if size_bytes > _LARGEST_FILE_BYTES:
        hint = "a fly.toml is a few kilobytes; large files belong into the image"
        raise UsageProblem(f"{name} is larger than 1 MiB", hint=hint)
    if _LONG_KEY.search(text):
        raise UsageProblem(f"{name} has a key of more than 64 parts", hint="shorten it")
    try:
        return tomllib.loads(text, parse_float=_number)
    except tomllib.TOMLDecodeError as error:
        raise UsageProblem(
            f"{name} is not TOML: {error}", hint="fix that line; https://toml.io has the grammar"
        ) from None
    except RecursionError:
        hint = "no key of fly.toml needs that"
        raise UsageProblem(f"{name} is nested too deep", hint=hint) from None
    except ValueError as error:  # a number with thousands of digits
        raise UsageProblem(f"{name} cannot be read: {error}", hint="shorten that number") from None


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except DecimalException:  # an exponent beyond all bounds
        return Decimal("NaN")


def _app(top: Table) -> str | None:
    app = top.text("app") or None
    if app is not None and not _APP_NAME.fullmatch(app):
        fix = "an app's name is made of letters, digits and dashes"
        top.problem("app", f"is {shown(app)}, which is not an app name", fix)
    return app


def _build(top: Table) -> tuple[str | None, BuildSection | None]:
    """The image that [build] names, and how it says that one is built."""
    build = top.table("build")
    if build is None:
        return None, None
    image = build.text("image") or None
    args = build.table("args")
    section = BuildSection(
        dockerfile=build.text("dockerfile") or "",
        ignorefile=build.text("ignorefile") or "",
        target=build.text("build-target") or build.text("build_target") or "",
        args={} if args is None else {name: args.scalar(name) for name in args.names()},
    )
    build.refuse("compose", "several containers in a machine, which are not deployed here")
    build.leave("build without a Dockerfile, or by other means", *_OTHER_BUILDERS)
    build.end()
    return image, section if section != BuildSection() else None


def _deploy_section(top: Table) -> DeploySection:
    section = top.table("deploy")
    if section is None:
        return DeploySection()
    section.command("release_command")
    guest = section.table("release_command_vm")
    read = DeploySection(
        strategy=section.text("strategy", one_of=STRATEGY_NAMES),
        max_unavailable=_max_unavailable(section),
        wait_timeout_s=_seconds(section, "wait_timeout"),
        release_command=section.text("release_command") or None,
        release_command_timeout_s=_seconds_or_none(section, "release_command_timeout"),
        release_command_guest=None if guest is None else read_guest(guest),
    )
    section.leave("run once, after the first deploy", "seed_command")
    section.end()
    return read


def _max_unavailable(section: Table) -> Decimal | int | None:
    key = "max_unavailable"
    value = section.value(key)
    if value is None:
        return None
    what = "is not a number"
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        is_finite = not isinstance(value, Decimal) or value.is_finite()
        if is_finite and 0 < value < 1:
            return value
        if is_finite and 1 <= value < _LARGEST_COUNT and value == int(value):
            return int(value)
        what = "lets no machine be updated" if value == 0 else "is neither a fraction nor a count"
    section.problem(key, what, "write a fraction of a group, 0.33 say, or a count, 1 say")
    return None


def _seconds(section: Table, key: str) -> float | None:
    duration_ns = section.duration_ns(key)
    return None if duration_ns is None else duration_ns / NS_PER_S


def _seconds_or_none(section: Table, key: str) -> float | None:
    """Like `_seconds`, where "none" is a time that never ends."""
    return math.inf if section.value(key) == "none" else _seconds(section, key)


def _groups(
    top: Table, read_file: Callable[[str], bytes] | None, problems: list[Problem]
) -> tuple[Group, ...]:
    commands = read_commands(top)
    for name in commands:
        if name in RESERVED_GROUPS:
            top.problem("processes", f"names {name}, which the platform reserves", "rename it")
    if len(commands) > _MOST_GROUPS:
        top.problem("processes", f"names over {_MOST_GROUPS} groups", "split the app")
        commands = {DEFAULT_GROUP: None}
    sections = _Sections.read(top, Scope(tuple(commands)), read_file)
    problems += shared_ports(sections.services)
    return tuple(sections.group(name, command, problems) for name, command in commands.items())


@dataclass(frozen=True, slots=True)
class _Sections:
    """What fly.toml says, still for all groups together."""

    services: list[Scoped[Wire]]
    checks: list[Scoped[Wire]]
    mounts: list[Scoped[Wire]]
    files: list[Scoped[Wire]]
    restarts: list[Scoped[Wire]]
    metrics: list[Scoped[Wire]]
    machine_checks: list[Scoped[MachineCheck]]
    named_guests: list[Scoped[Wire]]
    other_guests: list[Scoped[Wire]]
    statics: list[Wire]
    env: dict[str, str]
    init: Wire
    stop_config: Wire

    @classmethod
    def read(cls, top: Table, scope: Scope, read_file: Callable[[str], bytes] | None) -> _Sections:
        services = read_services(top, scope)
        http = next((one for one in services if one.path == "http_service"), None)
        named_guests, other_guests = read_guests(top, scope)
        stop_config = read_stop_config(top)
        return cls(
            services=services,
            checks=read_checks(top, scope, http),
            mounts=read_mounts(top, scope),
            files=read_files(top, scope, read_file),
            restarts=read_restarts(top, scope),
            metrics=read_metrics(top, scope),
            named_guests=named_guests,
            other_guests=other_guests,
            statics=read_statics(top),
            env=read_env(top),
            init=read_init(top),
            stop_config=stop_config,
            machine_checks=read_machine_checks(top, scope, stop_config),
        )

    def group(self, name: str, command: list[str] | None, problems: list[Problem]) -> Group:
        problems += clashing_ports(self.services, name)
        mount = the_one(self.mounts, name, problems)
        guest = the_one(self.named_guests, name, problems)
        other_guest = the_one(self.other_guests, name, problems)
        owned = {
            "env": {**self.env, "FLY_PROCESS_GROUP": name},
            "services": _of(self.services, name),
            "checks": {key: one for check in _of(self.checks, name) for key, one in check.items()},
            "init": {**self.init, **said(cmd=command)},
            "mounts": [] if mount is None else [mount],
            "files": _of(self.files, name),
            "restart": the_one(self.restarts, name, problems) or {},
            "stop_config": self.stop_config,
        }
        when_named = said(
            guest=guest or other_guest,
            metrics=the_one(self.metrics, name, problems),
            statics=self.statics or None,
        )
        # A copy, so that no two groups share a value that somebody could change.
        config = copy.deepcopy({**owned, **when_named})
        return Group(name=name, config=config, machine_checks=_once(self.machine_checks, name))


def _of(entries: list[Scoped[T]], group: str) -> list[T]:
    return [entry.value for entry in entries if group in entry.groups]


def _once(entries: list[Scoped[T]], group: str) -> tuple[T, ...]:
    """Those of the group, in their order; what two entries say alike is there once."""
    found: list[T] = []
    for value in _of(entries, group):
        if value not in found:
            found.append(value)
    return tuple(found)
