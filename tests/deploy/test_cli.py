from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from deploy import cli
from deploy.api.meaning import call_failed
from deploy.errors import (
    AppFailed,
    DeployError,
    LeaseHeld,
    Outage,
    UsageProblem,
)
from tests.worlds.stage import WEB

LOCAL = (("local", "up"), ("local", "down"))
COMMANDS = (
    "plan",
    "status",
    "logs",
    "scale",
    "resume",
    "rollback",
    "history",
    "report",
    "completion",
    "local",
)


def shown(*args: str) -> str:
    answer = CliRunner().invoke(cli.cli, args)
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_help_shows_every_command_every_option_and_every_exit_code() -> None:
    text = shown("--help")
    for word in (*COMMANDS, "--image", "--strategy", "--deploy-retries", "--wait-for-lease"):
        assert word in text
    for code in ("0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "6 ", "130"):
        assert f"\n    {code}" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert "Usage" in shown(command, "--help")


@pytest.mark.parametrize("command", ["run", *COMMANDS])
def test_the_line_in_the_list_of_commands_is_what_the_command_says_of_itself(command: str) -> None:
    context = click.Context(cli.cli, info_name="deploy")
    loaded = cli.cli.get_command(context, command)
    assert loaded is not None
    said = (loaded.help or "").split("\n\n")[0]
    assert cli._COMMANDS[command][1].removesuffix(".") in " ".join(said.split())


@pytest.mark.parametrize("command", ["run", *COMMANDS[:-1]])
def test_no_option_takes_a_token(command: str) -> None:
    assert "--token" not in shown(command, "--help")


# -- main --------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """The exit code of the command."""
    monkeypatch.setattr("sys.argv", ["deploy", *args])
    try:
        cli.main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No project, no platform, no token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLY_FLAPS_BASE_URL", "http://127.0.0.1:9")
    for name in ("FLY_API_TOKEN", "FLY_APP", "DEPLOY_IMAGE", "ROLLOUT_FLAGS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "args",
    [
        ["--deploy-retries", "-1"],
        ["--deploy-retries", "yes"],
        ["--strategy", "blue"],
        ["--max-unavailable", "0"],
        ["--env", "KEY"],
        ["--wait-timeout", "soon"],
        ["--lease-timeout", "1s"],
        ["--no-such-option"],
        ["scale", "web"],
        ["scale", "web=-1"],
        ["scale", "web=many"],
        [],
    ],
    ids=" ".join,
)
def test_bad_usage_is_2_and_no_traceback(
    args: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if args and args != ["--no-such-option"]:
        Path("fly.toml").write_text(WEB)
    assert run(monkeypatch, *args) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.lower().count("error: ") == 1


def test_a_directory_with_the_name_of_a_command_is_refused_with_the_way_to_write_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("status").mkdir()
    Path("status/fly.toml").write_text(WEB)
    assert run(monkeypatch, "status") == 2
    said = capsys.readouterr().err
    assert "deploy ./status" in said


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageProblem("no image", hint="name one"), 2),
        (AppFailed("it exits", hint="fix it"), 1),
        (LeaseHeld("bob", machine_id="m", hint="wait"), 5),
        (Outage("silence", hint="see"), 6),
        (call_failed("wrong", operation="list", status=401, hint="token"), 4),
        (call_failed("late", operation="list", status=503, hint="again"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("grouped", [False, True])
def test_an_error_is_one_line_a_hint_and_its_code(
    error: DeployError,
    code: int,
    grouped: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(**_options: object) -> None:
        raise ExceptionGroup("tasks", [ExceptionGroup("more", [error])]) if grouped else error

    monkeypatch.setattr(cli, "cli", fail)
    assert run(monkeypatch) == code
    assert capsys.readouterr().err == f"Error: {error}\nHint: {error.hint}\n"


@pytest.mark.parametrize("grouped", [False, True])
def test_a_fault_of_ours_is_3_and_no_traceback(
    grouped: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_options: object) -> None:
        fault = KeyError("worker-1")
        raise ExceptionGroup("tasks", [fault]) if grouped else fault

    monkeypatch.setattr(cli, "cli", fail)
    assert run(monkeypatch) == 3
    said = capsys.readouterr().err
    assert "KeyError" in said
    assert "Traceback" not in said
    assert "TIDEGATE_TRACEBACK=1" in said
    assert "deploy status" not in said  # of which app, nobody knows here


def test_interrupted_at_a_prompt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_options: object) -> None:
        raise click.Abort

    monkeypatch.setattr(cli, "cli", fail)
    assert run(monkeypatch) == 130


def test_a_platform_that_is_not_started_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "status", "--app", "hello") == 6
    said = capsys.readouterr().err
    assert "nothing listens at http://127.0.0.1:9" in said
    assert "deploy local up" in said


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("rolback", "deploy rollback"),
        ("--app x rolback", "deploy rollback"),
        ("hello:v2", "--image"),
        ("--dry-run", "deploy plan"),
        ("plan --dry-run", "deploy plan"),
        ("--ha=false", "--no-ha"),
        ("--imag x", "--image"),
        ("scale app=2 worker=1", "one GROUP=N"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(
    words: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("fly.toml").write_text(WEB)
    assert run(monkeypatch, *words.split()) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--app x status", "-a x status", "--app status status"])
def test_options_may_come_before_the_command(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *words.split()) == 6
    assert "nothing listens" in capsys.readouterr().err


def test_local_alone_shows_its_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "local") == 0
    assert "Usage: deploy local" in capsys.readouterr().out


@pytest.mark.parametrize("words", [*((name,) for name in COMMANDS), *LOCAL])
def test_every_command_has_one_example_and_fits_80_columns(words: tuple[str, ...]) -> None:
    text = shown(*words, "--help")
    assert text.count("Example: ") == 1
    assert max(map(len, text.splitlines())) <= 80
