"""Durations as the Machines API writes them: Go's `time.Duration` in text.

"15s", "1m30s", "1.5h" and "500ms" are read; the canonical form that goes back
is Go's (`time.Duration.String`): "1m30s", "500ms", "0s".
"""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS_S = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_LONGEST_TEXT = 32
_LONGEST_S = Decimal(10 * 365 * 24 * 3600)


def parse_s(text: str) -> float:
    """The duration in seconds. Raises ValueError, with what to write instead."""
    if text == "0":
        return 0.0
    if len(text) > _LONGEST_TEXT or not _WHOLE.fullmatch(text):
        raise ValueError(f'invalid duration {text[:_LONGEST_TEXT]!r}: write it like "15s"')
    total = sum(
        (Decimal(number) * _UNITS_S[unit] for number, unit in _PART.findall(text)), Decimal()
    )
    if total > _LONGEST_S:
        raise ValueError(f"invalid duration {text!r}: ten years is the longest")
    return float(total)


def canonical(text: str) -> str:
    """The same duration as Go prints it; raises ValueError like `parse_s`."""
    return render(parse_s(text))


def render(seconds: float) -> str:
    """Go's spelling of a duration: below a second in ms, µs or ns, above it in h, m and s."""
    value = Decimal(str(seconds))
    if value == 0:
        return "0s"
    for unit in ("ns", "us", "ms"):
        if value < _UNITS_S[unit] * 1000:
            return f"{_plain(value / _UNITS_S[unit])}{'µs' if unit == 'us' else unit}"
    minutes, rest = divmod(value, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{_plain(hours)}h{_plain(minutes)}m{_plain(rest)}s"
    if minutes:
        return f"{_plain(minutes)}m{_plain(rest)}s"
    return f"{_plain(rest)}s"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
