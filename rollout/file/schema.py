"""The shape of a flags file as a JSON Schema (2020-12), for editors. Pure.

Made from the table and the patterns that the reader uses. What JSON Schema cannot say
is left to `rollout check`, which is stricter: how a number is written (010, 1e1, 5.00,
more than three decimals, 5.0 for a value), which texts need quotes, keys that are there
twice, anchors, aliases and tags, days that the calendar does not have, times that do
not exist, the order of a ramp's steps, that weights are 100 together, and the size of the
file. No file that the reader takes is refused by the schema.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from rollout.bucketing import GENERATIONS
from rollout.file.fields import DATE, FLAG_KEY, LARGEST_INT, TIME
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
from rollout.flag.guard import EVENT
from rollout.ramps.hours import SPAN

Schema: TypeAlias = dict[str, Any]


def schema() -> Schema:
    """The schema of a flags file, as JSON would hold it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Flags of tidegate",
        "description": "Gradual rollouts kept in git. Made by: rollout schema",
        **_mapping(FILE_KEYS),
        "$defs": {
            "flag": {
                **_mapping(FLAG_KEYS, ONLY_TWO_WAY),
                "oneOf": [
                    {"required": ["percent", "inside", "outside"]},
                    {"required": ["ramp", "inside", "outside"]},
                    {"required": ["variants"], "not": {"anyOf": _ANY_TWO_WAY}},
                ],
                "anyOf": [_both(kind) for kind in _TYPES],
                "dependentRequired": {"paused": ["ramp"], "guard": ["percent"]},
            },
            "variant": _mapping(VARIANT_KEYS),
            "value": _VALUE,
            "inner": _VALUE | {"type": [*_VALUE["type"], "array", "null"]},
            "step": _mapping(STEP_KEYS),
            "guard": _mapping(GUARD_KEYS),
        },
    }


_TYPES = ("number", "boolean", "string", "object")
_ANY_TWO_WAY = [{"required": [name]} for name in ONLY_TWO_WAY]

_VALUE: Schema = {
    "type": ["number", "boolean", "string", "object"],
    "minimum": -LARGEST_INT,
    "maximum": LARGEST_INT,
    "propertyNames": {"minLength": 1},
    "additionalProperties": {"$ref": "#/$defs/inner"},
    "items": {"$ref": "#/$defs/inner"},
}

_KINDS: Mapping[Kind, Schema] = {
    "version": {"const": 1},
    "flags": {
        "type": "object",
        "propertyNames": {"pattern": f"^{FLAG_KEY.pattern}$"},
        "additionalProperties": {"$ref": "#/$defs/flag"},
    },
    "text": {"type": "string"},
    "name": {"type": "string", "minLength": 1},
    "date": {"type": "string", "pattern": f"^{DATE.pattern}$", "format": "date"},
    "time": {"type": "string", "pattern": f"^{TIME.pattern}$"},
    "boolean": {"type": "boolean"},
    "bucketing": {"enum": list(GENERATIONS)},
    "percent": {"type": "number", "minimum": 0, "maximum": 100},
    "value": {"$ref": "#/$defs/value"},
    "lists": {
        "type": "object",
        "propertyNames": {"minLength": 1},
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    },
    "variants": {
        "type": "object",
        "minProperties": 2,
        "propertyNames": {"pattern": f"^{FLAG_KEY.pattern}$"},
        "additionalProperties": {"$ref": "#/$defs/variant"},
    },
    "ramp": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}},
    "guard": {"$ref": "#/$defs/guard"},
    "stages": {
        "type": "array",
        "minItems": 1,
        "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100},
    },
    "span": {"type": "string", "pattern": f"^{SPAN.pattern}$"},
    "event": {"type": "string", "pattern": f"^(?:{EVENT.pattern})$"},
    "evidence": {"type": "number", "exclusiveMinimum": 1},
    "share": {"type": "number", "exclusiveMinimum": 0},
    "number": {"type": "integer", "minimum": 0},
}


def _mapping(keys: Mapping[str, Key], less: Collection[str] = ()) -> Schema:
    return {
        "type": "object",
        "required": [name for name, key in keys.items() if key.if_missing and name not in less],
        "properties": {
            name: {"description": key.about, **_KINDS[key.kind]} for name, key in keys.items()
        },
        "additionalProperties": False,
    }


def _both(kind: str) -> Schema:
    """Inside and outside are of this one type."""
    return {"properties": {"inside": {"type": kind}, "outside": {"type": kind}}}
