"""The `deploy` command and `python -m deploy`: Ctrl-C ends it quietly from its first moment."""

import os
import signal
import sys

_INTERRUPTED = 130  # errors.EXIT_INTERRUPTED, which is not loaded yet


def main() -> None:
    """Load the program, which takes a moment, and run it."""
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    from deploy import cli

    try:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        cli.main()
    except KeyboardInterrupt:  # before the program looks out for it, or when it is leaving
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
