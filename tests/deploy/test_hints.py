"""What is advised, word for word; that it comes true is held by `tests/scenarios/test_hints`."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.hints import Invocation, Left, ways_out

PLAIN = Invocation(app="hello")
RESUME = "deploy resume --app hello --deploy-retries 5"
ROLLBACK = "deploy rollback --app hello --deploy-retries 5"
STATUS = "deploy status --app hello"
ADVICE = {
    Left.NOTHING: "",
    Left.FORWARD: f"`{RESUME}` finishes it, `{ROLLBACK}` undoes it",
    Left.APP_FAILED: f"`{ROLLBACK}` undoes it; or fix the app and deploy again",
    Left.FIRST: f"`{RESUME}` finishes it",
    Left.FIRST_APP_FAILED: "fix the app and deploy again; nothing ran before",
    Left.NO_WAY_BACK: f"`{RESUME}` finishes it",
    Left.STUCK: "deploy what is to run: that replaces what cannot be brought back",
    Left.BACK: f"`{ROLLBACK}` goes on with it",
    Left.UNMARKED: f"`{STATUS}` shows what runs; deploy again if this release is wanted",
    Left.OVERTAKEN: f"`{STATUS}` shows what runs; deploy again if this release is wanted",
    Left.CHANGED: "`deploy --image IMAGE` brings all machines to one release, the other's included",
    Left.UNKNOWN: f"`{STATUS}` shows what runs, and the ways out of what is unfinished",
}
CALLED = [
    (replace(PLAIN, retries=2), "deploy resume --app hello --deploy-retries 2"),
    (replace(PLAIN, waits=True), f"{RESUME} --wait-for-lease 5m"),
    (replace(PLAIN, config="fly.staging.toml"), f"{RESUME} --config fly.staging.toml"),
    (replace(PLAIN, directory="my app"), f"{RESUME} 'my app'"),
    (replace(PLAIN, env=("A=b c", "D=$(e)")), f"{RESUME} --env 'A=b c' --env 'D=$(e)'"),
    (
        replace(PLAIN, env=("A=b",), finish=("resume", "--env", "A=b")),
        "deploy resume --env A=b --app hello --deploy-retries 5",
    ),
    (replace(PLAIN, terms=("--wait-timeout", "90s")), f"{RESUME} --wait-timeout 90s"),
    (
        replace(PLAIN, finish=("scale", "web=4"), directory="app"),
        "deploy scale web=4 --app hello --deploy-retries 5 app",
    ),
    (
        replace(PLAIN, finish=("resume", "--only-machines", "a,b")),
        "deploy resume --only-machines a,b --app hello --deploy-retries 5",
    ),
]
texts = st.text(min_size=1, max_size=12)


@pytest.mark.parametrize("left", Left)
def test_every_way_to_leave_an_app_has_its_advice(left: Left) -> None:
    assert ways_out(left, PLAIN) == ADVICE[left]


@pytest.mark.parametrize(("called", "command"), CALLED)
def test_a_command_is_called_as_the_run_was(called: Invocation, command: str) -> None:
    assert called.resume() == f"`{command}`"


def test_a_rollback_has_the_terms_of_the_run_and_none_of_its_files() -> None:
    called = replace(PLAIN, config="f.toml", env=("A=b",), terms=("--max-unavailable", "1"))
    assert called.rollback() == f"`{ROLLBACK} --max-unavailable 1`"


@given(texts, texts, st.lists(texts, max_size=2), st.lists(texts, max_size=3))
def test_whatever_the_words_are_a_shell_reads_them_as_they_were_given(
    app: str, directory: str, env: list[str], finish: list[str]
) -> None:
    called = Invocation(
        app=app, directory=directory, env=tuple(env), finish=("resume", *finish), retries=1
    )
    words = shlex.split(called.resume()[1:-1])
    pairs = [word for pair in env for word in ("--env", pair)]
    told = ["--app", app, "--deploy-retries", "1", *pairs, directory]
    assert words == ["deploy", "resume", *finish, *told]
