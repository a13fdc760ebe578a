"""The `rollout` command, as a person uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context

from rollout.cli import cli
from tests.rollout.commands.running import THREE as TEXT
from tests.rollout.commands.running import run


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["explain", "deploy-retry", "--unit", "a"],
            1,
            "Error: flags.yaml has no flag deploy-retry",
        ),
        (["explain", "ramped"], 2, "Missing option '--unit'"),
        (
            ["explain", "ramped", "--unit", "\udcff"],
            2,
            'Error: app "\\udcff" is not text that UTF-8',
        ),
        (["explain", "ramped", "--unit", "a", "--at", "noon"], 2, "Error: --at noon is not a time"),
        (
            ["explain", "ramped", "--unit", "a", "--at", "2027-01-01T09:00"],
            2,
            "Error: --at 2027-01-01T09:00 has no offset",
        ),
        (["explain", "ramped", "--unit", "a", "--context", "org"], 2, "'org' is not NAME=VALUE"),
        (["explain", "ramped", "--unit", "a", "--file", "no"], 2, "Error: no does not exist"),
        (["list", "--file", "."], 2, "Error: . is a directory"),
        (["check", "no/such.yaml"], 2, "Error: no/such.yaml does not exist"),
        (["set", "deploy-retries"], 2, "Missing option '--percent'"),
        (["set", "deploy-retries", "--percent", "5%"], 2, "--percent 5% is not a bare number"),
        (["set", "deploy-retries", "--percent", "101"], 2, "Error: --percent 101 is over 100"),
        (["set", "deploy-retries", "--percent", "-1"], 2, "Error: --percent -1 is below 0"),
        (["set", "deploy-retries", "--percent", "0.0001"], 2, "has more than three decimals"),
        (["set", "deploy-retries", "--percent", "NaN"], 2, "Error: --percent NaN is not a number"),
        (["set", "deploy-retries", "--percent", ""], 2, 'Error: --percent "" is not a number'),
        (
            ["set", "deploy-retry", "--percent", "6"],
            1,
            "Error: flags.yaml has no flag deploy-retry",
        ),
        (["set", "ramped", "--percent", "6"], 1, "Error: ramped has a ramp"),
        (["set", "ramped", "--percent", "6", "--file", "no/a"], 2, "Error: no/a does not exist"),
        (["set", "ramped", "--percent", "6", "--file", "."], 2, "Error: . is a directory"),
    ],
)
def test_bad_input_is_one_clear_line_and_changes_nothing(
    three: Path, arguments: list[str], code: int, said: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""
    assert three.read_text() == TEXT
    assert list(three.parent.iterdir()) == [three]


def test_an_error_of_ours_comes_with_a_hint(three: Path) -> None:
    result = run("set", "deploy-retries", "--percent", "5%", "--file", str(three))
    assert result.stderr == "Error: --percent 5% is not a bare number\nHint: write 5\n"


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["explain", "ramped"], "rollout explain"),
        (["--no-such-option"], "rollout"),
        (["explian", "ramped"], "rollout"),
        (["set", "ramped", "--percent"], "rollout"),
    ],
)
def test_what_is_misused_is_told_as_deploy_tells_it(
    three: Path, arguments: list[str], command: str
) -> None:
    error, hint = run(*arguments).stderr.splitlines()
    assert error.startswith("Error: ")
    assert hint == f"Hint: `{command} --help` shows the options"
    assert three.exists()


def process(*arguments: str | bytes, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rollout", *arguments],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_as_a_process_it_explains_and_refuses(three: Path) -> None:
    done = process("explain", "deploy-retries", "--unit", "hello", cwd=three.parent)
    assert done.stdout == "deploy-retries -> 0 (app hello is at 6.343 %, rollout is at 5 %)\n"
    done = process("explain", "deploy-retries", "--unit", b"\xff", cwd=three.parent)
    assert done.returncode == 2
    assert 'app "\\udcff" is not text that UTF-8 can carry' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_that_cannot_show_a_unit_is_no_crash(three: Path) -> None:
    asked = ("explain", "deploy-retries", "--unit", "アプリ")
    done = process(*asked, cwd=three.parent, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert done.stdout.startswith("deploy-retries -> 0 (app \\u30a2")


def test_the_help_of_a_command_has_its_own_options_first_and_shared_ones_under_headings() -> None:
    text = run("ramp", "--help").output.split("\nOptions:\n")[1]
    sections = {part.split(":\n")[0]: part for part in f"Options:\n{text}".split("\n\n")}
    assert [*sections][:4] == ["Options", "Units", "Hours", "General"]
    assert "--over" in sections["Options"]
    assert "--tz" in sections["Hours"]
    assert "--file" in sections["General"]
    assert "FLAG" not in text, "an argument is not an option"


@pytest.mark.parametrize("name", cli.list_commands(Context(cli)))
def test_no_option_is_left_out_of_the_help(name: str) -> None:
    command = cli.get_command(Context(cli), name)
    assert command is not None
    shown = run(name, "--help").output
    for option in command.params:
        if option.param_type_name == "option":
            assert f"{option.opts[0]}" in shown


def test_the_line_of_a_command_in_the_help_is_how_its_own_help_begins() -> None:
    lines = run("--help").output.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert len(lines) == len(cli.list_commands(Context(cli)))
    for name, line in (row.split(maxsplit=1) for row in lines):
        command = cli.get_command(Context(cli), name)
        assert command is not None
        assert " ".join((command.help or "").split()).startswith(line.rstrip("."))


def test_flag_names_are_completed(three: Path) -> None:
    done = process(
        cwd=three.parent,
        _ROLLOUT_COMPLETE="bash_complete",
        COMP_WORDS="rollout explain de",
        COMP_CWORD="2",
    )
    assert done.stdout == "plain,deploy-retries\n"


@pytest.mark.parametrize(
    ("arguments", "also"),
    [
        (["--help"], {"yaml", "mmh3", "msgspec"}),
        (["--version"], {"yaml", "mmh3", "msgspec"}),
        (["explain", "deploy-retries", "--unit", "hello"], set()),
    ],
)
def test_the_quick_commands_import_little(
    three: Path, arguments: list[str], also: set[str]
) -> None:
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from rollout.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=three.parent,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.split())
    assert "rollout.cli" in loaded
    rare = {"click.shell_completion", "httpx", "starlette", "rich", "anyio", "uvicorn", "deploy"}
    assert not loaded & (rare | also)


def test_a_command_that_is_misspelt_is_guessed() -> None:
    result = run("chek")
    assert result.exit_code == 2
    assert "There is no command chek; did you mean check?" in result.stderr
    assert "rollout --help lists them" in run("quite-other").stderr


@pytest.mark.parametrize("name", cli.list_commands(Context(cli)))
def test_every_command_has_one_example_that_it_understands(name: str) -> None:
    command = cli.get_command(Context(cli), name)
    assert command is not None
    example = (command.epilog or "").removeprefix("Example: ").split(" > ")[0].split()
    assert example[:2] == ["rollout", name]
    command.make_context(name, example[2:], parent=Context(cli, info_name="rollout"))
