"""What the options of `deploy` take: durations, counts and fractions, lists of names, pairs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from deploy.errors import UsageProblem
from deploy.flytoml.durations import parse_duration_s

if TYPE_CHECKING:
    from decimal import Decimal

ALL = 10**9  # a max_unavailable that no group is larger than
_SHORTEST_LEASE_S, _LONGEST_LEASE_S = 5, 3600


class Duration(click.ParamType[float]):
    """Seconds, from `90`, `90s`, `5m` or `1m30s`."""

    name = "duration"

    def __init__(self, *, may_be_zero: bool = False) -> None:
        self._may_be_zero = may_be_zero

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        text = str(value)
        try:
            seconds = parse_duration_s(f"{text}s" if text.isdecimal() else text)
        except ValueError:
            self.fail(f"{text!r} is not a valid duration: write 90s, 5m or 1m30s", param, ctx)
        if seconds < 0 or (seconds == 0 and not self._may_be_zero):
            self.fail(f"{text!r} must be positive", param, ctx)
        return seconds


class MaxUnavailable(click.ParamType["Decimal | int"]):
    """A count such as 2, a fraction such as 0.33, or a percentage: 33%, and 100% for all."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal | int:
        text = str(value)
        number = _number(text)
        if number is None or (number > 1 and number != int(number) and not text.endswith("%")):
            self.fail(f"{text!r} is neither a count (2) nor a fraction (0.33)", param, ctx)
        if number <= 0 or (text.endswith("%") and number > 1):
            self.fail(f"{text!r}: give a count from 1, or a fraction up to 100%", param, ctx)
        return ALL if text.endswith("%") and number == 1 else number


def _number(text: str) -> Decimal | None:
    """A number or a percentage; None for what is neither."""
    from decimal import Decimal, InvalidOperation  # which the help does not need

    try:
        number = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def names(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> frozenset[str]:
    """An option that may be given more than once, and take several names with commas."""
    return frozenset(name.strip() for text in texts for name in text.split(",") if name.strip())


def pairs_of(_: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> Mapping[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (key, equals, _value) in zip(texts, pairs, strict=True):
        if not equals or not key:
            name = param.opts[0]
            raise UsageProblem(f"{name} {text!r} is not KEY=VALUE", hint=f"write {name} KEY=value")
    return {key: value for key, _equals, value in pairs}


def secrets_of(
    _: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> Mapping[str, str]:
    """NAME=VALUE, or NAME for the value of that environment variable: off the command line."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or (not equals and name not in os.environ):
            option = param.opts[0]
            what = f"there is no variable {name}" if name else "it has no name"
            raise UsageProblem(f"{option}: {what}", hint=f"export {name or 'NAME'}=... before it")
        found[name] = value if equals else os.environ[name]
    return found


def unless(_: click.Context, __: click.Parameter, is_given: bool) -> bool:
    """A flag that switches something off."""
    return not is_given


def lease(_: click.Context, __: click.Parameter, seconds: float) -> int:
    if not _SHORTEST_LEASE_S <= seconds <= _LONGEST_LEASE_S:
        raise UsageProblem(
            f"--lease-timeout is {seconds:g} s",
            hint="give 5s to 1h: a lease is refreshed every third of it",
        )
    return int(seconds)
