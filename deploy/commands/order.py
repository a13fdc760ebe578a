"""A deploy as it was asked for: the options of a command line, and the release they describe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from deploy.commands.running import leave_at_once
from deploy.commands.target import Target, refuse_unsendable
from deploy.errors import UsageProblem
from deploy.flytoml.appconfig import AppConfig
from deploy.plan.group import Group
from deploy.plan.release import DEFAULT_MAX_UNAVAILABLE, Release
from deploy.plan.selection import Selection
from deploy.plan.strategies import DEFAULT, STRATEGIES
from deploy.retries import parse_setting
from deploy.run import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A deploy as it was asked for. None means not given."""

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


def order_of(options: dict[str, Any]) -> Order:
    lease_s = float(options.get("lease_timeout") or 13)
    if not 5 <= lease_s <= 3600:
        raise UsageProblem(
            f"--lease-timeout is {lease_s:g} s",
            hint="give 5s to 1h: a lease is refreshed every third of it",
        )
    flags = options.get("flags")
    min_healthy_s = options.get("min_healthy")
    defaults = Settings()
    return Order(
        image=options.get("image"),
        env=dict(_pair(text) for text in options.get("env") or ()),
        strategy=options.get("strategy"),
        max_unavailable=options.get("max_unavailable"),
        retries=parse_setting(options["deploy_retries"]),
        flags=flags or os.environ.get("ROLLOUT_FLAGS") or None,
        flags_by_option=bool(flags),
        force=bool(options.get("force")),
        high_availability=options.get("ha", True),
        update_only=bool(options.get("update_only")),
        wait_timeout_s=options.get("wait_timeout"),
        runs_release_command=not options.get("skip_release_command"),
        settings=Settings(
            leave_at_once=leave_at_once,
            selection=_selection(options),
            waits_for_health=not options.get("detach"),
            smoke_s=0.0 if options.get("no_smoke_checks") else defaults.smoke_s,
            min_healthy_s=defaults.min_healthy_s if min_healthy_s is None else min_healthy_s,
            max_concurrent=options.get("max_concurrent") or defaults.max_concurrent,
            lease_ttl_s=int(lease_s),
            deadline_s=options.get("deadline"),
            wait_for_lease_s=options.get("wait_for_lease") or 0.0,
            rolls_back=options.get("on_failure") != "hold",
        ),
    )


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
    )


def _image(order: Order, config: AppConfig) -> str:
    image = order.image or config.image
    if not image:
        raise UsageProblem(
            "no image to deploy",
            hint="name one with --image, in fly.toml as [build] image, or in DEPLOY_IMAGE",
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
        Group(name=g.name, config={**g.config, "env": {**g.config["env"], **order.env}})
        for g in config.groups
        if not selected or g.name in selected
    )


def _strategy(order: Order, config: AppConfig) -> str:
    strategy = order.strategy or config.deploy.strategy or DEFAULT
    if not order.settings.waits_for_health and STRATEGIES[strategy].extras is not None:
        raise UsageProblem(
            f"strategy {strategy} waits for health, and --detach does not",
            hint="leave --detach out, or use --strategy rolling or immediate",
        )
    return strategy


def _selection(options: dict[str, Any]) -> Selection:
    """Every option may be given more than once, and take several names with commas."""

    def names(option: str) -> frozenset[str]:
        texts = options.get(option) or ()
        return frozenset(name.strip() for text in texts for name in text.split(",") if name.strip())

    return Selection(
        only_machines=names("only_machines"),
        exclude_machines=names("exclude_machines"),
        regions=names("regions"),
        exclude_regions=names("exclude_regions"),
        process_groups=names("process_groups"),
    )


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageProblem(f"--env {text!r} is not KEY=VALUE", hint="write --env KEY=value")
    return key, value
