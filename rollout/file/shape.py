"""The keys of a flags file: what each holds and means, and which must be there.

The one table from which both the reader (flagfile) and the schema for editors
(schema) are made. Knows neither YAML nor JSON Schema.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal[
    "version", "flags", "text", "name", "date", "time", "boolean", "percent", "value", "lists",
    "ramp", "bucketing", "variants",
    "guard", "stages", "span", "event", "evidence", "share", "number",
]  # fmt: skip


class Key(NamedTuple):
    """What the value is, what it means, and the fix if it is missing (none if it may be)."""

    kind: Kind
    about: str
    if_missing: str = ""


FILE_KEYS = {
    "version": Key("version", "The version of this format.", "begin the file with version: 1"),
    "flags": Key("flags", "The flags, each under its name.", "add flags: with the flags below it"),
}

FLAG_KEYS = {
    "description": Key("text", "What the flag is for."),
    "owner": Key("text", "Who answers for the flag."),
    "expires": Key("date", "The last day on which the flag should exist."),
    "salt": Key(
        "name", "What units are drawn with instead of the flag's name; another one draws anew."
    ),
    "bucketing": Key(
        "bucketing", "The generation of flagd's hash; another one draws everybody anew."
    ),
    "enabled": Key("boolean", "The kill switch: false puts everybody outside."),
    "bucket_by": Key(
        "name",
        "The attribute that is the unit, such as app.",
        "add the attribute that is the unit, such as bucket_by: app",
    ),
    "percent": Key("percent", "The share of units inside, 0 to 100, up to three decimals."),
    "paused": Key("time", "Since when the ramp stands still; rollout resume undoes it."),
    "ramp": Key("ramp", "Dated steps instead of percent; before the first nobody is inside."),
    "guard": Key("guard", "By which outcomes of deploys the percentage moves; rollout guard."),
    "variants": Key(
        "variants", "More values than two, each with its weight; the last is the rest."
    ),
    "inside": Key(
        "value", "What the flag is worth inside the rollout.", "add the value inside the rollout"
    ),
    "outside": Key("value", "What it is worth for the rest.", "add the value for the rest"),
    "always_inside": Key("lists", "Attribute to the values that are always inside."),
    "always_outside": Key("lists", "Attribute to the values that are always outside; wins."),
}

ONLY_TWO_WAY = (
    "percent", "ramp", "paused", "guard", "inside", "outside", "always_inside", "always_outside",
)  # fmt: skip
"""The keys that a flag with variants does not have."""

VARIANT_KEYS = {
    "weight": Key("percent", "Its share of the units; all together are 100.", "add its weight"),
    "value": Key("value", "What the flag is worth.", "add what the flag is worth"),
    "always": Key("lists", "Attribute to the values that always have this variant."),
}

STEP_KEYS = {
    "at": Key(
        "time",
        "From when the percentage holds: a time with its offset.",
        "add the time from which it holds",
    ),
    "percent": Key(
        "percent",
        "The share of units inside from then on.",
        "add the percentage that begins then",
    ),
}

GUARD_KEYS = {
    "stages": Key("stages", "The percentages in their order; 5, 10, 25, 50, 95 if not given."),
    "bake": Key("span", "How long each stage is seen at least, such as 24h, which is the default."),
    "event": Key("event", "Which deploys are failures; not-done if not given."),
    "kill": Key("evidence", "Evidence of harm, to 1, that switches the flag off; 100."),
    "advance": Key("evidence", "Evidence, to 1, that the next stage is affordable; 20."),
    "budget": Key("share", "By which share all failures together may rise; 0.25."),
    "min_units": Key("number", "How many units have to be inside; 30."),
}
