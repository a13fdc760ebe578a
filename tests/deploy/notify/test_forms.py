from __future__ import annotations

import json

import pytest

from deploy.errors import UsageProblem
from deploy.events import Result
from deploy.notify.forms import body_of
from deploy.readers.report import Report
from tests.deploy.eventful import Story

DONE = Report.of(Story().tell())
ODD = '"quoted" <b>&amp; \\ back, $money, new\nline \x1b[31mred'


def _no_file(name: str) -> str:
    raise AssertionError(f"nobody asked for {name}")


def test_the_plain_form_is_the_report() -> None:
    assert json.loads(body_of(DONE, "report", _no_file)) == json.loads(DONE.to_line())


@pytest.mark.parametrize("result", Result)
def test_slacks_form_has_a_text_and_blocks_within_slacks_limits(result: Result) -> None:
    report = Report(app="hello", result=result, exit_code=1, message="m" * 9000, image=ODD)
    body = json.loads(body_of(report, "slack", _no_file))
    assert set(body) == {"text", "blocks"}
    assert body["text"].startswith(str(result).replace("-", " "))
    section, context = body["blocks"]
    assert section["type"] == "section"
    assert section["text"]["type"] == "mrkdwn"
    assert context["type"] == "context"
    for text in (section["text"], *context["elements"]):
        assert 0 < len(text["text"]) <= 3000


def test_what_slack_would_take_for_markup_is_escaped() -> None:
    body = body_of(Report(app="<!channel>", result=Result.DONE), "slack", _no_file).decode()
    assert "<!channel>" not in body
    assert "&lt;!channel&gt;" in body


def test_a_template_of_ones_own_is_filled_whatever_the_texts_hold() -> None:
    template = '{"content": "${app}: ${message}", "code": ${exit_code}, "cost": "$$5"}'
    report = Report(app="hello", result=Result.FAILED, exit_code=1, message=ODD)
    body = json.loads(body_of(report, "mine.json", lambda _: template))
    assert body == {"content": f"hello: {ODD}", "code": 1, "cost": "$5"}


@pytest.mark.parametrize(
    ("template", "named"),
    [('{"a": "${nothing_such}"}', "nothing_such"), ("{${app}}", "not JSON"), ('"$"', "not JSON")],
)
def test_a_template_that_cannot_be_filled_is_refused(template: str, named: str) -> None:
    with pytest.raises(UsageProblem, match=named) as refused:
        body_of(DONE, "mine.json", lambda _: template)
    assert refused.value.hint
