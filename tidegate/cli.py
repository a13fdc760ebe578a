"""The `tidegate` command: `tidegate deploy ...` and `tidegate rollout ...`.

The same commands as `deploy` and `rollout`, under a name that nothing else has.
"""

from __future__ import annotations

import sys

from tidegate.own import own_deploy, own_rollout

_HELP = """\
Usage: tidegate deploy [OPTIONS] ...     bring an app's machines to a new image
       tidegate rollout [OPTIONS] ...    look at the flags of a flags.yaml, and bump them
       tidegate --version

`tidegate deploy --help` and `tidegate rollout --help` show the rest. Both are
also commands of their own: `deploy` and `rollout`.
"""


def main() -> None:
    """The entry point. Exit codes are those of the command; 2 for another word."""
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    match word:
        case "deploy" | "rollout":
            _run(word)
        case "--version":
            from importlib.metadata import version

            sys.stdout.write(f"tidegate, version {version('tidegate')}\n")
        case "-h" | "--help" | "help":
            sys.stdout.write(_HELP)
        case _:
            sys.stderr.write(f"Error: there is no command {word!r}\n")
            sys.stderr.write("Hint: `tidegate deploy` or `tidegate rollout`\n")
            sys.exit(2)


def _run(word: str) -> None:
    try:
        own_rollout(), own_deploy()
    except ImportError as foreign:
        sys.stderr.write(f"Error: {foreign}\n")
        sys.exit(2)
    del sys.argv[1]
    if word == "deploy":
        from deploy.cli import main as run
    else:
        from rollout.cli import main as run
    run()
