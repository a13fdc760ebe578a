"""Whatever the platform answers, a command ends with a result or an error of ours, in time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.worlds.liar import COMMANDS, Answer, Lie, live_through
from tests.worlds.lies import ALWAYS, LIES

STEERING = b'{"error":"bad \\u001b[2J\\r\\nthing \\u202e \\u009b2J"}'


def _with(name: bytes, text: bytes) -> Lie:
    """From the first request of the list on, every one has this header."""
    return Lie(2, lambda answer: replace(answer, headers=((name, text),)), ALWAYS, repr(name))


@pytest.mark.parametrize("command", COMMANDS)
@settings(
    max_examples=30,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a shrink of these takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    lies=LIES,
    strategy=st.sampled_from(["rolling", "canary", "bluegreen", "immediate"]),
    retries=st.sampled_from([0, 1]),
)
@example(lies=[_with(b"set-cookie", b"a=\xce")], strategy="rolling", retries=1)
@example(lies=[_with(b"content-encoding", b"gzip, gzip")], strategy="rolling", retries=0)
@example(lies=[_with(b"fly-next-cursor", b"x")], strategy="rolling", retries=0)
def test_no_answer_brings_a_command_down(
    command: str, lies: list[Lie], strategy: str, retries: int, tmp_path: Path
) -> None:
    outcome = live_through(command, tmp_path, lies, strategy=strategy, retries=retries)

    if not outcome.is_ours:
        assert outcome.error is not None
        raise outcome.error
    assert "itself failed" not in outcome.said


@pytest.mark.parametrize("command", COMMANDS)
def test_pages_without_end_are_not_followed_for_ever(command: str, tmp_path: Path) -> None:
    more = Answer(200, ((b"fly-next-cursor", b"more"),), b"[]")
    outcome = live_through(command, tmp_path, [Lie(n, lambda _: more, ALWAYS) for n in (1, 2)])

    assert "does not end" in outcome.said


@pytest.mark.parametrize("command", COMMANDS)
def test_the_servers_words_do_not_steer_the_screen(command: str, tmp_path: Path) -> None:
    for nth in range(1, 8):
        outcome = live_through(
            command, tmp_path, [Lie(nth, lambda _: Answer(400, (), STEERING), ALWAYS)]
        )
        said = outcome.said.replace("\n", "")
        assert said.isprintable() or not {"\r", "\x1b", "\x9b", "\u202e"} & set(said)
