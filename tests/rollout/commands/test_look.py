"""`rollout list` and `rollout explain`, as a person uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rollout.commands.running import run


def test_list_shows_every_flag(three: Path) -> None:
    assert run("list").output.splitlines() == [
        "FLAG            ROLLOUT     BY   INSIDE  OUTSIDE    OWNER                EXPIRES",
        "deploy-retries  5 %         app  5       0          release-engineering",
        "ramped          0 % (ramp)  app  true    false",
        'off             off         app  new     "the old"',
    ]
    three.write_text("version: 1\nflags: {}\n")
    assert run("list").output == "no flags\n"


RAMPED = "ramped -> false (app a is at 82.130 %, rollout is at"
BEFORE = f"{RAMPED} 0 % until 2027-03-01T09:00+01:00)"
SINCE = f"{RAMPED} 5 % since 2027-03-01T09:00+01:00)"


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["deploy-retries", "--unit", "hello"],
            "deploy-retries -> 0 (app hello is at 6.343 %, rollout is at 5 %)",
        ),
        (
            ["deploy-retries", "--unit", "hello", "--context", "org=acme"],
            "deploy-retries -> 5 (org acme is always inside)",
        ),
        (
            ["ramped", "--unit", "a", "--at", "2027-03-01T07:59:59Z"],
            BEFORE,
        ),
        (
            ["ramped", "--unit", "a", "--at", "2027-03-01T08:00Z"],
            SINCE,
        ),
        (["off", "--unit", "a"], 'off -> "the old" (the flag is off)'),
        (["off", "--unit", ""], 'off -> "the old" (the flag is off)'),
    ],
)
def test_explain_says_why_in_one_sentence(arguments: list[str], said: str) -> None:
    result = run("explain", *arguments)
    assert (result.exit_code, result.output) == (0, said + "\n")
