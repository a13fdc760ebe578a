"""`python -m bench WHAT`: each WHAT is a module here with a `main(arguments)`."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec


def main() -> None:
    """Hand the arguments over to the benchmark that the first one names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if not (name.isidentifier() and find_spec(f"bench.{name}")):
        sys.exit(f"there is no bench/{name}.py: see scripts/bench --help")
    import_module(f"bench.{name}").main(sys.argv[2:])


main()
