"""The schema for editors, judged by another's validator, agrees with the reader."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from rollout.errors import BadFlagFile
from rollout.file import flagfile
from rollout.file.schema import schema
from tests.rollout.commands.running import run
from tests.rollout.strategies import flag_texts

ROOT = Path(__file__).parents[3]
VALIDATOR = Draft202012Validator(schema(), format_checker=FormatChecker(formats=["date"]))


class Core(yaml.SafeLoader):
    """Reads scalars as YAML 1.2 does, and editors with it: a date is text, `on` is text."""


Core.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    Core.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [*_first, ""]
    )


def accepted(text: str) -> tuple[bool, bool]:
    """Whether (the schema, the reader) takes the text."""
    document = yaml.load(text, Loader=Core)  # noqa: S506 -- a SafeLoader
    try:
        flagfile.parse(text)
    except BadFlagFile:
        return VALIDATOR.is_valid(document), False
    return VALIDATOR.is_valid(document), True


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


def test_the_file_beside_the_flags_is_what_the_command_prints() -> None:
    """If this fails: rollout schema > flags.schema.json."""
    assert (ROOT / "flags.schema.json").read_text() == run("schema").output


def test_the_shipped_flags_name_their_schema_and_follow_it() -> None:
    text = (ROOT / "flags.yaml").read_text()
    first = text.splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert named != first
    assert (ROOT / named).read_text() == run("schema").output
    assert accepted(text) == (True, True)


FLAG: dict[str, Any] = {"bucket_by": "app", "percent": 5, "inside": 5, "outside": 0}
STEP: dict[str, Any] = {"at": "2027-01-01T09:00+01:00", "percent": 5}
RAMPED: dict[str, Any] = {key: value for key, value in FLAG.items() if key != "percent"} | {
    "ramp": [STEP]
}
FULL: dict[str, Any] = RAMPED | {
    "description": "d",
    "owner": "o",
    "expires": "2027-03-31",
    "salt": "s",
    "enabled": True,
    "paused": "2027-01-01 09:00:30.5 Z",
    "always_inside": {"org": ["acme"]},
    "always_outside": {},
}


def document(**flags: Any) -> str:
    return json.dumps({"version": 1, "flags": flags}, ensure_ascii=False)


VARIED: dict[str, Any] = {
    "bucket_by": "app",
    "variants": {
        "x": {"weight": 10, "value": "a", "always": {"app": ["b"]}},
        "y": {"weight": 89.5, "value": "b"},
        "z": {"weight": 0.5, "value": "c"},
    },
}


RIGHT: list[dict[str, Any]] = [
    FLAG,
    RAMPED,
    FULL,
    VARIED,
    FLAG | {"inside": "", "outside": "x"},
    FLAG | {"guard": {"bake": "48h"}},
    FLAG | {"inside": 5.0},
    FLAG | {"inside": {"a": [1, None]}, "outside": {}},
]


@pytest.mark.parametrize("flag", RIGHT)
def test_what_is_right_is_taken_by_both(flag: dict[str, Any]) -> None:
    assert accepted(document(a=flag)) == (True, True)


WRONG_VARIANTS: list[Any] = [
    [], {}, {"x": VARIED["variants"]["x"]}, {"x": {"weight": 50}, "y": {"weight": 50, "value": 1}},
    {"x": {"value": 1}, "y": {"weight": 100, "value": 1}}, {"a b": {}, "c": {}},
]  # fmt: skip
WRONG_IN_A_FLAG: list[dict[str, Any]] = [
    {"percent": 101}, {"percent": -1}, {"percent": "5"}, {"percent": True},
    {"percent": None}, {"percent": [5]}, {"colour": "red"}, {"ramp": [STEP]},
    {"paused": STEP["at"]}, {"inside": "x"}, {"inside": None}, {"inside": []},
    {"inside": {"a": 2**53}, "outside": {}},
    {"inside": 2**53}, {"outside": False}, {"owner": 5}, {"owner": None}, {"salt": ""},
    {"bucket_by": ""}, {"enabled": "true"}, {"enabled": 1}, {"expires": "soon"},
    {"expires": "2027-02-30"}, {"expires": 2027}, {"always_inside": ["x"]},
    {"always_inside": {"app": "x"}}, {"always_inside": {"app": [1]}},
    {"always_inside": {"": []}}, {"description": {}},
]  # fmt: skip
WRONG_RAMPS: list[Any] = [
    [], {}, 5, [5], [{}], [{"at": STEP["at"]}], [{"percent": 5}],
    [STEP | {"at": "2027-01-01T09:00"}], [STEP | {"at": "2027-01-01"}], [STEP | {"x": 1}],
    [STEP | {"at": "tomorrow"}], [STEP | {"at": 5}], [STEP | {"percent": 101}],
]  # fmt: skip
WRONG = [
    "[]", "{}", '{"version": 1}', '{"flags": {}}', '{"version": 2, "flags": {}}',
    '{"version": "1", "flags": {}}', '{"version": 1, "flags": []}', '{"version": 1, "flags": null}',
    '{"version": 1, "flags": {}, "more": 1}', document(**{"a b": FLAG}), document(**{"": FLAG}),
    document(**{"a" * 101: FLAG}), document(a=[]), document(a=None),
    *(document(a={k: v for k, v in FLAG.items() if k != gone}) for gone in FLAG),
    *(document(a=FLAG | wrong) for wrong in WRONG_IN_A_FLAG),
    *(document(a=RAMPED | {"ramp": ramp}) for ramp in WRONG_RAMPS),
    document(a=RAMPED | {"paused": "now"}),
    *(document(a=VARIED | {"variants": variants}) for variants in WRONG_VARIANTS),
    *(document(a=VARIED | {name: FULL[name]}) for name in ("inside", "always_inside")),
    document(a=VARIED | {"percent": 5}),
    document(a=VARIED | {"guard": {}}),
    document(a=RAMPED | {"guard": {}}),
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_refused_by_both(text: str) -> None:
    assert accepted(text) == (False, False)


ONLY_THE_READER_REFUSES = [
    document(a=FLAG).replace(": 5", ": 010", 1),
    document(a=FLAG).replace(": 5", ": 1e1", 1),
    document(a=FLAG).replace(": 5", ": 0.0001", 1),
    "version: 1\nflags: {a: {bucket_by: app, percent: 5, inside: on, outside: off}}",
    "version: 1\nflags: {a: {bucket_by: app, percent: 5, inside: 1, outside: 0, owner: no}}",
    document(a=FLAG).replace('"inside": 5', '"inside": 5, "inside": 5'),
    document(a=FLAG).replace(": 5", ": !!int 5", 1),
    document(a=RAMPED | {"ramp": [STEP, STEP]}),
    document(a=RAMPED | {"ramp": [STEP | {"at": "2027-01-01T25:00Z"}]}),
    document(a=RAMPED | {"ramp": [STEP | {"at": "1969-01-01T00:00Z"}]}),
    document(a=VARIED).replace("89.5", "89.4"),
]


@pytest.mark.parametrize("text", ONLY_THE_READER_REFUSES)
def test_what_a_schema_cannot_say_is_left_to_the_reader(text: str) -> None:
    """The exceptions, all of them: rollout/schema.py lists them."""
    assert accepted(text) == (True, False)


@given(flag_texts())
def test_whatever_the_style_what_the_reader_takes_the_schema_takes(
    drawn: tuple[str, dict[str, int]],
) -> None:
    assert accepted(drawn[0]) == (True, True)


_words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 105)
    | st.sampled_from([2**53, 0.5, 12.345, 99.999, 100.5, -0.5, "2027-03-31", "", "5", STEP["at"]])
    | _words
)
_anything = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_words, inner, max_size=2),
    max_leaves=4,
)
_names = st.sampled_from([*FULL, "percent", "at", "version", "flags"]) | _words


def _containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [value] if isinstance(value, (dict, list)) else []
    return found + [each for item in inner for each in _containers(item)]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A flags file that is right, with up to two things in it changed for any other."""
    made: dict[str, Any] = {
        "version": 1,
        "flags": draw(
            st.dictionaries(
                st.sampled_from(["a", "b-1", "c.d"]), st.sampled_from([FLAG, RAMPED, FULL])
            )
        ),
    }
    made = copy.deepcopy(made)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.sampled_from(_containers(made)))
        if isinstance(place, list):
            place[:] = draw(st.lists(_anything, max_size=2))
        elif place and draw(st.booleans()):
            name = draw(st.sampled_from(sorted(place)))
            if draw(st.booleans()):
                del place[name]
            else:
                place[name] = draw(_anything)
        else:
            place[draw(_names)] = draw(_anything)
    return json.dumps(made, ensure_ascii=False)


@given(documents())
@example(document(a=FLAG | {"percent": 100.0}))
def test_schema_and_reader_agree(text: str) -> None:
    by_schema, by_reader = accepted(text)
    assert by_schema == by_reader
