"""The text of a flags file -> its flags, or every error at once with line, column and fix.

Knows the shape of flags.yaml. Knows nothing of where the text comes from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace
from yaml import Node

from rollout.errors import BadFlagFile, Problem
from rollout.file import fields, yamlnodes
from rollout.file.fields import AlreadyReported, Wrong
from rollout.file.shape import (
    FILE_KEYS,
    FLAG_KEYS,
    GUARD_KEYS,
    ONLY_TWO_WAY,
    STEP_KEYS,
    VARIANT_KEYS,
    Key,
    Kind,
)
from rollout.flag import EVERYBODY, NOBODY, Flag, Ramp, Step, Value, Variant, percent_text
from rollout.flag.guard import Guard
from rollout.wording import did_you_mean, show

LARGEST_BYTES = 1 << 20
"""A flags file may have a size of up to 1 MiB."""

_CONFLICT = re.compile(r"(<{7}|\|{7}|={7}|>{7})( |$)")

T = TypeVar("T")
_Found: TypeAlias = dict[str, tuple[Node, Node]]


class FlagFile(msgspec.Struct, frozen=True):
    """A flags file that is in order; `source` is what to call it in messages."""

    source: str
    text: str
    flags: Mapping[str, Flag]


def parse_bytes(data: bytes, source: str) -> FlagFile:
    """Bytes of UTF-8, with or without BOM, to flags; raises BadFlagFile."""
    if len(data) > LARGEST_BYTES:
        problem = Problem(
            1, 1, f"the file has more than {LARGEST_BYTES:,} bytes", "split or shorten it"
        )
        raise BadFlagFile(source, [problem])
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        line = before.count("\n")
        column = len(before) - (before.rfind("\n") + 1)
        fix = "save the file as UTF-8"
        raise BadFlagFile(
            source, [Problem(line + 1, column + 1, "the file is not UTF-8", fix)]
        ) from None
    return parse(text, source)


def parse(text: str, source: str = "flags.yaml") -> FlagFile:
    """Text to flags; raises BadFlagFile with all that is wrong."""
    if conflicts := _conflicts(text):
        raise BadFlagFile(source, conflicts)
    root, problems = yamlnodes.compose(text)
    flags: dict[str, Flag] = {}
    if root is not None:
        flags = _Reader(problems).file(root)
    elif not problems:
        fix = "begin with version: 1 and, below it, flags:"
        problems.append(Problem(1, 1, "the file is empty", fix))
    if problems:
        raise BadFlagFile(source, problems)
    return FlagFile(source, text, MappingProxyType(flags))


def _conflicts(text: str) -> list[Problem]:
    """The marks that git leaves where it could not merge, which explain all else there is."""
    lines = enumerate(re.split(r"\r\n|\n|\r", text), 1)
    marked = [(number, line[:7]) for number, line in lines if _CONFLICT.match(line)]
    if not any(mark == "<<<<<<<" for _, mark in marked):
        return []
    fix = "keep one of the two sides, and remove the marks"
    return [Problem(number, 1, f"a conflict mark of git ({mark})", fix) for number, mark in marked]


def paused_ramp(steps: Sequence[Step], paused: datetime) -> Ramp:
    """The ramp of these steps, standing still since `paused`."""
    begun = tuple(step for step in steps if step.at <= paused)
    waiting = tuple(step for step in steps if step.at > paused)
    return Ramp(begun or (Step(paused, 0),), paused, waiting)


class _Reader:
    """Reads nodes and goes on after an error, so that one run shows them all."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.path: list[str] = []

    def file(self, root: Node) -> dict[str, Flag]:
        top = self.mapping(root, FILE_KEYS)
        if top is None:
            return {}
        self.complete(root, top, FILE_KEYS)
        self.optional(top, "version", fields.version, 1)
        flags: dict[str, Flag] = {}
        for key, (key_node, node) in (self.under("flags", top) or {}).items():
            if not fields.FLAG_KEY.fullmatch(key):
                fix = "use up to 100 letters, digits, and . _ - between them"
                self.wrong(key_node, Wrong(f"{show(key)} is not a name for a flag", fix))
            with self.inside(show(key)):
                flag = self.flag(key, key_node, node)
            if flag is not None:
                flags[key] = flag
        return flags

    def flag(self, key: str, key_node: Node, node: Node) -> Flag | None:
        found = self.mapping(node, FLAG_KEYS)
        if found is None:
            return None
        seen = len(self.problems)
        values: dict[str, Any] = {"bucket_by": "", "inside": 0, "outside": 0, "salt": key}
        for name, (_, value_node) in found.items():
            kind = FLAG_KEYS[name].kind
            if kind == "lists":
                values[name] = self.lists(found, name)
            elif kind in _SCALARS:
                value = self.read(value_node, _SCALARS[kind], name)
                values |= {} if value is None else {name: value}
        if "variants" in found:
            values |= self.variants(key_node, found)
        else:
            self.complete(key_node, found, FLAG_KEYS)
            values |= {"rollout": self.rollout(key_node, found), "guard": self.guard(found)}
        flag = _as_floats(Flag(key=key, **values))
        if len(self.problems) == seen:
            self.of_one_type(flag, found)
        return flag

    def of_one_type(self, flag: Flag, found: _Found) -> None:
        pairs = [(each.name, each.value) for each in flag.variants]
        first, *others = pairs or [("inside", flag.inside), ("outside", flag.outside)]
        for name, value in others:
            if type(value) is not type(first[1]):
                message = f"is {_type(value)}, but {first[0]} is {_type(first[1])}"
                node = found["variants" if flag.variants else "outside"][1]
                self.wrong(node, Wrong(message, "make both one type"), name)

    def variants(self, key_node: Node, found: _Found) -> dict[str, Any]:
        """What a flag with variants has in the place of inside, outside and percent."""
        for name in ONLY_TWO_WAY:
            if name in found:
                fix = f"remove {name}, or write inside and outside instead of variants"
                self.wrong(found[name][0], Wrong(f"a flag with variants has no {name}", fix))
        optional = {name: key for name, key in FLAG_KEYS.items() if name not in ONLY_TWO_WAY}
        self.complete(key_node, found, optional)
        seen = len(self.problems)
        variants = [
            variant
            for name, (name_node, node) in (self.under("variants", found) or {}).items()
            if (variant := self.variant(name, name_node, node))
        ]
        if len(self.problems) > seen:
            return {"rollout": 0}
        total = sum(variant.weight for variant in variants)
        if len(variants) < 2:
            wrong = Wrong("there are fewer than two", "add one, or write inside and outside")
            self.wrong(found["variants"][1], wrong, "variants")
            return {"rollout": 0}
        if total != EVERYBODY:
            message = f"their weights are {percent_text(total)} together, not 100"
            self.wrong(found["variants"][1], Wrong(message, "make them 100"), "variants")
        first, last = variants[0], variants[-1]
        ends = {"inside": first.value, "outside": last.value, "rollout": EVERYBODY - last.weight}
        return {"variants": tuple(variants), **ends}

    def variant(self, name: str, name_node: Node, node: Node) -> Variant | None:
        if not fields.FLAG_KEY.fullmatch(name):
            fix = "use up to 100 letters, digits, and . _ - between them"
            self.wrong(name_node, Wrong(f"{show(name)} is not a name for a variant", fix))
        with self.inside(f"variants: {show(name)}"):
            found = self.mapping(node, VARIANT_KEYS)
            if found is None:
                return None
            self.complete(name_node, found, VARIANT_KEYS)
            nothing: Value = 0
            return Variant(
                name,
                self.optional(found, "weight", fields.percent, 0),
                self.optional(found, "value", fields.value, nothing),
                self.lists(found, "always") if "always" in found else NOBODY,
            )

    def rollout(self, key_node: Node, found: _Found) -> int | Ramp:
        paused = self.optional(found, "paused", fields.time, None)
        if "ramp" not in found:
            self.required(
                key_node, found, "percent", "add percent: 0, the number to bump, or a ramp"
            )
            if "paused" in found:
                fix = "remove it, or write enabled: false to switch the flag off"
                self.wrong(found["paused"][0], Wrong("only a ramp can be paused", fix), "paused")
            return self.optional(found, "percent", fields.percent, 0)
        if "percent" in found:
            fix = "remove one of the two"
            later = max(found["percent"][0], found["ramp"][0], key=lambda n: n.start_mark.index)
            self.wrong(later, Wrong("a flag has either percent or ramp, not both", fix))
            self.optional(found, "percent", fields.percent, 0)
        steps = self.steps(found)
        return paused_ramp(steps, paused) if paused else Ramp(tuple(steps))

    def steps(self, found: _Found) -> list[Step]:
        steps: list[Step] = []
        nodes = self.read(found["ramp"][1], fields.items, "ramp")
        for number, node in enumerate(nodes or [], 1):
            with self.inside(f"ramp step {number}"):
                step = self.step(node)
            if step is None:
                continue
            if steps and step.at <= steps[-1].at:
                message = "this step is not after the one before it"
                self.wrong(node, Wrong(message, "put the steps in order of time"), "ramp")
            steps.append(step)
        if nodes == []:
            fix = "add steps with at and percent, or write percent instead"
            self.wrong(found["ramp"][1], Wrong("it has no steps", fix), "ramp")
        return steps

    def step(self, node: Node) -> Step | None:
        found = self.mapping(node, STEP_KEYS)
        if found is None:
            return None
        self.complete(node, found, STEP_KEYS)
        at = self.optional(found, "at", fields.time, None)
        threshold = self.optional(found, "percent", fields.percent, None)
        return None if at is None or threshold is None else Step(at, threshold)

    def guard(self, found: _Found) -> Guard | None:
        if "guard" not in found:
            return None
        if "ramp" in found:
            fix = "remove one of the two: a ramp moves by the clock, a guard by outcomes"
            self.wrong(found["guard"][0], Wrong("a flag has either a guard or a ramp", fix))
        with self.inside("guard"):
            inner = self.mapping(found["guard"][1], GUARD_KEYS) or {}
            read = {
                name: self.read(node, _GUARD[GUARD_KEYS[name].kind], name)
                for name, (_, node) in inner.items()
            }
        values: dict[str, Any] = {
            "bake_s" if name == "bake" else name: value
            for name, value in read.items()
            if value is not None
        }
        return Guard(**values)

    def lists(self, found: _Found, key: str) -> Mapping[str, frozenset[str]]:
        lists: dict[str, frozenset[str]] = {}
        for attribute, (_, node) in (self.under(key, found) or {}).items():
            with_path = f"{key}: {show(attribute)}"
            nodes = self.read(node, fields.items, with_path) or []
            values = [self.read(item, fields.text, with_path) for item in nodes]
            lists[attribute] = frozenset(value for value in values if value is not None)
        return MappingProxyType(lists)

    def under(self, key: str, found: _Found) -> _Found | None:
        """The mapping that is the value of `key`, if it is there."""
        if key not in found:
            return None
        with self.inside(key):
            return self.mapping(found[key][1], {})

    def mapping(self, node: Node, known: Mapping[str, Key]) -> _Found | None:
        """The keys of a mapping with their nodes; an empty `known` allows any."""
        pairs = self.read(node, fields.pairs)
        if pairs is None:
            return None
        found: _Found = {}
        for key_node, value_node in pairs:
            key = self.read(key_node, fields.name, "a key")
            if key is None:
                continue
            if known and key not in known:
                fix = did_you_mean(key, known, f"use one of {', '.join(known)}")
                self.wrong(key_node, Wrong(f"unknown key {show(key)}", fix))
            elif key in found:
                first = found[key][0].start_mark.line + 1
                self.wrong(
                    key_node,
                    Wrong(
                        f"{show(key)} is here twice, first on line {first}", "remove one of them"
                    ),
                )
            else:
                found[key] = (key_node, value_node)
        return found

    def complete(self, node: Node, found: _Found, keys: Mapping[str, Key]) -> None:
        for key, (_, _, if_missing) in keys.items():
            if if_missing:
                self.required(node, found, key, if_missing)

    def required(self, node: Node, found: _Found, key: str, fix: str) -> None:
        if key not in found:
            self.wrong(node, Wrong(f"{key} is missing", fix))

    def optional(self, found: _Found, key: str, read: Callable[[Node], T], default: T) -> T:
        value = self.read(found[key][1], read, key) if key in found else None
        return default if value is None else value

    def read(self, node: Node, read: Callable[[Node], T], what: str = "") -> T | None:
        try:
            return read(node)
        except Wrong as wrong:
            self.wrong(node, wrong, what)
            return None

    @contextmanager
    def inside(self, step: str) -> Iterator[None]:
        self.path.append(step)
        yield
        self.path.pop()

    def wrong(self, node: Node, wrong: Wrong, what: str = "") -> None:
        if isinstance(wrong, AlreadyReported):
            return
        message = ": ".join([*self.path, *([what] if what else []), wrong.message])
        self.problems.append(yamlnodes.problem(node, message, wrong.fix))


_SCALARS: Mapping[Kind, Callable[[Node], Any]] = {
    "text": fields.text,
    "name": fields.name,
    "date": fields.iso_date,
    "boolean": fields.boolean,
    "bucketing": fields.generation,
    "value": fields.value,
}


_GUARD: Mapping[Kind, Callable[[Node], Any]] = {
    "stages": fields.stages,
    "span": fields.span,
    "event": fields.event,
    "evidence": fields.evidence,
    "share": fields.share,
    "number": fields.number,
}


def _as_floats(flag: Flag) -> Flag:
    """The flag with floats for its integers where it has both: a reader of 1 and 0.5 means so."""
    values = [flag.inside, flag.outside, *(each.value for each in flag.variants)]
    if {type(value) for value in values} != {int, float}:
        return flag
    inside, outside, *others = (float(str(value)) for value in values)
    pairs = zip(flag.variants, others, strict=True)
    variants = tuple(replace(variant, value=value) for variant, value in pairs)
    return replace(flag, inside=inside, outside=outside, variants=variants)


def _type(value: object) -> str:
    return _TYPES.get(type(value), "an object")


_TYPES = {bool: "a boolean", int: "an integer", float: "a float", str: "text"}
