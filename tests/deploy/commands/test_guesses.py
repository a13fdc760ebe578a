from __future__ import annotations

import pytest

from deploy.commands.guesses import about_option, misread

COMMANDS = ("run", "plan", "status", "rollback", "resume", "history", "report", "local", "scale")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("rolback", "did you mean `deploy rollback`?"),
        ("stauts", "did you mean `deploy status`?"),
        ("help", "`deploy --help`"),
        ("releases", "`deploy history`"),
        ("v2", "`deploy --image v2`"),
        ("1.4.2", "`deploy --image 1.4.2`"),
        ("hello:v2", "`deploy --image hello:v2`"),
        ("registry.fly.io/hello@sha256:0af3", "`deploy --image registry.fly.io/hello@sha256:0af3`"),
        ("apps/somewhere", "give the directory"),
    ],
)
def test_a_word_that_is_no_command_comes_with_what_was_meant(word: str, meant: str) -> None:
    problem = misread(word, COMMANDS)
    assert word in problem.message
    assert meant in problem.hint


def test_what_is_shown_of_a_word_cannot_steer_the_screen() -> None:
    problem = misread("v2:\x1b[31mred", COMMANDS)
    assert "\x1b" not in problem.message + problem.hint


def test_options_of_other_tools_are_translated() -> None:
    assert "deploy plan" in about_option("--dry-run")
    assert about_option("--nothing-alike") == ""
