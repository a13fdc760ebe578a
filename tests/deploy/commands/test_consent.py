from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from deploy.commands.consent import bought_volumes, doubts_of_deploy, get_consent
from deploy.commands.order import Order
from deploy.commands.target import Target
from deploy.errors import UsageProblem
from deploy.flytoml.appconfig import parse
from deploy.plan.actions import Create

ELSEWHERE = Target(
    app="hello",
    config=parse('app = "hello"\n[processes]\n  web = "serve"\n'),
    address="https://api.example.test",
    token="",
)
MOUNTED = Create(name="web-1", group="web", region="ams", config={"mounts": [{"name": "data"}]})


def test_an_app_that_buys_and_destroys_nothing_is_not_looked_at() -> None:
    assert anyio.run(doubts_of_deploy, ELSEWHERE, Order(image="hello:v2")) == []


def test_a_volume_that_would_be_created_is_named_with_the_command_that_creates_it() -> None:
    (doubt,) = bought_volumes(ELSEWHERE, [MOUNTED, replace(MOUNTED, name="web-2")], [])
    assert "2 of 1 GB would be created, which costs money" in doubt
    assert "`fly volumes create data --app hello --size 1 --region ams`" in doubt
    assert bought_volumes(ELSEWHERE, [MOUNTED], [("vol_1", "data", "ams")]) == []


def test_off_a_terminal_doubts_are_refused_without_yes() -> None:
    with pytest.raises(UsageProblem, match="costs money") as refused:
        get_consent(["it costs money"], is_given=False)
    assert "--yes" in refused.value.hint
    get_consent(["it costs money"], is_given=True)
    get_consent([], is_given=False)
