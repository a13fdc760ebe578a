from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from deploy import cli
from deploy.readers import journal
from deploy.readers.journal import Journal
from tests.deploy.eventful import Story
from tests.worlds.stage import WORKER


@pytest.fixture(autouse=True)
def _project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An app's directory, and one run of hello in the journal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path("fly.toml").write_text(WORKER)
    with Journal(journal.default_directory(), pytest.fail) as writer:
        for at, event in Story().tell():
            writer(at, event)


def completed(*words: str) -> list[str]:
    *before, begun = words
    shell = ShellComplete(cli.cli, {}, "deploy", "_DEPLOY_COMPLETE")
    return [item.value for item in shell.get_completions(before, begun)]


def test_commands_are_completed_by_their_beginning() -> None:
    assert completed("ro") == ["rollback"]
    assert "status" in completed("")
    assert "run" not in completed("")


@pytest.mark.parametrize("words", [("--str",), ("plan", "--str"), ("--app", "x", "--str")])
def test_options_are_completed_with_and_without_a_command(words: tuple[str, ...]) -> None:
    assert completed(*words) == ["--strategy"]


def test_apps_are_those_of_fly_toml_and_of_the_journal() -> None:
    assert completed("status", "--app", "") == ["sim", "hello"]
    assert completed("--app", "h") == ["hello"]


def test_process_groups_are_those_of_fly_toml_also_after_a_comma() -> None:
    assert completed("--process-groups", "") == ["web", "worker"]
    assert completed("--process-groups", "web,wo") == ["web,worker"]


def test_machines_are_those_of_the_newest_run_of_the_app() -> None:
    assert completed("--app", "hello", "--only-machines", "148e") == [
        f"148e{number:010x}" for number in range(4)
    ]
    assert completed("--only-machines", "") == []


def test_runs_are_those_of_the_journal() -> None:
    assert completed("report", "01") == ["01jdeadbee"]


def test_a_fly_toml_that_cannot_be_read_completes_nothing_and_fails_nothing() -> None:
    Path("fly.toml").write_text("app = [")
    assert completed("--process-groups", "") == []


def test_a_word_that_begins_no_command_is_left_to_the_shell_as_a_directory() -> None:
    shell = ShellComplete(cli.cli, {}, "deploy", "_DEPLOY_COMPLETE")
    (item,) = shell.get_completions([], "exam")
    assert item.type == "dir"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_names_the_command(shell: str) -> None:
    from click.testing import CliRunner

    answer = CliRunner().invoke(cli.cli, ["completion", shell], prog_name="deploy")
    assert answer.exit_code == 0
    assert "_DEPLOY_COMPLETE" in answer.output


def test_another_shell_is_refused_with_those_that_are_known() -> None:
    context = click.Context(cli.cli, info_name="deploy")
    command = cli.cli.get_command(context, "completion")
    assert command is not None
    with pytest.raises(click.BadParameter, match="bash"):
        command.make_context("completion", ["csh"], parent=context)
