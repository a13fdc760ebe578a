"""One node of a flags file -> one value, or Wrong with what is wrong and the fix.

Scalars are read by their text, not by what YAML 1.1 makes of them: there `on` is a
boolean, `010` is eight and `12:30` is 750. What readers disagree on is refused.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from itertools import pairwise
from typing import Any

from yaml import MappingNode, Node, ScalarNode, SequenceNode

from rollout.bucketing import GENERATIONS, Generation
from rollout.errors import InvalidValue
from rollout.file.yamlnodes import is_ambiguous, is_plain, is_refused, kind
from rollout.flag import EVERYBODY, Value
from rollout.flag.guard import Event, parse_event
from rollout.ramps.hours import parse_duration
from rollout.wording import did_you_mean, show

LARGEST_INT = 2**53 - 1
"""Beyond it, languages that read numbers as doubles see another one."""

FLAG_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_PERCENT = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_OFFSET = r" ?(?:Z|[-+][0-9]{2}:[0-9]{2})"
_LOCAL_TIME = DATE.pattern + r"[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
_TIME = re.compile(f"{_LOCAL_TIME}(?:{_OFFSET})?")
TIME = re.compile(_LOCAL_TIME + _OFFSET)


class Wrong(Exception):
    """What is wrong with one value, and the fix, without the place."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class AlreadyReported(Wrong):
    """The node stands for something that is on the list of problems."""


def parse_percent(text: str) -> int:
    """Percent as decimal text -> threshold, 0..100000, exactly; raises Wrong."""
    match = _PERCENT.fullmatch(text)
    if not match:
        raise _no_percent(text)
    whole, decimals = match[1], match[2] or ""
    if len(whole) > 1 and whole.startswith("0"):
        fix = f"write {whole.lstrip('0') or '0'}{'.' if decimals else ''}{decimals}"
        raise Wrong(f"{show(text)} has a leading zero", fix)
    if len(decimals) > 3:
        fix = "write at most three, as in 0.001"
        raise Wrong(f"{show(text)} has more than three decimals", fix)
    if len(whole) > 3 or (threshold := int(whole + decimals.ljust(3, "0"))) > 100_000:
        raise Wrong(f"{show(text)} is over 100", "write a number from 0 to 100")
    return threshold


def _no_percent(text: str) -> Wrong:
    """What text that is no decimal number most likely means."""
    number = text.rstrip("%").strip()
    if number != text and _PERCENT.fullmatch(number):
        return Wrong(f"{show(text)} is not a bare number", f"write {number}")
    if text.startswith("-") and _PERCENT.fullmatch(text[1:]):
        return Wrong(f"{show(text)} is below 0", "write a number from 0 to 100")
    if text.startswith(".") and _PERCENT.fullmatch("0" + text):
        return Wrong(f"{show(text)} does not begin with a digit", f"write 0{text}")
    return Wrong(f"{show(text)} is not a number", "write a number from 0 to 100, such as 5 or 0.5")


def parse_time(text: str) -> datetime:
    """ISO 8601 with an offset -> an aware datetime; raises Wrong."""
    fix = "write a time with its offset, such as 2027-03-01T09:00:00+01:00 or ...Z"
    try:
        time = datetime.fromisoformat(text.replace(" +", "+").replace(" -", "-").replace(" Z", "Z"))
    except ValueError:
        time = None
    if time is None or not _TIME.fullmatch(text):
        raise Wrong(f"{show(text)} is not a time", fix)
    if time.tzinfo is None:
        raise Wrong(
            f"{show(text)} has no offset", f"write {text}Z for UTC, or add +01:00 or the like"
        )
    if not 1970 <= time.year < 9999:
        raise Wrong(f"{show(text)} is out of range", "write a year from 1970 on")
    return time


def percent(node: Node) -> int:
    """A threshold, from a number without quotes."""
    scalar = _scalar(node, "write a number from 0 to 100")
    if not is_plain(scalar) and _PERCENT.fullmatch(scalar.value):
        raise Wrong(f"{_shown(scalar)} is text", f"write {scalar.value} without the quotes")
    return parse_percent(scalar.value)


def time(node: Node) -> datetime:
    """An aware datetime."""
    return parse_time(_scalar(node, "write a time with its offset").value)


def iso_date(node: Node) -> str:
    """A day of the calendar, as it is written."""
    text = str(_scalar(node, "write a date such as 2027-03-31").value)
    try:
        valid = DATE.fullmatch(text) is not None and bool(date.fromisoformat(text))
    except ValueError:
        valid = False
    if not valid:
        raise Wrong(f"{show(text)} is not a date", "write a date such as 2027-03-31")
    return text


def boolean(node: Node) -> bool:
    """Exactly true or false."""
    scalar = _scalar(node, "write true or false")
    if not is_plain(scalar) or scalar.value not in ("true", "false"):
        raise Wrong(f"{_shown(scalar)} is not true or false", "write true or false")
    return bool(scalar.value == "true")


def text(node: Node) -> str:
    """Text that every YAML reader takes for text."""
    scalar = _scalar(node, "write text")
    if is_ambiguous(scalar):
        raise Wrong(
            f"{scalar.value} is {kind(scalar)} to YAML, not text", f'write "{scalar.value}"'
        )
    return _carried(scalar.value)


def name(node: Node) -> str:
    """Text that is not empty."""
    if not (value := text(node)):
        raise Wrong("it is empty", "write a name")
    return value


def value(node: Node) -> Value:
    """What a flag is worth: a number, a boolean, text, or an object of what JSON has."""
    _check(node)
    if isinstance(node, MappingNode):
        return _object(node)
    fix = "write a number, true or false, text, or an object"
    scalar = _scalar(node, fix)
    written = scalar.value
    if not is_ambiguous(scalar):
        return _carried(written)
    if written in ("true", "false"):
        return bool(written == "true")
    if _INTEGER.fullmatch(written):
        if len(written) > 17 or abs(int(written)) > LARGEST_INT:
            raise Wrong(f"{show(written)} is too large", f"stay within {LARGEST_INT} either way")
        return int(written)
    if _FLOAT.fullmatch(written):
        if abs(float(written)) > LARGEST_INT:
            raise Wrong(f"{show(written)} is too large", f"stay within {LARGEST_INT} either way")
        return float(written)
    if kind(scalar) == "a boolean":
        raise Wrong(
            f"{written} is a boolean to some YAML readers and text to others",
            f'write true or false, or "{written}" if text is meant',
        )
    raise Wrong(
        f"{show(written)} is {kind(scalar)}, but no plain number",
        f'write a number such as 5 or 0.5, or "{written}" if text is meant',
    )


def _object(node: MappingNode) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, inner in node.value:
        if (written := name(key)) in found:
            raise Wrong(f"{show(written)} is in it twice", "remove one of them")
        found[written] = _inner(inner)
    return found


def _inner(node: Node) -> Any:
    """A value within an object, which may also be a list or nothing."""
    _check(node)
    if isinstance(node, SequenceNode):
        return [_inner(item) for item in node.value]
    if isinstance(node, ScalarNode) and is_plain(node) and node.value == "null":
        return None
    return value(node)


def generation(node: Node) -> Generation:
    """Which generation of flagd's hash."""
    given = text(node)
    for known in GENERATIONS:
        if given == known:
            return known
    choices = " or ".join(GENERATIONS)
    raise Wrong(f"{show(given)} is not known", did_you_mean(given, GENERATIONS, f"write {choices}"))


def stages(node: Node) -> tuple[int, ...]:
    """Thresholds that rise, none of them 0 or 100 %."""
    fix = "write percentages that rise, above 0 and below 100, such as [5, 25, 50]"
    found = [percent(item) for item in items(node)]
    if not found:
        raise Wrong("it has no stages", fix)
    for before, after in pairwise([0, *found]):
        if after <= before:
            raise Wrong(f"{after / 1000:g} is not above {before / 1000:g}", fix)
    if found[-1] == EVERYBODY:
        raise Wrong("the last stage is 100, where there is no control", fix)
    return tuple(found)


def span(node: Node) -> int:
    """A span of time as seconds."""
    fix = "write days, hours or minutes, such as 7d, 24h or 90m"
    try:
        found = parse_duration(_scalar(node, fix).value, "it")
    except InvalidValue as error:
        raise Wrong(error.message.removeprefix("it "), error.hint) from None
    return (found.days * 1440 + found.minutes) * 60


def event(node: Node) -> Event:
    """Which deploys are failures."""
    fix = "write not-done, platform, in-between or slower:SECONDS"
    written = _scalar(node, fix).value
    if (found := parse_event(written)) is None:
        raise Wrong(f"{show(written)} is not an event", fix)
    return found


def evidence(node: Node) -> float:
    """A number above 1."""
    fix = "write a number such as 20, for 20 to 1"
    if (found := _number(node, fix)) <= 1:
        raise Wrong(f"{found:g} is not above 1", fix)
    return found


def share(node: Node) -> float:
    """A number above 0."""
    fix = "write a share above 0, such as 0.25 for a quarter more"
    if (found := _number(node, fix)) <= 0:
        raise Wrong("it is 0", fix)
    return found


def number(node: Node) -> int:
    """A whole number, 0 or more."""
    fix = "write a whole number such as 30"
    if not (found := _number(node, fix)).is_integer():
        raise Wrong(f"{found:g} is not a whole number", fix)
    return int(found)


def _number(node: Node, fix: str) -> float:
    scalar = _scalar(node, fix)
    if not is_plain(scalar) or not _DECIMAL.fullmatch(scalar.value):
        raise Wrong(f"{_shown(scalar)} is not a number", fix)
    return float(scalar.value)


def version(node: Node) -> int:
    """The version of the file's format, of which there is one."""
    scalar = _scalar(node, "write 1")
    if not is_plain(scalar) or scalar.value != "1":
        raise Wrong(f"{_shown(scalar)} is not a version this rollout reads", "write 1")
    return 1


def items(node: Node) -> list[Node]:
    """The nodes of a list."""
    _check(node)
    if not isinstance(node, SequenceNode):
        raise Wrong(f"it is {kind(node)}, not a list", "write a list, such as [hello, my-app]")
    return list(node.value)


def pairs(node: Node) -> list[tuple[Node, Node]]:
    """The (key, value) nodes of a mapping."""
    _check(node)
    if not isinstance(node, MappingNode):
        raise Wrong(f"it is {kind(node)}, not a mapping", "write key: value lines, indented")
    return list(node.value)


def _scalar(node: Node, fix: str) -> ScalarNode:
    _check(node)
    if not isinstance(node, ScalarNode):
        raise Wrong(f"it is {kind(node)}", fix)
    if kind(node) == "empty":
        raise Wrong("it is empty", fix)
    return node


def _check(node: Node) -> None:
    if is_refused(node):
        raise AlreadyReported("", "")


def _carried(written: str) -> str:
    try:
        written.encode()
    except UnicodeEncodeError:
        raise Wrong(
            f"{show(written)} is not text that UTF-8 can carry", "remove the lone surrogate"
        ) from None
    return written


def _shown(scalar: ScalarNode) -> str:
    return show(scalar.value) if is_plain(scalar) else f'"{scalar.value[:60]}"'
