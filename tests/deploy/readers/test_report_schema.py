"""docs/report.schema.json is the report, as other programs may rely on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings

from deploy.readers.report import REPORT_VERSION, Report
from tests.deploy.eventful import Entry, any_run

PAGE = Path(__file__).parents[3] / "docs" / "report.schema.json"


def schema() -> dict[str, Any]:
    """Made from the code: what the file has to hold."""
    made = msgspec.json.schema(Report)
    report = made["$defs"].pop("Report")
    head = {"v": {"const": REPORT_VERSION}, "event": {"const": "report"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The report of a run of tidegate",
        "description": "Documented in events.md. Fields may be added; pass over what is unknown.",
        "type": "object",
        "properties": head | report["properties"],
        "required": [*head, *report["properties"]],
        "$defs": {
            name: {key: value for key, value in one.items() if key != "description"}
            for name, one in made["$defs"].items()
        },
    }


def test_the_schema_is_what_the_code_says() -> None:
    """To renew it: python -m tests.deploy.readers.test_report_schema."""
    assert json.loads(PAGE.read_text()) == json.loads(json.dumps(schema()))


@settings(max_examples=20)
@given(any_run)
def test_every_report_is_valid_by_it(run: list[Entry]) -> None:
    data = json.loads(Report.of(run).to_line())
    jsonschema.Draft202012Validator(json.loads(PAGE.read_text())).validate(data)


@pytest.mark.parametrize(
    "wrong", [{"v": 1}, {"result": "fine"}, {"cause": "boredom"}, {"at": "now"}]
)
def test_something_else_is_not(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(Report().to_json() | wrong, json.loads(PAGE.read_text()))


if __name__ == "__main__":
    PAGE.write_text(json.dumps(schema(), indent=2) + "\n")
