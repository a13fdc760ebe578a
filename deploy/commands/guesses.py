"""What was probably meant by words that mean nothing here. Values in, problems and hints out."""

from __future__ import annotations

import re
from collections.abc import Collection

from deploy.errors import UsageProblem
from deploy.wording import printable

_IMAGE = re.compile(r"v?[0-9][0-9A-Za-z.+-]*|[^:@]+(?::[\w.-]+|@sha256:[0-9a-f]+)")
_COMMANDS_ELSEWHERE = {
    "help": "`deploy --help` shows the commands, `deploy COMMAND --help` the options of one",
    "machines": "`deploy status` shows the machines",
    "releases": "`deploy history` shows the releases",
    "up": "`deploy local up` starts the platform on this computer",
}
_OPTIONS_ELSEWHERE = {
    "--dry-run": "`deploy plan` shows what a deploy would do, and changes nothing",
    "--ha": "write `--ha` or `--no-ha`",
    "--now": "a deploy asks for nothing but volumes: leave it out, or write `--yes`",
    "--token": "the token is read from FLY_API_TOKEN only",
    "--access-token": "the token is read from FLY_API_TOKEN only",
    "--remote-only": "images are built by the Docker engine here: `--build`, or give --image",
    "--local-only": "images are built by the Docker engine here: write `--build`",
    "--dockerfile": 'write [build] dockerfile = "..." into fly.toml, and give `--build`',
    "--build-target": 'write [build] build-target = "..." into fly.toml',
    "--image-label": "a build is tagged deployment-ID, and its digest is deployed",
    "--immediate": "write `--strategy immediate`",
}


def misread(word: str, commands: Collection[str]) -> UsageProblem:
    """The problem with a first word that is neither a command nor something on this disk."""
    from difflib import get_close_matches  # most command lines have no such word

    shown = printable(word, 60)
    near = get_close_matches(word, sorted(commands), n=1)
    if word in _COMMANDS_ELSEWHERE:
        hint = _COMMANDS_ELSEWHERE[word]
    elif near:
        hint = f"did you mean `deploy {near[0]}`?"
    elif _IMAGE.fullmatch(word):
        hint = f"meant --image? `deploy --image {shown}`"
    else:
        hint = "give the directory of the app, or a command: `deploy --help` shows them"
    return UsageProblem(f"there is no command and no directory {shown!r}", hint=hint)


def about_option(name: str) -> str:
    """What to write instead of an option that other tools have, where that is known."""
    return _OPTIONS_ELSEWHERE.get(name, "")
