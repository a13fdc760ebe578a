from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

import click

from deploy.commands.options import BUILD, DEPLOY, NOTIFY
from deploy.commands.order import Order, order_of
from deploy.plan.selection import Selection
from deploy.run import Settings


def test_every_option_of_a_deploy_sets_a_field_or_is_known_to_the_run() -> None:
    known = {each.name for kind in (Order, Settings, Selection) for each in fields(kind)}
    for group in DEPLOY:
        for param in group.params:
            if group not in (BUILD, NOTIFY):
                assert param.name in known | {"output", "report_path", "reports", "yes"}


def test_what_is_given_is_what_is_ordered() -> None:
    words = (
        "-i x:1 -e A=b -e C=d=e --detach --no-smoke-checks --skip-release-command --no-ha "
        "--only-machines m1,m2 --only-machines m3 --on-failure hold --lease-timeout 20s "
        "--deploy-retries 3 --max-unavailable 50% --deadline 5m --update-only --force"
    )
    params = [param for group in DEPLOY for param in group.params]
    context = click.Command("deploy", params=params).make_context("deploy", words.split())
    order = order_of(context.params)

    assert (order.image, order.env, order.retries) == ("x:1", {"A": "b", "C": "d=e"}, 3)
    assert (order.force, order.update_only, order.high_availability) == (True, True, False)
    assert (order.runs_release_command, order.max_unavailable) == (False, Decimal("0.5"))
    settings = order.settings
    assert settings.selection.only_machines == frozenset({"m1", "m2", "m3"})
    assert (settings.waits_for_health, settings.smoke_s, settings.rolls_back) == (False, 0.0, False)
    assert (settings.lease_ttl_s, settings.deadline_s) == (20, 300.0)


def test_what_is_not_given_is_left_at_its_default() -> None:
    params = [param for group in DEPLOY for param in group.params]
    context = click.Command("deploy", params=params).make_context("deploy", [])
    order = order_of(context.params)

    assert replace(order.settings, leave_at_once=Settings().leave_at_once) == replace(
        Settings(), leave_at_once=Settings().leave_at_once
    )
    assert (order.retries, order.strategy, order.high_availability) == (None, None, True)
