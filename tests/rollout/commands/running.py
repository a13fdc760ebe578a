"""Running the command in a directory of its own."""

from __future__ import annotations

from click.testing import CliRunner, Result

from rollout.cli import cli


def run(
    *arguments: str, given: bytes | str = "", at: str | None = "2026-11-23T08:55+01:00"
) -> Result:
    """`rollout arguments` at a time, or by the clock, with `given` on standard input."""
    result = CliRunner().invoke(
        cli, arguments, prog_name="rollout", input=given, env={"ROLLOUT_AT": at}
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result
