"""Kills the machines' processes when the platform dies without a word.

Runs as a process of its own (a plain script, standard library only) in its own
session, so that neither Ctrl-C nor the platform's end reaches it. The platform
writes "+PGID" and "-PGID" lines to its input as machines come and go; when the
input ends, because the platform ended or was killed with SIGKILL, every process
group still on the list is killed. One such process for the whole platform is
cheaper than a wrapper per machine, works where PR_SET_PDEATHSIG does not exist,
needs no code between fork and exec, and also reaches what a machine's command
started itself: the death signal is not inherited.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        sign, group = line[0], line[1:].strip()
        if sign == "+":
            groups.add(int(group))
        else:
            groups.discard(int(group))
    for pgid in groups:
        with suppress(OSError):
            os.killpg(pgid, signal.SIGKILL)


if __name__ == "__main__":
    main()
