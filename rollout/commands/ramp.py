"""`rollout ramp` and `rollout schedule`: percentages that rise by the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from rollout.commands import options
from rollout.commands.applying import apply, say_if_off, trust_clock
from rollout.commands.printing import bold, distance, on_terminal, print_json
from rollout.errors import EditRefused, InvalidValue
from rollout.file import edit
from rollout.file.edit import Edit, flag_in
from rollout.file.flagfile import FlagFile
from rollout.flag import EVERYBODY, Flag, Ramp, percent_text, share_text, time_text
from rollout.ramps.hours import Hours, parse_duration, parse_zone
from rollout.ramps.ramp import one_way, plan, usual_steps
from rollout.ramps.schedule import lines, shown_steps


@options.command()
@options.flag_argument
@click.option(
    "--from",
    "first",
    metavar="P",
    callback=options.threshold,
    help="The first percentage. [default: the present one]",
)
@click.option(
    "--to",
    "last",
    metavar="P",
    callback=options.threshold,
    help="The last percentage. [default: 100]",
)
@click.option("--over", required=True, metavar="SPAN", help="From first to last: 7d, 36h, 1d12h.")
@click.option("--start", metavar="TIME", help="When the first begins, with an offset; now.")
@click.option("--steps", metavar="P,P,...", help="The percentages, as in 5,10,25,50,100.")
@options.hours_options
@options.eviction_option
@options.at_option
@options.file_option
def ramp(
    flag: str,
    first: int | None,
    last: int | None,
    over: str,
    start: str | None,
    steps: str | None,
    weekdays: bool,
    between: str | None,
    tz: str | None,
    allow_eviction: bool,
    now: datetime,
    file: str,
) -> None:
    """Let FLAG rise by the clock: write dated steps in place of its percentage.

    Over whole days every step is on a day of its own, at the time of day of the first.
    What the flag is at now it stays until the ramp begins.
    """
    begin = options.parse_time(start, "--start") if start else now
    span = parse_duration(over, "--over")
    hours = options.hours(weekdays, between, tz) or Hours(begin.tzinfo or UTC)
    trust_clock(file, now)
    if begin < now:
        raise InvalidValue(
            f"--start {start} is over: it is {now.isoformat(timespec='minutes')}",
            hint="take a time to come, or leave --start out to begin now",
        )

    def change(before: FlagFile) -> Edit | None:
        current = flag_in(before, flag).threshold_at(now)
        wanted = _thresholds(current, first, last, steps)
        if wanted[0] < current and not allow_eviction:
            raise EditRefused(
                f"{flag} is at {share_text(current)}: to begin at {share_text(wanted[0])} "
                "would throw units out",
                hint=f"begin at {share_text(current)} or above, or allow it with --allow-eviction",
            )
        return edit.set_ramp(before, flag, plan(current, wanted, begin, span, hours, now))

    say_if_off(apply(file, flag, change, now, otherwise=f"{flag} has that ramp already"))


@options.command()
@click.argument("flags", metavar="[FLAG]...", nargs=-1, shell_complete=options.complete_flag)
@click.option("--tz", metavar="ZONE", help="Show times of this zone, such as Europe/Berlin.")
@options.output_option
@options.at_option
@options.file_option
def schedule(flags: tuple[str, ...], tz: str | None, output: str, now: datetime, file: str) -> None:
    """Show what each flag will be when, with a small chart."""
    zone = parse_zone(tz, "--tz") if tz else None
    found = options.load(file)
    chosen = [flag_in(found, key) for key in flags or found.flags]
    if output == "json":
        print_json({"version": 1, "flags": [_record(flag, now) for flag in chosen]})
        return
    if not chosen:
        click.echo("no flags")
    for flag in chosen:
        head, *steps = lines(flag, now, zone, ascii_only=not options.has_blocks())
        click.echo(bold(head))
        shown = shown_steps(flag.rollout) if isinstance(flag.rollout, Ramp) else []
        for line, step in zip(steps, shown, strict=True):
            far = f"  ({distance(step.at, now)})" if on_terminal() else ""
            click.echo(line + far)


def _record(flag: Flag, now: datetime) -> dict[str, Any]:
    """A flag's steps as JSON has them; those waiting take no effect until it is resumed."""
    ramp = flag.rollout if isinstance(flag.rollout, Ramp) else Ramp(())
    steps = [
        {"at": time_text(step.at), "percent": step.threshold / 1000, "waits": step in ramp.waiting}
        for step in (shown_steps(ramp) if ramp.steps else ())
    ]
    paused = time_text(ramp.paused) if ramp.paused else None
    percent = flag.threshold_at(now) / 1000
    return {
        "flag": flag.key, "enabled": flag.enabled, "percent": percent, "paused": paused,
        "steps": steps,
    }  # fmt: skip


def _thresholds(current: int, first: int | None, last: int | None, steps: str | None) -> list[int]:
    if steps is None:
        begin, end = current if first is None else first, EVERYBODY if last is None else last
        if begin == end:
            raise InvalidValue(
                f"--from and --to are both {share_text(end)}",
                hint="a ramp leads from one percentage to another",
            )
        return usual_steps(begin, end)
    wanted = [options.parse_percent(text.strip(), "--steps") for text in steps.split(",")]
    one_way(wanted, "--steps")
    for given, option, end in ((first, "--from", wanted[0]), (last, "--to", wanted[-1])):
        if given not in (None, end):
            raise InvalidValue(
                f"{option} {percent_text(given)} and --steps {steps} do not agree",
                hint=f"leave {option} out: the steps say it",
            )
    return wanted
