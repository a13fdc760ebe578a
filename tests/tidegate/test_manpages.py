from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from deploy.cli import cli as deploy
from rollout.cli import cli as rollout
from tidegate.manpages import main


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    main(str(folder))
    return folder


@pytest.mark.parametrize("group", [deploy, rollout], ids=["deploy", "rollout"])
def test_every_command_has_a_page_with_all_its_options(pages: Path, group: click.Group) -> None:
    root = "deploy" if group is deploy else "rollout"
    context = click.Context(group, info_name=root)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if command.hidden:
            continue
        text = (pages / f"{root}-{name}.1").read_text().replace("\\-", "-")
        for param in command.params:
            for option in param.opts if isinstance(param, click.Option) else ():
                assert option in text, (name, option)


def test_the_page_of_deploy_has_its_options_its_commands_and_the_exit_codes(pages: Path) -> None:
    text = (pages / "deploy.1").read_text().replace("\\-", "-")
    for words in ("--strategy", "deploy-rollback (1)", "130  interrupted", "--version"):
        assert words in text


def test_no_page_has_what_troff_does_not_understand(pages: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed here")
    for page in sorted(pages.iterdir()):
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z", str(page)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == "", page.name
