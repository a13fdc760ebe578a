"""Running the command in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import shlex
import subprocess
import sys

from click.testing import CliRunner, Result

from rollout.cli import cli

THREE = """\
version: 1   # the format
flags:
  deploy-retries:
    description: Retry deploys.
    owner: release-engineering
    bucket_by: app        # the unit
    percent: 5            # <- the number to bump
    inside: 5
    outside: 0
    always_inside: {org: [acme]}
  ramped:
    bucket_by: app
    inside: true
    outside: false
    ramp:
      - {at: 2027-03-01T09:00+01:00, percent: 5}
  off: {enabled: false, bucket_by: app, percent: 50, inside: new, outside: "the old"}
""".replace("  off:", '  "off":')
RAMPABLE = """\
version: 1
flags:
  a:
    bucket_by: app
    percent: 5  # the number
    inside: 5
    outside: 0
"""
BERLIN = ("--tz", "Europe/Berlin")
WORK = ("--weekdays", "--between", "09:00-16:00", *BERLIN)
MONDAY = "2026-11-23T08:55+01:00"
THURSDAY = "2026-11-26T12:00+01:00"
FRIDAY = "2026-11-27T12:00+01:00"


def run(
    *arguments: str, given: bytes | str = "", at: str | None = "2026-11-23T08:55+01:00"
) -> Result:
    """`rollout arguments` at a time, or by the clock, with `given` on standard input."""
    result = CliRunner().invoke(
        cli, arguments, prog_name="rollout", input=given, env={"ROLLOUT_AT": at}
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def on_a_terminal(*arguments: str, command: str = "") -> str:
    """What `rollout arguments`, or a shell's command line, shows on a terminal."""
    shown, ours = pty.openpty()
    line = command or f"exec {sys.executable} -m rollout {shlex.join(arguments)}"
    process = subprocess.Popen(
        ["bash", "-c", line],
        stdin=ours,
        stdout=ours,
        stderr=ours,
        env=os.environ | {"ROLLOUT_AT": "2026-11-23T08:55+01:00", "TERM": "xterm"},
    )
    os.close(ours)
    found = b""
    with contextlib.suppress(OSError):  # which is how a terminal ends
        while part := os.read(shown, 65536):
            found += part
    os.close(shown)
    assert process.wait(60) == 0
    return found.decode()
