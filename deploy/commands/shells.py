"""`deploy completion SHELL`: the script that lets a shell complete `deploy` and `rollout`."""

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
    if kind is None:
        return
    for name in ("deploy", "rollout"):
        # The command itself is not part of its script, which calls it by its name.
        click.echo(kind(root.command, {}, name, f"_{name.upper()}_COMPLETE").source())


completion_command = Command(
    name="completion",
    groups=(_SHELL,),
    example=_INSTALL["bash"],
    callback=_print_script,
    help="Print the script that lets SHELL complete commands, options and names.",
)
