from __future__ import annotations

from decimal import Decimal
from typing import Any

import click
import pytest

from deploy.commands.options import BUILD, DEPLOY
from deploy.commands.order import Order, finish_of, order_of, terms_of
from deploy.commands.resume import resume_command
from deploy.commands.rollback import rollback_command
from deploy.commands.values import ALL
from deploy.plan.selection import Selection
from deploy.run import Settings


def order(**settings: Any) -> Order:
    return Order(settings=Settings(**settings))


def words_of(command: click.Command, words: tuple[str, ...]) -> dict[str, Any]:
    """What the command makes of these words of a command line."""
    return command.make_context(str(command.name), list(words)).params


@pytest.mark.parametrize(
    ("asked", "finish"),
    [
        (Order(), "resume"),
        (Order(image="x:1", retries=3, strategy="canary"), "resume"),
        (Order(force=True), "resume --force"),
        (Order(env={"B": "2", "A": "1"}), "resume --env A=1 --env B=2"),
        (Order(env={"LONG": 500 * "x"}), "resume"),
        (Order(update_only=True, high_availability=False), "resume --update-only --no-ha"),
        (
            order(selection=Selection(only_machines=frozenset({"b", "a"}))),
            "resume --only-machines a,b",
        ),
        (
            order(
                selection=Selection(
                    regions=frozenset({"fra"}),
                    exclude_regions=frozenset({"syd"}),
                    process_groups=frozenset({"web"}),
                )
            ),
            "resume --regions fra --exclude-regions syd --process-groups web",
        ),
    ],
)
def test_what_goes_on_with_a_deploy_says_what_it_is_about(asked: Order, finish: str) -> None:
    words = finish_of(asked)
    assert " ".join(words) == finish
    assert finish_of(order_of(words_of(resume_command, words[1:]))) == words


@pytest.mark.parametrize(
    ("asked", "terms"),
    [
        (Order(), ""),
        (Order(max_unavailable=1), "--max-unavailable 1"),
        (Order(max_unavailable=Decimal("0.5")), "--max-unavailable 0.5"),
        (Order(max_unavailable=ALL), "--max-unavailable 100%"),
        (Order(wait_timeout_s=90.0), "--wait-timeout 90s"),
        (order(min_healthy_s=0.0), "--min-healthy 0s"),
        (order(lease_ttl_s=20, max_concurrent=8), "--lease-timeout 20s --max-concurrent 8"),
        (order(deadline_s=60.0, wait_for_lease_s=9.0, rolls_back=False), ""),
    ],
)
def test_what_follows_a_run_has_its_terms(asked: Order, terms: str) -> None:
    """Not its deadline, which may have been what ended it."""
    words = terms_of(asked)
    assert " ".join(words) == terms
    for command in (resume_command, rollback_command):
        assert terms_of(order_of(words_of(command, words))) == words


def test_all_that_says_what_a_deploy_is_about_can_be_said_to_resume() -> None:
    """But for a build, which is over by then.

    A new option has to be among the words of `finish_of`, or its terms, or is known here.
    """
    elsewhere = {"image", "strategy", "runs_release_command", "waits_for_health", "smoke_s", "yes"}
    of_deploy = {param.name for group in DEPLOY if group is not BUILD for param in group.params}
    assert of_deploy - {param.name for param in resume_command.params} == elsewhere
