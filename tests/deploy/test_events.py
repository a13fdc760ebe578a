"""Events are a documented, versioned interface: what is written reads back, on any stream."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.events import (
    Cause,
    Event,
    FlagDecision,
    MachineStands,
    Noticed,
    PathChosen,
    Phase,
    Result,
    from_json,
    to_json,
    to_line,
)
from deploy.readers.report import Report
from tests.deploy.eventful import any_event

PAGE = Path(__file__).parents[2] / "docs" / "events.md"
# How a field's annotation is called in the documentation.
WORDS = {
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "true or false",
    "None": "null",
    "Phase": "phase",
    "Result": "result",
    "Cause": "cause",
    "FlagDecision": "decision",
    "Mapping[str, float]": "object",
    "tuple[str, ...]": "list of texts",
    "tuple[MachineStands, ...]": "list of machines",
    "tuple[tuple[str, str, str], ...]": "list",
}


@given(st.floats(-1e12, 1e12).map(lambda at: round(at, 3)), any_event)
def test_an_event_written_as_a_line_reads_back_as_it_was(at: float, event: Event) -> None:
    line = to_line(to_json(at, event))
    assert line.isascii()
    assert "\n" not in line
    back = from_json(json.loads(line))
    assert back == (at, event)


def test_a_decision_of_an_earlier_version_with_its_percentage_as_text_is_read() -> None:
    said = {"source": "flags.yaml", "unit": "hello", "bucket": 6343, "percent": "0.125"}
    data = {"at": 5, "event": "path_chosen", "path": "legacy", "retries": 0, "sentence": "why"}
    read = from_json(data | {"decision": said})
    assert read is not None
    assert isinstance(read[1], PathChosen)
    assert read[1].decision == FlagDecision(
        source="flags.yaml", unit="hello", bucket=6343, percent=0.125
    )


@given(
    st.recursive(
        st.none() | st.floats() | st.text(),
        lambda inner: st.dictionaries(st.sampled_from(["v", "at", "event", "x"]), inner),
    )
)
@example({"at": 10**400, "event": "noticed", "message": ""})
@example({"at": True, "event": "noticed", "message": ""})
@example({"at": float("inf"), "event": "noticed", "message": ""})
@example({"at": 1, "event": "noticed"})
@example({"at": 1, "event": ["noticed"], "message": ""})
def test_data_that_is_no_event_reads_as_none(data: object) -> None:
    assert from_json(data) is None


def test_fields_of_a_later_version_are_passed_over() -> None:
    data = {"v": 1, "at": 5, "event": "noticed", "message": "m", "since": "2030"}
    assert from_json(data) == (5.0, Noticed(message="m"))


def _tables() -> dict[str, dict[str, str]]:
    """Heading -> field -> type, as docs/events.md has them."""
    tables: dict[str, dict[str, str]] = {}
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.strip("# `")
        elif row := re.match(r"\| `(\w+)` \| ([^|]+) \|", line):
            tables.setdefault(heading, {})[row[1]] = row[2].strip()
    return tables


def _documented(kind: type) -> dict[str, str]:
    """Its own fields: `at` is on every line, and documented once."""
    return {
        field.name: " or ".join(WORDS[part] for part in str(field.type).split(" | "))
        for field in dataclasses.fields(kind)
        if field.name != "at"
    }


def _event_name(kind: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


@pytest.mark.parametrize("kind", get_args(Event))
def test_every_event_is_documented_with_all_its_fields(kind: type) -> None:
    assert _tables()[_event_name(kind)] == _documented(kind)


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("A machine", MachineStands), ("Report", Report), ("A decision", FlagDecision)],
)
def test_the_report_is_documented_with_all_its_fields(heading: str, kind: type) -> None:
    assert _tables()[heading] == _documented(kind)


def test_no_event_is_documented_that_there_is_not() -> None:
    others = {"What a run tells: events and the report", "A machine", "Report", "A decision"}
    assert set(_tables()) - others == {_event_name(kind) for kind in get_args(Event)}


@pytest.mark.parametrize(
    ("word", "members"), [("Phases", Phase), ("Results", Result), ("Causes", Cause)]
)
def test_phases_and_results_are_documented_in_full(
    word: str, members: type[Phase] | type[Result] | type[Cause]
) -> None:
    sentence = re.search(rf"^{word}: ([^.]*)\.", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sentence is not None
    assert re.findall(r"`([\w-]+)`", sentence[1]) == [str(member) for member in members]


def test_the_documentations_example_is_an_event() -> None:
    example_line = re.search(r"```json\n(.*)\n```", PAGE.read_text(encoding="utf-8"))
    assert example_line is not None
    entry = from_json(json.loads(example_line[1]))
    assert entry is not None
    assert to_line(to_json(*entry)) == example_line[1]
