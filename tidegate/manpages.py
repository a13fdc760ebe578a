"""Manual pages, made from the help of the commands: `python -m tidegate.manpages DIR`.

A page for each command, deploy(1), deploy-plan(1) and so on, in the language
of man(7). What is said there is what `--help` says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click

from tidegate.own import own_deploy, own_rollout


def main(directory: str) -> None:
    """Write every page into the directory, which is made if need be."""
    own_deploy(), own_rollout()
    from deploy.cli import cli as deploy
    from rollout.cli import cli as rollout

    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for root, name in ((deploy, "deploy"), (rollout, "rollout")):
        for context in _contexts(click.Context(root, info_name=name)):
            title = context.command_path.replace(" ", "-")
            (folder / f"{title}.1").write_text(page(context), encoding="utf-8")


def page(context: click.Context) -> str:
    """The manual page of one command."""
    command = context.command
    title = context.command_path.replace(" ", "-")
    text = (command.help or "").split("\f")[0].strip()
    first = " ".join(text.split("\n\n")[0].split())
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH "{title.upper()}" "1" "" "tidegate {version("tidegate")}" "tidegate"',
        ".SH NAME",
        f"{_roff(title)} \\- {_roff(first.removesuffix('.'))}",
        ".SH SYNOPSIS",
        f".B {_roff(context.command_path)}",
        _roff(usage),
        ".SH DESCRIPTION",
        *_paragraphs(text),
        ".SH OPTIONS",
        *_options(context),
    ]
    if isinstance(command, click.Group):
        lines += [".SH COMMANDS", *_commands(command, context)]
    if command.epilog:
        lines += [".SH NOTES", *_paragraphs(command.epilog)]
    return "\n".join(lines) + "\n"


def _contexts(context: click.Context) -> Iterator[click.Context]:
    yield context
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _contexts(click.Context(child, info_name=name, parent=context))


def _options(context: click.Context) -> Iterator[str]:
    params = context.command.get_params(context)
    run = getattr(context.command, "get_command", lambda *_: None)(context, "run")
    if run is not None:  # the options of the command that no name asks for
        params = [*run.get_params(click.Context(run, parent=context)), *params]
    shown = {}
    for param in params:
        record = param.get_help_record(context) if isinstance(param, click.Option) else None
        if record is not None:
            shown[record[0]] = record[1]
    for names, help_ in shown.items():
        yield from (".TP", f".B {_roff(names)}", _roff(help_))


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        child = group.get_command(context, name)
        if child is not None and not child.hidden:
            title = f"{context.command_path} {name}".replace(" ", "-")
            yield from (".TP", f".BR {_roff(title)} (1)", _roff(child.get_short_help_str(200)))


def _paragraphs(text: str) -> Iterator[str]:
    """Blocks as they are in a help text: one after `\\b` keeps its lines."""
    for block in re.split(r"\n\s*\n", text.strip()):
        keeps_lines = block.startswith("\b")
        lines = [line.strip("\b") for line in block.splitlines() if line.strip("\b\n ")]
        yield ".PP"
        if keeps_lines:
            yield from (".nf", *map(_roff, lines), ".fi")
        else:
            yield _roff(" ".join(line.strip() for line in lines))


def _roff(text: str) -> str:
    """Text that troff takes for nothing else."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    main(sys.argv[1])
