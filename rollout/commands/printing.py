"""How commands print: JSON for programs; colours and distances in time on a terminal."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click

from rollout.wording import count

_SOON = timedelta(days=14)


def print_json(value: Any) -> None:
    """`value` as JSON that any terminal can carry."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def on_terminal() -> bool:
    """Whether a person reads standard output, who gets colours and words besides."""
    return sys.stdout.isatty()


def distance(then: datetime, now: datetime) -> str:
    """ "in 3 days", "5 hours ago", "now"."""
    minutes = round(abs(then - now) / timedelta(minutes=1))
    if minutes < 1:
        return "now"
    days, hours = round(minutes / 1440), round(minutes / 60)
    far = count(days, "day") if hours >= 36 else count(hours, "hour")
    far = count(minutes, "minute") if minutes < 90 else far
    return f"in {far}" if then > now else f"{far} ago"


def expiry(text: str, now: datetime) -> str:
    """The last day of a flag, on a terminal with how far it is, and in a colour when it is near."""
    if not text or not on_terminal():
        return text
    left = date.fromisoformat(text) - now.astimezone(UTC).date()
    far = "today" if not left else f"in {count(left.days, 'day')}"
    far = f"{count(-left.days, 'day')} ago" if left < timedelta(0) else far
    colour = "red" if left < timedelta(0) else "yellow" if left < _SOON else None
    return click.style(f"{text} ({far})", fg=colour)


def bold(text: str) -> str:
    """`text`, in bold on a terminal."""
    return click.style(text, bold=True) if on_terminal() else text
