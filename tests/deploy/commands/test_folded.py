"""Output that is folded when it goes well and shown when it does not."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress

import pytest

from deploy.commands.folded import LINES_KEPT, fold


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, environ: Mapping[str, str], *, goes_well: bool) -> str:
    """What is written by a build of two lines."""
    try:
        with fold(stream, environ, "build x") as output:
            output.say("one")
            output.say("\x1b[31mtwo\x1b[0m")
            if not goes_well:
                raise OSError
        output.say_for_good("built")
    except OSError:
        pass
    return stream.getvalue()


def test_a_pipe_is_shown_nothing_of_what_goes_well_and_all_of_what_does_not() -> None:
    assert shown(io.StringIO(), {}, goes_well=True) == "built\n"
    assert shown(io.StringIO(), {}, goes_well=False) == "one\ntwo\n"


def test_a_terminal_sees_the_newest_line_in_place() -> None:
    assert shown(Terminal(), {"TERM": "xterm"}, goes_well=True) == (
        "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[Kbuilt\n"
    )
    assert shown(Terminal(), {"TERM": "xterm"}, goes_well=False).endswith("\r\x1b[Kone\ntwo\n")


def test_a_dumb_terminal_is_like_a_pipe() -> None:
    assert shown(Terminal(), {"TERM": "dumb"}, goes_well=True) == "built\n"


@pytest.mark.parametrize("goes_well", [True, False])
def test_github_actions_folds_it_and_takes_no_line_for_a_command(goes_well: bool) -> None:
    text = shown(io.StringIO(), {"GITHUB_ACTIONS": "true"}, goes_well=goes_well)
    assert text.startswith("::group::build x\none\ntwo\n::endgroup::\n")
    stream = io.StringIO()
    with fold(stream, {"GITHUB_ACTIONS": "true"}, "build x") as output:
        output.say("::error::gotcha")
    assert "\n: :error::gotcha\n" in stream.getvalue()


def test_of_endless_output_the_end_is_kept() -> None:
    stream = io.StringIO()
    with suppress(OSError), fold(stream, {}, "build x") as output:
        for number in range(LINES_KEPT + 5):
            output.say(f"line {number}")
        raise OSError
    lines = stream.getvalue().splitlines()
    assert (len(lines), lines[-1]) == (LINES_KEPT, f"line {LINES_KEPT + 4}")
