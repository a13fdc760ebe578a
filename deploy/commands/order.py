"""A deploy as it was asked for: the options of a command line, and the release they describe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

from deploy.commands.running import leave_at_once
from deploy.commands.target import Target, refuse_unsendable
from deploy.commands.values import ALL
from deploy.errors import UsageProblem
from deploy.flytoml.appconfig import AppConfig
from deploy.plan.group import Group
from deploy.plan.release import DEFAULT_MAX_UNAVAILABLE, RESUME, Release
from deploy.plan.selection import Selection
from deploy.plan.strategies import DEFAULT, strategy_named
from deploy.run import Settings

_SHORT = 500  # characters of environment that go onto the platform beside a deploy's intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A deploy as it was asked for. None means not given.

    `deploy_id` is empty unless something was named for the deploy before it began.
    """

    deploy_id: str = ""
    image: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    strategy: str | None = None
    max_unavailable: Decimal | int | None = None
    retries: int | None = None
    flags: str | None = None
    flags_by_option: bool = False
    force: bool = False
    high_availability: bool = True
    update_only: bool = False
    wait_timeout_s: float | None = None
    runs_release_command: bool = True
    settings: Settings = field(default_factory=Settings)


def order_of(options: Mapping[str, Any]) -> Order:
    """What was asked for on a command line; an option is named for the field that it sets."""
    flags = options.get("flags")
    settings = Settings(
        **_given(Settings, options),
        selection=Selection(**_given(Selection, options)),
        leave_at_once=leave_at_once,
    )
    of_run = {"flags", "settings"}
    return Order(
        **{name: value for name, value in _given(Order, options).items() if name not in of_run},
        flags=flags or os.environ.get("ROLLOUT_FLAGS") or None,
        flags_by_option=bool(flags),
        settings=settings,
    )


def _given(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in options.items() if name in names and value is not None}


def release_of(target: Target, order: Order, deploy_id: str) -> Release:
    """The release that fly.toml and the options describe. Raises UsageProblem without an image."""
    config = target.config
    if config is None:
        raise UsageProblem("a deploy needs fly.toml")
    selection = order.settings.selection
    unavailable = order.max_unavailable or config.deploy.max_unavailable
    return Release(
        app=target.app,
        deploy_id=deploy_id,
        image=_image(order, config),
        groups=_groups(order, config),
        strategy=_strategy(order, config),
        max_unavailable=unavailable or DEFAULT_MAX_UNAVAILABLE,
        region=config.primary_region or "",
        high_availability=order.high_availability,
        force=order.force,
        update_only=order.update_only or not selection.is_everything,
        finish=finish_of(order),
    )


def finish_of(order: Order) -> tuple[str, ...]:
    """The words of the command that goes on with the deploy: they say what it is about.

    They are written to the platform as metadata, whose size Fly.io does not document: an
    environment too long for them is left out, and has to be known to go on.
    """
    pairs = [f"{key}={value}" for key, value in sorted(order.env.items())]
    is_short = sum(map(len, pairs)) <= _SHORT
    selection = order.settings.selection
    selected = {each.name: getattr(selection, each.name) for each in fields(selection)}
    given = {
        "--update-only": order.update_only,
        "--no-ha": not order.high_availability,
        "--force": order.force,
    }
    return (
        *RESUME,
        *(
            word
            for name, names in selected.items()
            if names
            for word in (f"--{name.replace('_', '-')}", ",".join(sorted(names)))
        ),
        *(word for word, is_given in given.items() if is_given),
        *(word for pair in pairs if is_short for word in ("--env", pair)),
    )


def terms_of(order: Order) -> tuple[str, ...]:
    """The options of a run that the command which follows it has to have as well."""
    settings, usual = order.settings, Settings()
    unavailable = "100%" if order.max_unavailable == ALL else order.max_unavailable
    given = (
        ("--max-unavailable", unavailable, None),
        ("--wait-timeout", _seconds(order.wait_timeout_s), None),
        ("--min-healthy", _seconds(settings.min_healthy_s), _seconds(usual.min_healthy_s)),
        ("--lease-timeout", _seconds(settings.lease_ttl_s), _seconds(usual.lease_ttl_s)),
        ("--max-concurrent", settings.max_concurrent, usual.max_concurrent),
    )
    return tuple(
        word
        for name, value, default in given
        if value not in (None, default)
        for word in (name, str(value))
    )


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:g}s"


def _image(order: Order, config: AppConfig) -> str:
    image = order.image or config.image
    if not image:
        raise UsageProblem(
            "no image to deploy",
            hint="name one with --image, in fly.toml as [build] image, or in DEPLOY_IMAGE; "
            "or build one: `deploy --build`",
        )
    refuse_unsendable("the image", image)
    if any(character.isspace() for character in image):
        raise UsageProblem(
            f"{image!r} is not an image reference", hint="an image reference has no white space"
        )
    return image


def _groups(order: Order, config: AppConfig) -> tuple[Group, ...]:
    """The selected process groups, with --env on top of their own."""
    for key, value in order.env.items():
        refuse_unsendable(f"--env {key}", key + value)
    selected = order.settings.selection.process_groups
    if unknown := selected - {group.name for group in config.groups}:
        raise UsageProblem(
            f"fly.toml has no process group {', '.join(sorted(unknown))}",
            hint=f"its groups are {', '.join(group.name for group in config.groups)}",
        )
    return tuple(
        replace(g, config={**g.config, "env": {**g.config["env"], **order.env}})
        for g in config.groups
        if not selected or g.name in selected
    )


def _strategy(order: Order, config: AppConfig) -> str:
    strategy = order.strategy or config.deploy.strategy or DEFAULT
    if not order.settings.waits_for_health and strategy_named(strategy).extras is not None:
        raise UsageProblem(
            f"strategy {strategy} waits for health, and --detach does not",
            hint="leave --detach out, or use --strategy rolling or immediate",
        )
    return strategy
