"""Durations as fly.toml and the Machines API write them: "1m30s", "500ms", "1.5h".

The grammar and the range are those of Go's `time.ParseDuration` and
`Duration.String` (https://pkg.go.dev/time), which every Fly.io tool speaks.
Knows nothing of clocks: a duration is a whole number of nanoseconds.
"""

from __future__ import annotations

import re

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_LONGEST_NS = 2**63 - 1
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "\N{MICRO SIGN}s": 1_000,
    "\N{GREEK SMALL LETTER MU}s": 1_000,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
}
_SUBSECOND = ("ms", "\N{MICRO SIGN}s", "ns")
_PART = re.compile(r"(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?([a-z\u00b5\u03bc]+)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_LONGEST_TEXT = 64


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of a Go duration such as "1m30s"; ValueError in plain words otherwise."""
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if body == "0":
        return 0
    if len(body) > _LONGEST_TEXT or not _WHOLE.fullmatch(body):
        raise ValueError("a duration is a number with a unit")
    total_ns = sum(_part_ns(*part) for part in _PART.findall(body))
    if total_ns > _LONGEST_NS:
        raise ValueError("a duration is at most 292 years")
    return sign * total_ns


def parse_duration_s(text: str) -> float:
    """Seconds of a Go duration; ValueError in plain words otherwise."""
    return parse_duration_ns(text) / NS_PER_S


def format_duration(duration_ns: int) -> str:
    """The text Go prints for it: "1m30s", "1h0m0s", "500ms", "0s"."""
    if duration_ns < 0:
        return f"-{format_duration(-duration_ns)}"
    if duration_ns == 0:
        return "0s"
    if duration_ns < NS_PER_S:
        unit = next(unit for unit in _SUBSECOND if duration_ns >= _UNITS_NS[unit])
        return f"{_decimal(duration_ns, _UNITS_NS[unit])}{unit}"
    minutes, rest_ns = divmod(duration_ns, 60 * NS_PER_S)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(rest_ns, NS_PER_S)}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _part_ns(whole: str, fraction: str, unit: str) -> int:
    if unit not in _UNITS_NS:
        raise ValueError("the units of a duration are ms, s, m and h")
    unit_ns = _UNITS_NS[unit]
    scale: int = 10 ** len(fraction)
    return int(whole or "0") * unit_ns + int(fraction or "0") * unit_ns // scale


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    fraction = str(unit + rest)[1:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)
