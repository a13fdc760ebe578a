"""`deploy completion SHELL`: the script that lets a shell complete the command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from deploy.commands.options import Command, Options

_INSTALL = {
    "bash": 'eval "$(deploy completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(deploy completion zsh)"   # in ~/.zshrc, after compinit',
    "fish": "deploy completion fish | source   # in ~/.config/fish/config.fish",
}
_SHELL = Options("Shell", (click.Argument(["shell"], type=click.Choice(list(_INSTALL))),))


def _print_script(shell: str) -> None:
    root = click.get_current_context().find_root()
    kind = get_completion_class(shell)
    if kind is not None and root.info_name:
        variable = f"_{root.info_name.upper()}_COMPLETE"
        click.echo(kind(root.command, {}, root.info_name, variable).source())


completion_command = Command(
    name="completion",
    groups=(_SHELL,),
    example=_INSTALL["bash"],
    callback=_print_script,
    help="Print the script that lets SHELL complete commands, options and names.",
)
