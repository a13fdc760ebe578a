"""The words of a command line, before their command is known: which of them is it?"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import click

from deploy.commands.guesses import misread
from deploy.commands.options import DEPLOY, TARGET, Command
from deploy.errors import UsageProblem

HELP_OPTIONS = ("-h", "--help")


def with_command(args: list[str], commands: Collection[str]) -> list[str]:
    """The words with their command in front. Raises UsageProblem for a word that is none.

    `deploy --app x status` is `deploy status --app x`.
    """
    if args and (args[0] in HELP_OPTIONS or args[0] == "--version"):
        return args
    word = args[0] if args and not args[0].startswith("-") else _directory_in(args)
    if word not in commands:
        if not (word == "." or Path(word).exists()):
            raise misread(word, commands)
        return ["run", *args]
    if Path(word, "fly.toml").is_file() and len(args) == 1:
        raise UsageProblem(
            f"{word} is a command and a directory with a fly.toml",
            hint=f"write `deploy ./{word}` to deploy the directory, "
            f"`deploy {word} .` for the command",
        )
    last = len(args) - 1 - args[::-1].index(word)
    return args if args[0] == word else [word, *args[:last], *args[last + 1 :]]


def run_options() -> Command:
    """The options of a deploy, without what a deploy needs."""
    return Command(name="run", groups=(TARGET, *DEPLOY), example="")


def _directory_in(args: list[str]) -> str:
    """What is left of the words once the options of a deploy and their values are taken."""
    run = run_options()
    parser = run.make_parser(click.Context(run, allow_extra_args=True))
    try:
        options, _, _ = parser.parse_args(list(args))
    except click.UsageError:
        return "."  # the command itself says what is wrong
    directory = options.get("directory")
    return directory if isinstance(directory, str) else "."
